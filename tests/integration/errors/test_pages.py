"""Error pages: what answers errors of lb's own and of rules, from files and from words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.message import Ended, Response, ask, reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

WHOLE = (
    b"HTTP/1.0 503 Have Patience\r\nCache-Control: max-age=5\r\nConnection: close\r\nContent-Type: text/html\r\nX-Page: whole\r\n"
    b"\r\n<h1>soon</h1>\n"
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Pages to read."""
    (tmp_path / "503.http").write_bytes(WHOLE)
    (tmp_path / "404.html").write_bytes(b"<h1>100% gone</h1>\n")
    (tmp_path / "big.txt").write_bytes(b"x" * 200_000)
    (tmp_path / "lf.json").write_bytes(b'{"path": "%[path]", "full": "100%%"}')
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


def started(stage: Stage, more: Settings, app: Settings | None = None, top: Settings | None = None) -> Any:
    """Start a frontend with these pages, before a backend `app` that answers and one that cannot be reached."""
    server = stage.server(reply(b"app"))
    stage.start(
        {
            "version": 1,
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", **more}},
            "backends": {
                "app": {"servers": [server.text]},
                "gone": {"servers": [stage.refused().text], "retries": 0, **(app or {})},
            },
            **(top or {}),
        }
    )
    return server


GONE: list[Settings] = [{"use_backend": "gone", "if": "{ path_beg /gone }"}]


@pytest.mark.h1_only
def test_a_whole_answer_from_a_file(stage: Stage, files: Path) -> None:
    started(stage, {"rules": GONE, "errors": {"503": str(files / "503.http")}})
    client = stage.client()
    answer = client.get("/gone")
    assert (answer.status, answer.reason, answer.body) == (503, b"Have Patience", b"<h1>soon</h1>\n")
    assert answer.value("x-page") == b"whole"
    assert answer.value("cache-control") == b"max-age=5"
    assert answer.value("content-length") == b"14"
    assert answer.value("connection") is None  # framing is lb's own
    assert client.get("/gone", method="HEAD").body == b""
    assert client.get("/").body == b"app"  # on the same connection
    old = stage.client()
    old.send(b"GET /gone HTTP/1.0\r\n\r\n")
    assert old.response().body == b"<h1>soon</h1>\n"
    assert [each.state for each in stage.records(4)] == ["SC", "SC", "--", "SC"]


def test_bodies_from_files_and_words(stage: Stage, files: Path) -> None:
    rules = [{"deny": code, "if": f"{{ path /{code} }}"} for code in (403, 404, 405, 410, 413, 418, 429, 451)]
    pages: Settings = {
        "403": {"string": "100% no\n", "headers": {"x-for": "%[src]"}},
        "404": str(files / "404.html"),
        "405": {"body": "no %[method]"},
        "410": {"lf_file": str(files / "lf.json"), "headers": {"cache-control": "max-age=9"}},
        "413": {"file": str(files / "big.txt")},
        "418": {"location": "https://tea.test/%[path,length]", "code": 303},
        "429": {"status": 503, "string": "busy", "content_type": "text/x-busy"},
    }
    started(stage, {"rules": rules, "errors": pages})
    client = stage.client()

    def got(code: int, method: str = "GET") -> Response:
        return client.get(f"/{code}", method=method)

    def seen(code: int) -> tuple[int, bytes, bytes | None]:
        answer = got(code)
        return answer.status, answer.body, answer.value("content-type")

    plain = b"text/plain; charset=utf-8"
    assert seen(403) == (403, b"100% no\n", plain)
    assert got(403).value("x-for") == client.local[0].encode()
    assert seen(404) == (404, b"<h1>100% gone</h1>\n", b"text/html; charset=utf-8")
    assert seen(405) == (405, b"no GET", plain)
    assert b"GET" in (got(405).value("allow") or b"")
    assert seen(410) == (410, b'{"path": "/410", "full": "100%"}', b"application/json")
    assert [got(each).value("cache-control") for each in (404, 410)] == [b"no-store", b"max-age=9"]
    assert len(got(413).body) == 200_000
    assert got(413, "HEAD").body == b""
    moved = got(418)
    assert (moved.status, moved.value("location"), moved.body) == (303, b"https://tea.test/4", b"")
    assert seen(429) == (503, b"busy", b"text/x-busy")
    assert seen(451)[2] == b"application/problem+json"  # what has no page has lb's own
    assert client.get("/").body == b"app"


def test_backend_frontend_defaults(stage: Stage, files: Path) -> None:
    top: Settings = {
        "defaults": {"errors": {"403": {"string": "default"}, "404": {"string": "default"}}, "errorfiles": "site"},
        "http_errors": {
            "site": {"404": {"string": "site"}, "410": {"string": "site"}, "429": {"string": "site"}},
            "other": {"429": {"string": "other"}},
        },
    }
    codes = (403, 404, 410, 429)
    rules = [*GONE, *({"deny": code, "if": f"{{ path /{code} }}"} for code in codes)]
    back = [{"deny": code, "if": f"{{ path /gone/{code} }}"} for code in codes]
    web = {"rules": rules, "errors": {"410": {"string": "web"}}, "errorfiles": ["site", "other"]}
    started(stage, web, {"rules": back, "errors": {"403": {"string": "gone"}}}, top)
    client = stage.client()
    assert [client.get(f"/{code}").body for code in codes] == [b"default", b"site", b"web", b"other"]
    assert [client.get(f"/gone/{code}").body for code in codes] == [b"gone", b"default", b"site", b"site"]


def test_an_empty_page_closes_without_a_word(stage: Stage, files: Path) -> None:
    rules = [{"deny": 403, "if": "{ path /null }"}, {"deny": 410, "if": "{ path /empty }"}]
    started(stage, {"rules": rules, "errors": {"403": "/dev/null", "410": str(files / "empty")}})
    for target in ("/null", "/empty"):
        with pytest.raises(Ended):
            stage.client().get(target)
    assert [each.state for each in stage.records(2)] == ["PR", "PR"]


def test_rules_answer_with_pages(stage: Stage, files: Path) -> None:
    def when(target: str, action: Settings) -> Settings:
        return {**action, "if": f"{{ path /{target} }}"}

    rules = [
        when("fields", {"deny": {"status": 429, "headers": {"retry-after": "%[int(3)]"}}}),
        when("page", {"deny": {"status": 410, "headers": {"x-more": "1"}}}),
        when("default", {"deny": {"status": 410, "default_errorfiles": True}}),
        when("body", {"deny": {"status": 410, "body": "no %[path]"}}),
        when("group", {"deny": {"status": 404, "errorfiles": "site"}}),
        when("whole", {"return": {"errorfile": str(files / "503.http"), "headers": {"x-more": "2"}}}),
        when("file", {"return": {"file": str(files / "404.html")}}),
        when("string", {"return": {"string": "%[path]", "content_type": "text/x"}}),
        when("lf", {"return": {"lf_file": str(files / "lf.json"), "status": 201}}),
        when("held", {"tarpit": {"status": 410, "body": "held %[path]"}}),
        when("held2", {"tarpit": {"status": 410}}),
    ]
    top: Settings = {"http_errors": {"site": {"404": {"string": "of the group"}}}}
    web = {"rules": rules, "errors": {"410": {"string": "page"}}, "timeouts": {"tarpit": "20ms"}}
    started(stage, web, None, top)
    client = stage.client()
    answer = client.get("/fields")
    assert (answer.status, answer.value("retry-after")) == (429, b"3")
    assert answer.value("content-type") == b"application/problem+json"
    answer = client.get("/page")
    assert (answer.status, answer.body, answer.value("x-more")) == (410, b"page", b"1")
    assert client.get("/default").body == b"page"
    assert client.get("/body").body == b"no /body"
    assert client.get("/group").body == b"of the group"
    answer = client.get("/whole")
    assert (answer.status, answer.body, answer.value("x-more")) == (503, b"<h1>soon</h1>\n", b"2")
    assert client.get("/file").body == b"<h1>100% gone</h1>\n"
    answer = client.get("/string")
    assert (answer.status, answer.body, answer.value("content-type")) == (200, b"%[path]", b"text/x")
    answer = client.get("/lf")
    assert (answer.status, answer.body) == (201, b'{"path": "/lf", "full": "100%"}')
    assert client.get("/held").body == b"held /held"
    assert client.get("/held2").body == b"page"


def test_a_request_that_was_never_whole_gets_its_page(stage: Stage) -> None:
    started(stage, {"errors": {"400": {"body": "bad from %[src] for '%[path]'"}}})
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nbad field\r\n\r\n")
    answer = client.response()
    assert (answer.status, answer.body) == (400, f"bad from {client.local[0]} for ''".encode())


def test_a_page_that_cannot_be_made_is_lbs_own(stage: Stage) -> None:
    started(stage, {"rules": [{"deny": 403}], "errors": {"403": {"body": "%[req.hdr(x-big)]" * 8}}})
    client = stage.client()
    assert client.get("/", "X-Big: " + "x" * 1000).body == b"x" * 8000
    answer = client.get("/", "X-Big: " + "x" * 2000)
    assert (answer.status, answer.value("content-type")) == (403, b"application/problem+json")
    client.send(ask("/", "X-Big: ok"))
    assert client.response().body == b"ok" * 8
