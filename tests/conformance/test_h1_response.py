"""Responses: bytes -> verdict, by section of RFC 9112 and RFC 9110. Each is fed in every way (kit.h1)."""

from __future__ import annotations

import pytest
from kit.h1 import (
    CHUNKED,
    CLOSE,
    FRAMING,
    GET,
    HEAD,
    HEAD_MAX,
    HOP,
    HTTP10,
    KEEP_ALIVE,
    LENGTH,
    NONE,
    POST,
    RELENGTH,
    RESPONSE,
    SAID_CLOSE,
    UPGRADE,
    Verdict,
    read,
    read_every_way,
)


def verdict(data: bytes, method: int = GET) -> Verdict:
    return read_every_way(RESPONSE, data, method)


def accepted(data: bytes, method: int = GET) -> Verdict:
    got = verdict(data, method)
    assert got.answer > 0, (data, got.answer, got.reason)
    return got


def refused(data: bytes, method: int = GET) -> str:
    got = verdict(data, method)
    assert got.answer == -502, (data, got.answer)
    return got.reason


def ok(fields: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


# ---- RFC 9112 4: the status line ----


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK"),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200", 200, b""),  # no SP: sent by real servers, nothing to misread
        (b"HTTP/1.1 599 a\tb  c \xe9", 599, b"a\tb  c \xe9"),
        (b"HTTP/1.1 100 Continue", 100, b"Continue"),
        (b"HTTP/1.1 204  ", 204, b" "),
    ],
)
def test_a_status_line_has_three_digits_and_perhaps_a_phrase(line: bytes, status: int, reason: bytes) -> None:
    got = accepted(ok(line=line))
    assert (got.status, got.reason_phrase) == (status, reason)
    assert got.answer == len(ok(line=line))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"HTTP/1.1 20 OK", "BAD_STATUS"),
        (b"HTTP/1.1 2000 OK", "BAD_STATUS"),
        (b"HTTP/1.1 099 OK", "BAD_STATUS"),
        (b"HTTP/1.1 600 OK", "BAD_STATUS"),
        (b"HTTP/1.1 000 OK", "BAD_STATUS"),
        (b"HTTP/1.1 2x0 OK", "BAD_STATUS"),
        (b"HTTP/1.1 +20 OK", "BAD_STATUS"),
        (b"HTTP/1.1 -20 OK", "BAD_STATUS"),
        (b"HTTP/1.1 2\xb900 OK", "BAD_STATUS"),
        (b"HTTP/1.1 200OK", "BAD_STATUS"),
        (b"HTTP/1.1 200\tOK", "BAD_STATUS"),
        (b"HTTP/1.1 200\0OK", "BAD_STATUS"),
        (b"HTTP/1.1  200 OK", "BAD_STATUS"),
        (b"HTTP/1.1\t200 OK", "BAD_START_LINE"),
        (b"HTTP/1.1200 OK", "BAD_START_LINE"),
        (b"HTTP/1.10 200 OK", "BAD_START_LINE"),
        (b"HTTP/2.0 200 OK", "BAD_VERSION"),
        (b"HTTP/0.9 200 OK", "BAD_VERSION"),
        (b"HTTP/1.2 200 OK", "BAD_VERSION"),
        (b"http/1.1 200 OK", "BAD_START_LINE"),
        (b"HTTP/2 200 OK", "BAD_START_LINE"),
        (b"ICY 200 OK", "BAD_START_LINE"),
        (b" HTTP/1.1 200 OK", "BAD_START_LINE"),
        (b"<html>", "BAD_START_LINE"),
        (b"HTTP", "BAD_START_LINE"),
        (b"HTTP/1.1", "BAD_START_LINE"),
        (b"HTTP/1.1 ", "BAD_STATUS"),
        (b"HTTP/1.1 20", "BAD_STATUS"),
        (b"HTTP/1.1 304\nA: b", "BAD_STATUS"),  # found by fuzzing: the reason looked behind the LF
        (b"HTTP/1.1 200 a\0b", "BAD_START_LINE"),
        (b"HTTP/1.1 200 a\x7fb", "BAD_START_LINE"),
        (b"HTTP/1.1 200 a\rb", "BAD_LINE_END"),
        (b"HTTP/1.1 200 OK\r", "BAD_LINE_END"),
        (b"", "BAD_START_LINE"),  # no empty line in front of a response
    ],
)
def test_any_other_status_line_is_the_servers_fault(line: bytes, reason: str) -> None:
    assert refused(ok(line=line)) == reason


def test_what_begins_no_response_is_refused_without_a_line_feed() -> None:
    assert refused(b"<") == "BAD_START_LINE"
    assert refused(b"\r") == "BAD_START_LINE"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\rZ\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
    ],
)
def test_lines_end_in_cr_lf_only(data: bytes) -> None:
    assert refused(data) == "BAD_LINE_END"


# ---- RFC 9112 5: fields, by the grammar of requests ----


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"Foo : b", "BAD_FIELD_NAME"),
        (b": b", "BAD_FIELD_NAME"),
        (b"Foo", "BAD_FIELD_NAME"),
        (b"F\0o: b", "BAD_FIELD_NAME"),
        (b"F\xe9: b", "BAD_FIELD_NAME"),
        (b"A: b\0c", "BAD_FIELD_VALUE"),
        (b"A: b\x7f", "BAD_FIELD_VALUE"),
        (b"A: b\rc", "BAD_LINE_END"),
        (b"A: b\r\n c", "OBS_FOLD"),
        (b" A: b", "OBS_FOLD"),
        (b"Connection: a b", "BAD_FIELD_VALUE"),
    ],
)
def test_malformed_fields_are_the_servers_fault(line: bytes, reason: str) -> None:
    assert refused(ok(line + b"\r\n")) == reason


def test_fields_keep_order_and_case() -> None:
    got = accepted(ok(b"Set-Cookie: a\r\nset-cookie: b\r\nX:\r\nHost: not, checked\r\nExpect: x\r\n"))
    assert [(name, value) for name, value, _, _ in got.fields] == [
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"X", b""),
        (b"Host", b"not, checked"),
        (b"Expect", b"x"),
    ]


def test_limits_hold_for_responses() -> None:
    assert read(RESPONSE, [ok(b"A: b\r\n" * 101)]).nfields == 101
    assert read(RESPONSE, [ok(b"A: b\r\n" * 102)]).said == (-502, "TOO_MANY_FIELDS")
    assert read(RESPONSE, [ok(b"A: " + b"b" * HEAD_MAX)[:HEAD_MAX]]).said == (-502, "HEAD_TOO_LARGE")
    assert read(RESPONSE, [b"HTTP/1.1 200 " + b"b" * (HEAD_MAX - 13)]).said == (-502, "HEAD_TOO_LARGE")


# ---- RFC 9112 6.3: how long the body is ----

L = b"Content-Length: 5\r\n"
C = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("fields", [b"", L, C])
@pytest.mark.parametrize(
    ("status", "method"),
    [(100, GET), (101, GET), (103, GET), (204, GET), (304, GET), (204, POST), (200, HEAD), (404, HEAD)],
)
def test_responses_without_a_body(fields: bytes, status: int, method: int) -> None:
    got = accepted(ok(fields, b"HTTP/1.1 %d x" % status), method)
    assert (got.framing, got.flags, got.method_id) == (NONE, KEEP_ALIVE, method)
    assert got.length == (5 if fields == L else 0)


@pytest.mark.parametrize("status", [200, 201, 205, 302, 404, 500, 599])
def test_responses_with_a_body(status: int) -> None:
    line = b"HTTP/1.1 %d x" % status
    got = accepted(ok(L, line))
    assert (got.framing, got.length, got.flags, got.fields[0][3]) == (LENGTH, 5, KEEP_ALIVE, FRAMING)
    got = accepted(ok(C, line))
    assert (got.framing, got.flags, got.fields[0][3]) == (CHUNKED, KEEP_ALIVE, FRAMING)
    got = accepted(ok(b"", line))
    assert (got.framing, got.flags) == (CLOSE, 0)
    got = accepted(ok(b"Content-Length: 0\r\n", line))
    assert (got.framing, got.length) == (LENGTH, 0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (L + C, "LENGTH_AND_CODING"),
        (C + L, "LENGTH_AND_CODING"),
        (L + L, "BAD_LENGTH"),
        (L + b"Content-Length: 6\r\n", "BAD_LENGTH"),
        (b"Content-Length: 5, 5\r\n", "BAD_LENGTH"),
        (b"Content-Length: -1\r\n", "BAD_LENGTH"),
        (b"Content-Length:\r\n", "BAD_LENGTH"),
        (b"Content-Length: 9223372036854775808\r\n", "BAD_LENGTH"),
        (C + C, "BAD_CODING"),
        (b"Transfer-Encoding: gzip, chunked\r\n", "BAD_CODING"),
        (b"Transfer-Encoding: identity\r\n", "BAD_CODING"),
        (b"Transfer-Encoding: chunked,\r\n", "BAD_CODING"),
    ],
)
@pytest.mark.parametrize(("status", "method"), [(200, GET), (304, GET), (200, HEAD)])
def test_doubtful_framing_is_the_servers_fault(fields: bytes, reason: str, status: int, method: int) -> None:
    assert refused(ok(fields, b"HTTP/1.1 %d x" % status), method) == reason


def test_a_coding_in_1_0_is_the_servers_fault() -> None:
    assert refused(ok(C, b"HTTP/1.0 200 OK")) == "CODING_IN_10"


def test_a_length_with_leading_zeros_is_written_anew() -> None:
    got = accepted(ok(b"Content-Length: 005\r\n"))
    assert (got.length, got.flags) == (5, KEEP_ALIVE | RELENGTH)


# ---- RFC 9112 9.3, RFC 9110 7.6.1 and 7.8: the connection ----


@pytest.mark.parametrize(
    ("line", "fields", "flags"),
    [
        (b"HTTP/1.1 200 x", b"Connection: close\r\n", SAID_CLOSE),
        (b"HTTP/1.1 200 x", b"Connection: x\r\n", KEEP_ALIVE),
        (b"HTTP/1.0 200 x", b"", HTTP10),
        (b"HTTP/1.0 200 x", b"Connection: keep-alive\r\n", HTTP10 | KEEP_ALIVE),
        (b"HTTP/1.1 101 x", b"Connection: upgrade\r\nUpgrade: websocket\r\n", KEEP_ALIVE | UPGRADE),
        (b"HTTP/1.1 101 x", b"Upgrade: websocket\r\n", KEEP_ALIVE),
        (b"HTTP/1.1 101 x", b"Connection: upgrade\r\nUpgrade: h2c\r\n", KEEP_ALIVE),
    ],
)
def test_a_connection_persists_as_its_version_says(line: bytes, fields: bytes, flags: int) -> None:
    assert accepted(ok(L + fields, line)).flags == flags


def test_fields_named_in_connection_are_marked() -> None:
    got = accepted(ok(b"X-A: b\r\nConnection: x-a, content-length\r\n" + L + b"Trailer: x\r\n"))
    assert [name for name, _, _, flags in got.fields if flags & HOP] == [b"X-A", b"Connection", b"Trailer"]
