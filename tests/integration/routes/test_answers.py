"""Routes that lb answers itself: redirects and fixed replies."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import pytest
from kit.deadline import eventually
from kit.log import parse
from kit.message import ask, reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

pytestmark = pytest.mark.ours


def answered(*routes: Settings) -> Settings:
    return {
        "version": 1,
        "global": {"workers": 1},
        "frontends": {"web": {"bind": [LOOPBACK], "routes": list(routes)}},
        "backends": {},
    }


def redirect(path: str, **given: Any) -> Settings:
    return {"match": {"path": path}, "redirect": given}


def test_redirects(stage: Stage) -> None:
    stage.start(
        answered(
            redirect("/a", location="https://www.example.test/b?c=d"),
            redirect("/orders/{id}/{part}", location="/v2/{part}/of/{id}", code=301),
            redirect("/old/*", prefix="https://new.example.test/base", code=308),
            redirect("/short/*", prefix="/long", code=303, drop_query=True),
            redirect("/secure/*", scheme="https", code=307),
        )
    )
    client = stage.client()

    def to(target: str, method: str = "GET", host: str | None = "lb.test:8080") -> tuple[int, bytes | None]:
        answer = client.get(target, method=method, host=host, body=b"body" if method == "POST" else None)
        assert answer.value("Content-Length") == b"0"
        assert answer.value("Server") is None
        return answer.status, answer.value("Location")

    assert to("/a?x=y") == (302, b"https://www.example.test/b?c=d")
    assert to("/orders/7/items", "POST") == (301, b"/v2/items/of/7")
    assert to("/old/x/y?z=1&z=2", "HEAD") == (308, b"https://new.example.test/base/old/x/y?z=1&z=2")
    assert to("/short/x?y") == (303, b"/long/short/x")
    assert to("/secure/x?y=z") == (307, b"https://lb.test:8080/secure/x?y=z")
    assert to("http://lb.test/secure/x?y=z", host="lb.test") == (307, b"https://lb.test/secure/x?y=z")
    # A backslash would be a slash to browsers.
    assert to('/orders/\\evil.test/"x"') == (301, b"/v2/%22x%22/of/%5Cevil.test")
    records = stage.records(7)
    assert {(each.state, each.backend, each.server) for each in records} == {("LR", "web", "<NOSRV>")}


def test_a_redirect_that_cannot_be_written_is_an_error(stage: Stage) -> None:
    stage.start(answered(redirect("/*", scheme="https")))
    client = stage.client()
    assert client.get("/" + "x" * 8100).status == 414
    client = stage.client()
    client.send(ask("/x", version="1.0", host=None))
    assert client.response().status == 400


def test_replies(stage: Stage) -> None:
    body = '{"error": "later"}'
    headers = {"retry-after": "60", "X-Own": "ä b"}
    stage.start(
        answered(
            {"match": {"path": "/empty"}, "reply": {"status": 204}},
            {"match": {"path": "/same"}, "reply": {"status": 304}},
            {"match": {"path": "/odd"}, "reply": {"status": 299, "body": "odd"}},
            {
                "match": {"path": "/*"},
                "reply": {"status": 503, "body": body, "content_type": "application/json", "headers": headers},
            },
        )
    )
    client = stage.client()
    for method in ("GET", "HEAD", "POST"):
        answer = client.get("/x", method=method, body=b"body" * 1000 if method == "POST" else None)
        assert (answer.status, answer.reason) == (503, b"Service Unavailable")
        assert answer.body == (b"" if method == "HEAD" else body.encode())
        assert answer.value("Content-Length") == b"18"
        assert answer.value("Content-Type") == b"application/json"
        assert answer.value("Retry-After") == b"60"
        assert answer.value("X-Own") == "ä b".encode()
        date = answer.value("Date")
        assert date is not None
        assert abs(email.utils.parsedate_to_datetime(date.decode()).timestamp() - time.time()) < 10
    for path, status in (("/empty", 204), ("/same", 304)):
        answer = client.get(path)
        assert (answer.status, answer.body, answer.value("Content-Length")) == (status, b"", None)
    odd = client.get("/odd")
    assert (odd.status, odd.reason, odd.body) == (299, b"Success", b"odd")
    assert odd.value("Content-Type") == b"text/plain; charset=utf-8"
    assert {record.state for record in stage.records(6)} == {"LR"}


@pytest.mark.parametrize("size", [1024, 70_000, 1 << 20])
def test_a_reply_of_any_size_arrives_whole(stage: Stage, size: int) -> None:
    body = "0123456789abcdef" * (size // 16)
    stage.start(answered({"match": {"path": "/*"}, "reply": {"body": body}}))
    client = stage.client(receive_buffer=4096)
    client.send(ask("/a") + ask("/b", method="HEAD") + ask("/c"))
    assert client.response().body == body.encode()
    assert client.response("HEAD").body == b""
    assert client.response().body == body.encode()


def test_a_client_that_does_not_take_a_reply_is_cut(stage: Stage) -> None:
    settings = answered({"match": {"path": "/*"}, "reply": {"body": "x" * (1 << 20)}})
    settings["defaults"] = {"timeouts": {"client": "300ms"}}
    stage.start(settings)
    client = stage.client(receive_buffer=4096)
    client.send(b"".join(ask() for _ in range(12)))
    eventually(lambda: any(" cD-" in line for line in stage.proxy.log_lines()), "a record of the client's timeout")
    assert {parse(line).state for line in stage.proxy.log_lines()} <= {"LR", "cD"}


def test_a_file_is_read_when_the_configuration_is(stage: Stage) -> None:
    page = stage.directory / "page.html"
    page.write_bytes(b"<h1>\xc3\xa4</h1>")
    reply_: Settings = {"file": str(page), "content_type": "text/html; charset=utf-8"}
    stage.start(answered({"match": {"path": "/*"}, "reply": reply_}))
    page.unlink()
    assert stage.client().get().body == b"<h1>\xc3\xa4</h1>"


def test_an_answer_stands_beside_backends(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    settings = answered(redirect("/old", location="/"), {"match": {"path": "/*"}, "to": "app"})
    settings["backends"] = {"app": {"servers": [server.text]}}
    stage.start(settings)
    client = stage.client()
    client.send(ask("/x") + ask("/old") + ask("/y"))
    assert [client.response().status for _ in range(3)] == [200, 302, 200]
    assert [request.target for request in server.requests] == ["/x", "/y"]
