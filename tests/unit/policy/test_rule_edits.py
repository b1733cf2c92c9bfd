"""Actions that change a head, and what they refuse."""

from typing import Any

import pytest
from kit.rules import RESPONSE, judged

PLAIN = b"GET /a?q=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\nUser-Agent: u\r\n\r\n"


def lines(head: bytes | None) -> list[bytes]:
    assert head is not None
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


@pytest.mark.parametrize(
    ("rule", "first", "gone", "new"),
    [
        ({"set_header": ["x-a", "%[req.hdr(x-a,1)]3"]}, b"GET /a?q=1 HTTP/1.1", [b"X-A: 1", b"X-A: 2"], [b"x-a: 13"]),
        ({"add_header": ["x-a", "3"]}, b"GET /a?q=1 HTTP/1.1", [], [b"x-a: 3"]),
        ({"del_header": "X-a"}, b"GET /a?q=1 HTTP/1.1", [b"X-A: 1", b"X-A: 2"], []),
        ({"del_header": "nope"}, b"GET /a?q=1 HTTP/1.1", [], []),
        ({"set_header": ["host", "other:81"]}, b"GET /a?q=1 HTTP/1.1", [b"Host: h"], [b"host: other:81"]),
        ({"set_method": "POST"}, b"POST /a?q=1 HTTP/1.1", [], []),
        ({"set_path": "/x%[path]"}, b"GET /x/a?q=1 HTTP/1.1", [], []),
        ({"set_query": "z=%[query]"}, b"GET /a?z=q=1 HTTP/1.1", [], []),
        ({"set_query": ""}, b"GET /a HTTP/1.1", [], []),
        ({"set_pathq": "/n?m=1"}, b"GET /n?m=1 HTTP/1.1", [], []),
        ({"set_pathq": "/n"}, b"GET /n HTTP/1.1", [], []),
        ({"set_header": ["x-b", "%[path]"], "if": "{ path /b }"}, b"GET /a?q=1 HTTP/1.1", [], []),
        ({"set_header": ["x-b", "%[path]"], "unless": "{ path /b }"}, b"GET /a?q=1 HTTP/1.1", [], [b"x-b: /a"]),
        ({"set_header": ["x-b", "%[bin(0d0a7f)]%[str(a\nb)]"]}, b"GET /a?q=1 HTTP/1.1", [], [b"x-b: %0D%0A%7Fa%0Ab"]),
    ],
)
def test_request_edits(rule: dict[str, Any], first: bytes, gone: list[bytes], new: list[bytes]) -> None:
    verdict, head = judged([rule], PLAIN)
    assert verdict[0] == "done"
    before, after = lines(PLAIN), lines(head)
    assert after[0] == first
    assert after[1:] == [each for each in before[1:] if each not in gone] + new


@pytest.mark.parametrize(
    "rule",
    [
        {"set_path": "%[req.hdr(x-a)]"},  # begins with no slash
        {"set_path": "/%[str('a b')]"},
        {"set_path": "/%[query]?x"},
        {"set_method": "%[str('a b')]"},
        {"set_method": "%[str(HEAD)]"},
        {"set_header": ["host", "%[str('a b')]"]},
        {"set_header": ["x-b", "%{+Q}[str(a\nb)]"]},
        {"add_header": ["x-b", "%[str(" + "a" * 900 + ")]%[str(" + "b" * 900 + ")]"]},
    ],
)
def test_an_edit_that_cannot_be_made_is_an_error(rule: dict[str, Any]) -> None:
    verdict, _ = judged([rule, {"set_header": ["never", "1"]}], PLAIN)
    assert verdict[:2] == ("error", 0)


@pytest.mark.parametrize(
    ("rule", "status", "has"),
    [
        ({"set_status": 503}, b"HTTP/1.1 503 Service Unavailable", []),
        ({"set_status": {"status": 418, "reason": "I am a teapot"}}, b"HTTP/1.1 418 I am a teapot", []),
        ({"set_header": ["server", "lb"]}, b"HTTP/1.1 404 Not Found", [b"server: lb"]),
        ({"set_header": ["x-s", "%[status]"], "if": "{ status 400:499 }"}, b"HTTP/1.1 404 Not Found", [b"x-s: 404"]),
    ],
)
def test_response_edits(rule: dict[str, Any], status: bytes, has: list[bytes]) -> None:
    verdict, head = judged([rule], response=RESPONSE)
    assert verdict[0] == "done"
    assert lines(head)[0] == status
    assert set(has) <= set(lines(head))


def test_a_status_without_a_body_cannot_get_one() -> None:
    verdict, _ = judged([{"set_status": 204}], response=RESPONSE)
    assert verdict[0] == "error"


def test_a_status_without_a_body_stays_what_it_is() -> None:
    head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    assert judged([{"set_status": 204}], response=head)[0][0] == "error"
    assert judged([{"set_status": {"status": 304, "reason": "Same"}}], response=head)[0][0] == "done"


def test_the_method_of_the_whole_server_stays() -> None:
    head = b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"
    assert judged([{"set_method": "GET"}], head)[0][0] == "error"
    assert judged([{"set_path": "/"}, {"set_method": "GET"}], head)[1] == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def test_rules_stop_at_the_first_verdict_and_allow_ends_them() -> None:
    deny = {"deny": 429, "if": "{ path /a }"}
    assert judged([{"set_header": ["x", "1"]}, deny, {"del_header": "x"}], PLAIN)[0][:2] == ("verdict", 1)
    assert judged([{"allow": True, "if": "METH_GET"}, deny], PLAIN)[0][0] == "done"


def test_head_stays_what_it_is() -> None:
    verdict, _ = judged([{"set_method": "GET"}], b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert verdict[0] == "error"
