"""Writing heads: messages -> bytes, by section of RFC 9112 and RFC 9110."""

from __future__ import annotations

import pytest
from kit.h1 import (
    CHUNKED,
    GET,
    HEAD,
    LENGTH,
    NAME_IDS,
    NONE,
    REQUEST,
    RESPONSE,
    WRITE_CHUNKED,
    WRITE_CLOSE,
    WRITE_KEEP_ALIVE,
    WRITE_NO_LENGTH,
    WRITE_UPGRADE,
    read,
)

from lb._speedups.face.testing_h1 import Head

H = b"Host: h1.test\r\n"
L = b"Content-Length: 5\r\n"
C = b"Transfer-Encoding: chunked\r\n"


def request(fields: bytes = H, line: bytes = b"GET / HTTP/1.1") -> Head:
    got = read(REQUEST, [line + b"\r\n" + fields + b"\r\n"])
    assert got.answer > 0, (got.answer, got.reason)
    return got.head


def response(fields: bytes = b"", line: bytes = b"HTTP/1.1 200 OK", method: int = GET) -> Head:
    got = read(RESPONSE, [line + b"\r\n" + fields + b"\r\n"], method)
    assert got.answer > 0, (got.answer, got.reason)
    return got.head


def fields_of(head: Head, flags: int = 0) -> bytes:
    """All behind the start line, without the empty line."""
    wrote = head.write(flags)
    assert wrote is not None
    assert wrote.endswith(b"\r\n\r\n")
    return wrote.partition(b"\r\n")[2][:-2]


# ---- RFC 9112 3.2: the target and Host ----


@pytest.mark.parametrize(
    ("line", "wrote"),
    [
        (b"GET /a?b HTTP/1.1", b"GET /a?b HTTP/1.1"),
        (b"GET /a? HTTP/1.1", b"GET /a? HTTP/1.1"),
        (b"get / HTTP/1.0", b"get / HTTP/1.1"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        (b"GET http://h1.test/a?b HTTP/1.1", b"GET /a?b HTTP/1.1"),
        (b"GET HTTP://H1.test HTTP/1.1", b"GET / HTTP/1.1"),
        (b"GET http://h1.test?b HTTP/1.1", b"GET /?b HTTP/1.1"),
        (b"GET http://h1.test/? HTTP/1.1", b"GET /? HTTP/1.1"),
        (b"OPTIONS http://h1.test HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        (b"OPTIONS http://h1.test/ HTTP/1.1", b"OPTIONS / HTTP/1.1"),
        (b"OPTIONS http://h1.test?b HTTP/1.1", b"OPTIONS /?b HTTP/1.1"),
        (b"OPTIONS http://h1.test? HTTP/1.1", b"OPTIONS /? HTTP/1.1"),
    ],
)
def test_targets_leave_in_origin_form(line: bytes, wrote: bytes) -> None:
    assert request(line=line).write() == wrote + b"\r\n" + H + b"\r\n"


def test_a_request_of_1_0_without_host_gets_one() -> None:
    assert request(b"A: b\r\n", b"GET / HTTP/1.0").write() == b"GET / HTTP/1.1\r\nHost: \r\nA: b\r\n\r\n"
    wrote = request(b"A: b\r\n", b"GET http://h1.test:80/ HTTP/1.0").write()
    assert wrote == b"GET / HTTP/1.1\r\nHost: h1.test:80\r\nA: b\r\n\r\n"


def test_a_host_added_in_place_of_the_old_one_is_written() -> None:
    head = request(b"Host: old\r\nA: b\r\n")
    head.delete(0)
    assert head.add(NAME_IDS["host"], b"Host", b"new") == 0
    assert fields_of(head) == b"A: b\r\nHost: new\r\n"


# ---- RFC 9112 4: the status line ----


@pytest.mark.parametrize(
    ("line", "wrote"),
    [
        (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.0 404 Not  there", b"HTTP/1.1 404 Not  there"),
        (b"HTTP/1.1 599", b"HTTP/1.1 599 "),
    ],
)
def test_status_lines_leave_as_1_1_with_their_phrase(line: bytes, wrote: bytes) -> None:
    assert response(line=line).write() == wrote + b"\r\n\r\n"


# ---- RFC 9110 7.6.1: hop-by-hop fields ----


@pytest.mark.parametrize("strip", [False, True])
def test_hop_by_hop_fields_stay_here(strip: bool) -> None:
    head = request(
        b"A: b\r\nTE: trailers\r\nX-Hop: 1\r\n" + H + b"Connection: x-hop, close\r\nKeep-Alive: x\r\n"
        b"Proxy-Connection: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nTrailer: x\r\nC: d\r\nX-HOP: 2\r\n"
    )
    if strip:
        head.strip_hop()
    assert fields_of(head) == b"A: b\r\n" + H + b"C: d\r\n"


def test_connection_is_said_anew() -> None:
    head = request(H + b"Connection: close, foo\r\n")
    assert fields_of(head, WRITE_CLOSE) == H + b"Connection: close\r\n"
    assert fields_of(head, WRITE_KEEP_ALIVE) == H + b"Connection: keep-alive\r\n"
    assert fields_of(head, WRITE_UPGRADE) == H + b"Connection: upgrade\r\n"
    assert fields_of(head) == H


@pytest.mark.parametrize("strip", [False, True])
def test_upgrade_is_kept_only_where_it_was_offered_and_asked_for(strip: bool) -> None:
    offer = request(H + b"Upgrade: websocket\r\nConnection: Upgrade\r\nA: b\r\n")
    h2c = request(H + b"Upgrade: websocket, h2c\r\nConnection: Upgrade\r\nA: b\r\n")
    for head in (offer, h2c):
        if strip:
            head.strip_hop()
    assert fields_of(offer) == H + b"A: b\r\n"
    assert fields_of(offer, WRITE_UPGRADE) == H + b"Upgrade: websocket\r\nA: b\r\nConnection: upgrade\r\n"
    assert fields_of(h2c, WRITE_UPGRADE) == H + b"A: b\r\nConnection: upgrade\r\n"


def test_a_101_says_what_it_agrees_to() -> None:
    head = response(b"Upgrade: websocket\r\nConnection: upgrade\r\nA: b\r\n", b"HTTP/1.1 101 x")
    assert fields_of(head, WRITE_UPGRADE) == b"Upgrade: websocket\r\nA: b\r\nConnection: upgrade\r\n"


def test_what_we_add_is_not_hop_by_hop() -> None:
    head = request(H + b"X-Forwarded-For: spoofed\r\nConnection: x-forwarded-for\r\n")
    head.strip_hop()
    assert head.add(NAME_IDS["x-forwarded-for"], b"X-Forwarded-For", b"10.0.0.1") == 0
    assert fields_of(head) == H + b"X-Forwarded-For: 10.0.0.1\r\n"


# ---- RFC 9112 6: framing ----


@pytest.mark.parametrize(
    ("fields", "flags", "wrote"),
    [
        (b"", 0, b""),
        (b"", WRITE_CHUNKED, C),
        (b"", WRITE_NO_LENGTH, b""),
        (L, 0, L),
        (b"A: b\r\n" + L + b"B: c\r\n", 0, b"A: b\r\n" + L + b"B: c\r\n"),
        (L + b"A: b\r\n", WRITE_CHUNKED, b"A: b\r\n" + C),
        (L + b"A: b\r\n", WRITE_NO_LENGTH, b"A: b\r\n"),
        (b"Content-Length: 005\r\nA: b\r\n", 0, b"A: b\r\n" + L),
        (b"Content-Length: 0\r\n", 0, b"Content-Length: 0\r\n"),
        (b"Content-Length: 00\r\n", 0, b"Content-Length: 0\r\n"),
        (b"content-length:   5  \r\n", 0, b"content-length:   5  \r\n"),
        (b"Content-Length: 9223372036854775807\r\n", 0, b"Content-Length: 9223372036854775807\r\n"),
        (b"Content-Length: 09223372036854775807\r\n", 0, b"Content-Length: 9223372036854775807\r\n"),
        (b"transfer-encoding: Chunked\r\nA: b\r\n", 0, b"A: b\r\n" + C),
        (b"transfer-encoding: Chunked\r\nA: b\r\n", WRITE_CHUNKED, b"A: b\r\n" + C),
        (b"transfer-encoding: Chunked\r\nA: b\r\n", WRITE_NO_LENGTH, b"A: b\r\n"),
    ],
)
def test_framing_is_written_by_the_codec(fields: bytes, flags: int, wrote: bytes) -> None:
    assert fields_of(request(H + fields), flags) == H + wrote
    assert fields_of(response(fields), flags) == wrote


@pytest.mark.parametrize("flags", [0, WRITE_CHUNKED, WRITE_NO_LENGTH])
@pytest.mark.parametrize(
    ("fields", "status", "method", "wrote"),
    [
        (L, 200, HEAD, L),
        (b"Content-Length: 05\r\n", 200, HEAD, L),
        (C, 200, HEAD, b""),
        (b"", 200, HEAD, b""),
        (L, 304, GET, L),
        (C, 304, GET, b""),
        (L, 204, GET, b""),
        (C, 204, GET, b""),
        (L, 204, HEAD, b""),
        (L, 100, GET, b""),
        (C, 103, GET, b""),
        (L, 101, GET, b""),
    ],
)
def test_responses_without_a_body_say_at_most_a_length(
    fields: bytes, status: int, method: int, wrote: bytes, flags: int
) -> None:
    head = response(fields + b"A: b\r\n", b"HTTP/1.1 %d x" % status, method)
    got = fields_of(head, flags)
    assert sorted(got.splitlines()) == sorted((wrote + b"A: b\r\n").splitlines())


def test_a_length_of_ours_is_the_messages() -> None:
    head = response(L + b"A: b\r\n")
    head.delete(0)
    assert head.add(NAME_IDS["content-length"], b"Content-Length", b"7") == 0
    assert fields_of(head) == b"A: b\r\nContent-Length: 5\r\n"


@pytest.mark.parametrize(
    ("status", "method", "framing", "flags", "wrote"),
    [
        (404, GET, LENGTH, 0, L),
        (404, HEAD, LENGTH, 0, L),
        (304, GET, LENGTH, 0, L),
        (204, GET, LENGTH, 0, b""),
        (404, GET, NONE, 0, b""),
        (404, GET, CHUNKED, 0, C),
        (404, HEAD, CHUNKED, 0, b""),
        (404, GET, LENGTH, WRITE_CHUNKED, C),
        (404, GET, LENGTH, WRITE_CLOSE, L + b"Connection: close\r\n"),
    ],
)
def test_a_reply_made_here_is_framed_like_any_other(
    status: int, method: int, framing: int, flags: int, wrote: bytes
) -> None:
    head = Head(RESPONSE)
    head.make(status, method, framing, 5)
    assert head.add(0, b"A", b"b") == 0
    assert head.write(flags) == b"HTTP/1.1 %d \r\nA: b\r\n%s\r\n" % (status, wrote)


# ---- fields: order, case, edits ----


def test_untouched_fields_leave_as_they_came() -> None:
    fields = b"host:h1.test\r\nX-a:  b \t\r\nX-A: c\r\nEmpty:\r\nCookie: \xe9; b=c\r\n"
    assert fields_of(request(fields)) == fields


@pytest.mark.parametrize("deleted", range(2**5))
def test_deleted_fields_are_left_out_wherever_they_stand(deleted: int) -> None:
    lines = [b"A: 0\r\n", b"B:1\r\n", b"C: 2 \r\n", b"D: 3\r\n", b"E: 4\r\n"]
    head = response(b"".join(lines))
    for i in range(5):
        if deleted >> i & 1:
            head.delete(i)
    assert head.add(0, b"Added", b"x") == 0
    kept = [line for i, line in enumerate(lines) if not deleted >> i & 1]
    assert fields_of(head) == b"".join(kept) + b"Added: x\r\n"


# ---- room ----


@pytest.mark.parametrize("flags", [0, WRITE_CLOSE | WRITE_CHUNKED, WRITE_KEEP_ALIVE | WRITE_NO_LENGTH])
def test_a_head_is_written_into_exactly_its_size_and_not_into_less(flags: int) -> None:
    heads = [
        request(H + L + b"A: b\r\n"),
        request(H + b"Content-Length: 09223372036854775807\r\nA: b\r\n"),
        request(b"A: b\r\n", b"GET http://h1.test?a HTTP/1.0"),
        request(H, b"OPTIONS http://h1.test HTTP/1.1"),
        response(L + b"TE: x\r\nA: b\r\n"),
        response(b"", b"HTTP/1.1 200"),
    ]
    for head in heads:
        assert head.add(0, b"Added", b"x" * 30) == 0
        wrote = head.write(flags)
        assert wrote is not None
        assert head.write(flags, len(wrote)) == wrote
        for cap in range(len(wrote)):
            assert head.write(flags, cap) is None
