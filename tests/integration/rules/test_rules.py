"""Rules on the way through: verdicts, edits, the choice of a backend, and what log and counters say of them."""

from __future__ import annotations

import time

import pytest
from kit.deadline import eventually
from kit.inprocess import InProcess
from kit.message import Ended, ask, reply
from kit.server import Server
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage


def ruled(stage: Stage, frontend: Settings, app: Settings | None = None) -> tuple[Server, Server]:
    """Start a frontend with these rules, before a backend `app` and one called `two`."""
    first = stage.server(reply(b"app", "X-Kind: plain", "Server: s"))
    second = stage.server(reply(b"two"))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", **frontend}},
            "backends": {"app": {"servers": [first.text], **(app or {})}, "two": {"servers": [second.text]}},
        }
    )
    return first, second


def test_deny_answers_and_counts(stage: Stage) -> None:
    ruled(stage, {"rules": [{"deny": 429, "if": "{ path_beg /no }"}, {"deny": True, "if": "{ path /never }"}]})
    client = stage.client()
    assert client.get("/no/way").status == 429
    assert client.get("/never").status == 403
    assert client.get("/yes").body == b"app"  # on the same connection
    assert [each.state for each in stage.records(3)] == ["PR", "PR", "--"]


def test_reject_closes_without_a_word(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [{"reject": True, "if": "{ req.hdr(x-bad) -m found }"}]})
    client = stage.client()
    with pytest.raises(Ended):
        client.get("/", "X-Bad: 1")
    assert stage.record().state == "PR"
    assert not server.requests


def test_edits_reach_the_server_and_the_client(stage: Stage) -> None:
    server, _ = ruled(
        stage,
        {
            "rules": [
                {"set_header": ["x-new", "%[method]-%[req.hdr(x-old)]"]},
                {"del_header": "x-old"},
                {"set_path": "/v1%[path]"},
                {"set_method": "PUT", "if": "METH_POST"},
            ],
            "response_rules": [{"set_header": ["x-kind", "%[res.hdr(x-kind),upper]"]}, {"set_status": 201}],
        },
        {"rules": [{"add_header": ["x-tier", "%[be_name]"]}], "response_rules": [{"del_header": "server"}]},
    )
    answer = stage.client().get("/a?b=c", "X-Old: 7", method="POST", body=b"hello")
    assert (answer.status, answer.value("x-kind"), answer.value("server")) == (201, b"PLAIN", None)
    (request,) = server.wait_requests(1)
    assert (request.method, request.target, request.body) == ("PUT", "/v1/a?b=c", b"hello")
    assert (request.value("x-new"), request.value("x-old"), request.value("x-tier")) == (b"POST-7", None, b"app")
    record = stage.record()
    assert "POST /a?b=c HTTP/1.1" in record.line  # what was asked for, not what was made of it
    assert record.status == 201


def test_a_rule_chooses_the_backend(stage: Stage) -> None:
    ruled(
        stage,
        {
            "acls": {"beta": ["req.cook(beta) 1", "urlp(beta) yes"]},
            "rules": [{"use_backend": "two", "if": "beta"}, {"use_backend": "app", "if": "TRUE"}],
            "routes": [{"match": {"path": "/r/*"}, "to": "app"}],
        },
    )
    client = stage.client()
    assert client.get("/").body == b"app"
    assert client.get("/r/x", "Cookie: a=2; beta=1").body == b"two"
    assert client.get("/?beta=yes").body == b"two"


def test_a_denied_response_is_not_seen(stage: Stage) -> None:
    ruled(stage, {"response_rules": [{"deny": True, "if": "{ res.hdr(x-kind) plain }"}]})
    client = stage.client()
    answer = client.get("/")
    assert answer.status == 502
    assert b"app" not in answer.body
    assert client.get("/").status == 502  # the connection goes on
    assert stage.records(2)[0].state == "PH"


def test_a_denied_upload_does_not_end_the_connection(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [{"deny": 403, "if": "METH_POST"}]})
    client = stage.client()
    assert client.get("/", method="POST", body=b"x" * 1000).status == 403
    assert client.get("/").status == 200
    assert len(server.requests) == 1


def test_an_edit_that_is_not_possible_ends_the_request(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [{"set_path": "%[req.hdr(x-path)]"}]})
    client = stage.client()
    assert client.get("/", "X-Path: nowhere").status == 500
    assert client.get("/", "X-Path: /there").status == 200
    assert [each.target for each in server.requests] == ["/there"]


def test_addresses_and_ports(stage: Stage) -> None:
    server, _ = ruled(
        stage,
        {"rules": [{"set_header": ["x-ends", "%[src]:%[src_port]-%[dst]:%[dst_port]-%[fe_name]-%[http_first_req]"]}]},
    )
    client = stage.client()
    client.get("/")
    client.get("/")
    source, port = client.local
    host, listening = stage.address()[:2]
    ends = f"{source}:{port}-{host}:{listening}-web-"
    assert [each.value("x-ends") for each in server.wait_requests(2)] == [f"{ends}1".encode(), f"{ends}0".encode()]


def test_return_answers_from_here(stage: Stage) -> None:
    server, _ = ruled(
        stage,
        {
            "rules": [
                {
                    "return": {
                        "status": 418,
                        "content_type": "application/json",
                        "body": '{"path": "%[path]"}',
                        "headers": {"x-for": "%[src]", "set-cookie": "a=b"},
                    },
                    "if": "{ path_beg /tea }",
                },
                {"return": 204, "if": "{ path /nothing }"},
                {"return": {"body": "%[req.hdr(x-big)]" * 4}, "if": "{ path /big }"},
            ],
            "response_rules": [
                {"return": {"status": 503, "body": "later"}, "if": "{ res.hdr(x-kind) plain } { path /x }"}
            ],
        },
    )
    client = stage.client()
    answer = client.get("/tea/1")
    assert (answer.status, answer.body) == (418, b'{"path": "/tea/1"}')
    assert answer.value("content-type") == b"application/json"
    assert answer.value("x-for") == client.local[0].encode()
    assert client.get("/tea", method="HEAD").body == b""
    assert client.get("/nothing").status == 204
    assert client.get("/big", "X-Big: " + "z" * 2000).body == b"z" * 8000
    assert client.get("/x").body == b"later"
    assert client.get("/y").body == b"app"
    assert [each.state for each in stage.records(6)] == ["LR", "LR", "LR", "LR", "LH", "--"]
    assert len(server.requests) == 2


def test_redirects(stage: Stage) -> None:
    ruled(
        stage,
        {
            "rules": [
                {"redirect": {"location": "https://x.test/%[path,length]", "code": 301}, "if": "{ path_beg /a }"},
                {"redirect": {"prefix": "https://%[req.hdr(host),lower]"}, "if": "{ path_beg /b }"},
                {"redirect": {"scheme": "https", "code": 308, "drop_query": True}, "if": "{ path_beg /c }"},
                {"redirect": "%[req.hdr(x-to)]", "if": "{ path_beg /d }"},
            ]
        },
    )
    client = stage.client()

    def location(target: str, *fields: str) -> tuple[int, bytes | None]:
        answer = client.get(target, *fields, host="LB.test:80")
        return answer.status, answer.value("location")

    assert location("/a/b") == (301, b"https://x.test/4")
    assert location("/b?x=1") == (302, b"https://lb.test:80/b?x=1")
    assert location("/c?x=1") == (308, b"https://LB.test:80/c")
    assert location("/d", "X-To: /there") == (302, b"/there")
    assert location("/d", "X-To: /the re") == (500, None)


def test_tarpit_holds_and_then_answers(stage: Stage) -> None:
    server, _ = ruled(
        stage,
        {
            "timeouts": {"tarpit": "300ms"},
            "rules": [{"tarpit": True, "if": "{ path /slow }"}, {"tarpit": 429, "if": "{ path /later }"}],
        },
    )
    client = stage.client()
    begin = time.monotonic()
    assert client.get("/slow").status == 500
    assert time.monotonic() - begin >= 0.29
    assert client.get("/later", method="POST", body=b"x" * 100).status == 429
    assert client.get("/").body == b"app"  # on the same connection
    gone = stage.client()
    gone.send(ask("/slow"))
    gone.close()
    # Whether its end is seen before the time is up depends on when it came.
    assert sorted(each.state for each in stage.records(4)) in (["--", "CT", "PT", "PT"], ["--", "PT", "PT", "PT"])
    assert len(server.requests) == 1


@pytest.mark.h1_only
def test_copies_meet_no_response_rules(stage: Stage) -> None:
    copied = stage.server(reply(b"copy", "X-Kind: plain"))
    first = stage.server(reply(b"app"))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK}],
                    "default_backend": "app",
                    "mirror": {"to": "copies"},
                    "rules": [{"set_header": ["x-seen", "1"]}],
                    "response_rules": [{"deny": True, "if": "{ res.hdr(x-kind) -m found }"}],
                }
            },
            "backends": {"app": {"servers": [first.text]}, "copies": {"servers": [copied.text]}},
        }
    )
    client = stage.client()
    assert [client.get("/").body for _ in range(3)] == [b"app"] * 3
    assert [each.value("x-seen") for each in copied.wait_requests(3)] == [b"1"] * 3
    assert [each.state for each in stage.records(3)] == ["--"] * 3
    proxy = stage.proxy
    assert isinstance(proxy, InProcess)
    eventually(lambda: proxy.counters("copies")["cur"] == 0, "copies go on")
    assert proxy.counters("copies")["denied_resp"] == 0
