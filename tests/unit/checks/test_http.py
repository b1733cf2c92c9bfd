"""The HTTP check without I/O: every response whole, byte by byte, and cut at every place gives the same finding."""

from __future__ import annotations

from typing import Any

import pytest

from lb.checks.finding import Finding
from lb.checks.http import BODY_MAX, HttpExchange
from lb.checks.status import Status
from lb.config.part import HttpCheck

OK = Status.L7OK
MISMATCH = Finding(Status.L7RSP, "HTTP content check did not match")


def check(**options: Any) -> HttpCheck:
    given = {
        "method": "GET",
        "target": "/healthz",
        "headers": (("Host", "10.0.0.1:80"),),
        "body": "",
        "statuses": ((200, 399),),
        **options,
    }
    return HttpCheck(**given)


def told(given: HttpCheck, *pieces: bytes) -> Finding | None:
    """Return the finding of a response that comes in these pieces, and then ends."""
    exchange = HttpExchange(given)
    exchange.begin()
    for piece in (*pieces, b""):
        finding = exchange.received(piece)
        if finding is not None:
            return finding
    return None


def reply(status: str, *fields: str, body: bytes = b"") -> bytes:
    head = "".join(f"{field}\r\n" for field in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields))
    return head.encode() + b"\r\n" + body


CASES = {
    "200": ({}, reply("200 OK", body=b"well"), Finding(OK, "", 200)),
    "204 without a body": ({}, b"HTTP/1.1 204 No Content\r\n\r\n", Finding(OK, "", 204)),
    "a redirect is well": ({}, reply("302 Found"), Finding(OK, "", 302)),
    "404": ({}, reply("404 Not Found"), Finding(Status.L7STS, "Not Found", 404)),
    "503 without a reason": ({}, b"HTTP/1.1 503\r\n\r\n", Finding(Status.L7STS, "", 503)),
    "interim heads are passed over": (
        {},
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + reply("200 OK"),
        Finding(OK, "", 200),
    ),
    "HTTP/1.0": ({}, b"HTTP/1.0 200 Fine\r\n\r\nhello", Finding(OK, "", 200)),
    "one status": ({"statuses": ((200, 200),)}, reply("204 No"), Finding(Status.L7STS, "No", 204)),
    "statuses": ({"statuses": ((200, 200), (300, 310))}, reply("307 T"), Finding(OK, "", 307)),
    "garbage": ({}, b"garbage\r\n\r\n", Finding(Status.L7RSP)),
    "nothing": ({}, b"", Finding(Status.L7RSP)),
    "half a head": ({}, b"HTTP/1.1 200 OK\r\nContent-Le", Finding(Status.L7RSP)),
    "a head without end": ({}, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, Finding(Status.L7RSP)),
    "a header": ({"header": (("x-state", "ready"),)}, reply("200 OK", "X-State: ready"), Finding(OK, "", 200)),
    "a header in a list": (
        {"header": (("x-state", "b"),)},
        reply("200 OK", "X-State: a, b ,c"),
        Finding(OK, "", 200),
    ),
    "any value": ({"header": (("x-state", ""),)}, reply("200 OK", "X-State: z"), Finding(OK, "", 200)),
    "a header that lacks": ({"header": (("x-state", ""),)}, reply("200 OK"), Finding(Status.L7STS, "OK", 200)),
    "another value": (
        {"header": (("x-state", "ready"),)},
        reply("200 OK", "X-State: ready-not"),
        Finding(Status.L7STS, "OK", 200),
    ),
    "a string": ({"string": "ell"}, reply("200 OK", body=b"hello"), Finding(OK, "", 200)),
    "a string that lacks": ({"string": "elo"}, reply("200 OK", body=b"hello"), MISMATCH),
    "a string of no body": (
        {"string": "x"},
        b"HTTP/1.1 204 No Content\r\n\r\n",
        Finding(Status.L7RSP, "HTTP content check could not find a response body"),
    ),
    "a string in chunks": (
        {"string": "hello"},
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        Finding(OK, "", 200),
    ),
    "a string before the end": (
        {"string": "hello"},
        b"HTTP/1.0 200 OK\r\n\r\nhello and more",
        Finding(OK, "", 200),
    ),
    "a cut body": ({"string": "x"}, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Finding(Status.L7RSP)),
    "a string too far behind": ({"string": "x"}, reply("200 OK", body=b"." * BODY_MAX + b"x"), MISMATCH),
    "a regex": ({"regex": "^h.*o$"}, reply("200 OK", body=b"hello"), Finding(OK, "", 200)),
    "a regex that looks at the end": ({"regex": "^hel$"}, reply("200 OK", body=b"hello"), MISMATCH),
    "a regex that gives up": ({"regex": "(a+)+$"}, reply("200 OK", body=b"a" * 40 + b"!"), MISMATCH),
    "both": ({"regex": "o$", "string": "hell"}, reply("200 OK", body=b"hello"), Finding(OK, "", 200)),
    "a string with the wrong status": (
        {"string": "hello"},
        reply("500 No", body=b"hello"),
        Finding(Status.L7STS, "No", 500),
    ),
    "HEAD": ({"method": "HEAD"}, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Finding(OK, "", 200)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_response_however_it_is_cut(name: str) -> None:
    options, response, finding = CASES[name]
    given = check(**options)
    assert told(given, response) == finding
    for at in range(1, min(len(response), 400)):
        assert told(given, response[:at], response[at:]) == finding, at
    if len(response) < 1000:
        assert told(given, *(bytes([each]) for each in response)) == finding


def test_what_is_sent() -> None:
    assert HttpExchange(check()).begin() == (b"GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:80\r\nConnection: close\r\n\r\n")
    given = check(method="POST", target="/x?y", headers=(("Host", "a"), ("X-A", "b")), body="hällo")
    expected = "POST /x?y HTTP/1.1\r\nHost: a\r\nX-A: b\r\nConnection: close\r\nContent-Length: 6\r\n\r\nhällo"
    for _ in range(2):
        assert HttpExchange(given).begin() == expected.encode()


def test_a_body_that_nobody_asks_for_is_not_waited_for() -> None:
    exchange = HttpExchange(check())
    exchange.begin()
    assert exchange.received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") == Finding(OK, "", 200)
