"""Requests: bytes -> verdict, by section of RFC 9112 and RFC 9110. Each is fed in every way (kit.h1)."""

from __future__ import annotations

import pytest
from kit.h1 import (
    ABSOLUTE,
    CHUNKED,
    EXPECT,
    FRAMING,
    HEAD_MAX,
    HOP,
    HTTP10,
    KEEP_ALIVE,
    LENGTH,
    METHODS,
    NONE,
    RELENGTH,
    REQUEST,
    SAID_CLOSE,
    STAR,
    UPGRADE,
    Verdict,
    read,
    read_every_way,
)  # fmt: skip

H = b"Host: h1.test\r\n"
ALL_METHODS = (*METHODS, "PROPFIND", "get", "M-SEARCH", "!#$%&'*+-.^_`|~09azAZ", "X" * 32)


def verdict(data: bytes) -> Verdict:
    return read_every_way(REQUEST, data)


def accepted(data: bytes) -> Verdict:
    got = verdict(data)
    assert got.answer > 0, (data, got.answer, got.reason)
    return got


def refused(data: bytes) -> tuple[int, str]:
    got = verdict(data)
    assert got.answer < 0, (data, got.answer)
    return -got.answer, got.reason


def get(fields: bytes = b"", target: bytes = b"/", version: bytes = b"HTTP/1.1", host: bytes = H) -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + host + fields + b"\r\n"


# ---- RFC 9112 2.2: message parsing ----


def test_a_request_is_complete_at_its_empty_line() -> None:
    data = get()
    for end in range(len(data)):
        assert verdict(data[:end]).answer == 0
    got = accepted(data + b"what follows")
    assert got.answer == got.head_len == len(data)
    assert (got.method, got.target, got.path, got.query) == (b"GET", b"/", b"/", b"")
    assert (got.authority, got.framing, got.flags) == (b"h1.test", NONE, KEEP_ALIVE)


def test_one_empty_line_in_front_is_skipped() -> None:
    got = accepted(b"\r\n" + get())
    assert got.answer == len(get()) + 2
    assert got.method == b"GET"


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        (b"\r\n\r\n", "BAD_METHOD"),
        (b"\n", "BAD_METHOD"),
        (b"\r", "BAD_LINE_END"),
        (b" ", "BAD_METHOD"),
        (b"\0", "BAD_METHOD"),
        (b"\x16\x03\x01", "BAD_METHOD"),  # TLS to the wrong port
        (b"\xef\xbb\xbf", "BAD_METHOD"),
    ],
)
def test_what_begins_no_request_is_refused_without_a_line_feed(front: bytes, reason: str) -> None:
    assert refused(front + get()) == (400, reason)
    assert refused((front + b"GET")[: max(len(front), 2)]) == (400, reason)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\n" + H + b"\r\n",
        b"GET / HTTP/1.1\rHost: h1.test\r\n\r\n",
        b"GET / HTTP/1.1\r\r\n" + H + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: h1.test\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h1.test\r\n\n",
        b"GET / HTTP/1.1\r\nHost: h1.test\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h1.test\r\n\rZ\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h1.test\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\n" + H + b"A: b\r\n\r\r\n",
    ],
)
def test_lines_end_in_cr_lf_only(data: bytes) -> None:
    status, reason = refused(data)
    assert status == 400
    assert reason in ("BAD_LINE_END", "BAD_VERSION")


# ---- RFC 9112 3: the request line ----


@pytest.mark.parametrize("method", [m for m in ALL_METHODS if m != "CONNECT"])
def test_a_method_is_any_token_and_keeps_its_case(method: str) -> None:
    got = accepted(method.encode() + b" / HTTP/1.1\r\n" + H + b"\r\n")
    assert got.method == method.encode()
    assert got.method_id == METHODS.get(method, 0)


@pytest.mark.parametrize("method", [b"G\xc9T", b"G(T", b"G\0T", b"G/T", b"G:T", b'"GET"', b"G\tT", b"GET\x7f", b"G@T"])
def test_a_method_that_is_no_token_is_refused(method: bytes) -> None:
    assert refused(method + b" / HTTP/1.1\r\n" + H + b"\r\n") == (400, "BAD_METHOD")


def test_a_method_longer_than_any_is_not_implemented() -> None:
    assert refused(b"X" * 33 + b" / HTTP/1.1\r\n" + H + b"\r\n") == (501, "BAD_METHOD")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b" GET / HTTP/1.1", "BAD_METHOD"),
        (b"GET  / HTTP/1.1", "BAD_TARGET"),
        (b"GET\t/ HTTP/1.1", "BAD_METHOD"),
        (b"GET /  HTTP/1.1", "BAD_VERSION"),
        (b"GET /\tHTTP/1.1", "BAD_TARGET"),
        (b"GET / HTTP/1.1 ", "BAD_VERSION"),
        (b"GET / HTTP/1.1\t", "BAD_VERSION"),
        (b"GET / a HTTP/1.1", "BAD_VERSION"),
        (b"GET /", "BAD_VERSION"),  # HTTP/0.9
        (b"GET / ", "BAD_VERSION"),
        (b"GET ", "BAD_TARGET"),
        (b"GET", "BAD_METHOD"),
        (b"GET HTTP/1.1", "BAD_VERSION"),
    ],
)
def test_a_request_line_has_three_parts_and_two_spaces(line: bytes, reason: str) -> None:
    assert refused(line + b"\r\n" + H + b"\r\n") == (400, reason)


# ---- RFC 9112 2.3: version ----


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/0.0"])
def test_versions_other_than_1_0_and_1_1_are_not_supported(version: bytes) -> None:
    assert refused(get(version=version)) == (505, "BAD_VERSION")


def test_the_preface_of_http2_is_a_version_not_supported() -> None:
    assert refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == (505, "BAD_VERSION")


@pytest.mark.parametrize(
    "version",
    [
        b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/+1.1", b"HTTP/1,1", b"HTTP/1.\xb9",
        b"http/1.1", b"Http/1.1", b"HTTP1.1", b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/1. 1", b"HTTP/x.y", b"ICY/1.1",
        b"HTTP/1.1\0", b"HTTP/1.1;", b"HTTPS/1.1", b"\x00HTTP/1.1", b"HTTP/-1.1", b"HTTP/1.1HTTP/1.1",
    ],
)  # fmt: skip
def test_a_malformed_version_is_refused(version: bytes) -> None:
    assert refused(get(version=version)) == (400, "BAD_VERSION")


def test_1_0_is_known() -> None:
    got = accepted(get(version=b"HTTP/1.0"))
    assert got.flags == HTTP10
    assert accepted(get(b"Connection: Keep-Alive\r\n", version=b"HTTP/1.0")).flags == HTTP10 | KEEP_ALIVE


# ---- RFC 9112 3.2: the request target ----


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a/b;c=d", b"/a/b;c=d", b""),
        (b"/a?b=c", b"/a", b"b=c"),
        (b"/a?", b"/a", b""),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"//a//b", b"//a//b", b""),
        (b"/%00%0d%0a%2f", b"/%00%0d%0a%2f", b""),
        (b"/http://x", b"/http://x", b""),
        (b'/"<>[]^`{|}\\', b'/"<>[]^`{|}\\', b""),
        (b"/" + b"a" * 100, b"/" + b"a" * 100, b""),
        (b"/..;/x", b"/..;/x", b""),
    ],
)
def test_origin_form_is_split_at_the_first_question_mark(target: bytes, path: bytes, query: bytes) -> None:
    got = accepted(get(target=target))
    assert (got.target, got.path, got.query, got.authority) == (target, path, query, b"h1.test")


@pytest.mark.parametrize(
    "byte", [n for n in range(256) if n <= 0x20 or n >= 0x7F or n == 0x23], ids=lambda n: f"{n:02x}"
)
def test_a_target_has_visible_ascii_without_a_fragment(byte: int) -> None:
    for target in (b"/a" + bytes([byte]) + b"b", b"/" + b"a" * 17 + bytes([byte]) + b"b" * 17):
        status, _ = refused(get(target=target))
        assert status == 400


@pytest.mark.parametrize(
    "target",
    [
        b"admin", b"h1.test/x", b"*", b"**", b"h1.test:80", b"?a", b"http:/x", b"http:", b"ftp://h1.test/",
        b"ws://h1.test/", b"http://", b"http:///x", b"http://a@h1.test/", b"http://h1.test:/", b"http://h1.test:x/",
        b"http://h1.test:65536/", b"http://[::1/", b"http://[::g]/", b"http://?x", b"://h1.test/", b"\\", b"..",
        b"httpx://h1.test/", b"https://", b"http://h1.test,x/", b"http://:80/", b"mailto:a", b"*/",
    ],
)  # fmt: skip
def test_other_forms_of_targets_are_refused(target: bytes) -> None:
    assert refused(get(target=target)) == (400, "BAD_TARGET")


def test_the_star_is_for_options() -> None:
    got = accepted(b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n")
    assert got.flags == KEEP_ALIVE | STAR
    assert (got.target, got.path) == (b"*", b"")
    assert refused(b"HEAD * HTTP/1.1\r\n" + H + b"\r\n") == (400, "BAD_TARGET")
    assert refused(b"OPTIONS ** HTTP/1.1\r\n" + H + b"\r\n") == (400, "BAD_TARGET")


@pytest.mark.parametrize("target", [b"h1.test:443", b"/", b"*", b"http://h1.test/"])
def test_connect_is_refused(target: bytes) -> None:
    assert refused(b"CONNECT " + target + b" HTTP/1.1\r\n" + H + b"\r\n") == (405, "CONNECT_REFUSED")


@pytest.mark.parametrize(
    ("target", "scheme", "path", "query"),
    [
        (b"http://h1.test/a?b", b"http", b"/a", b"b"),
        (b"http://h1.test", b"http", b"", b""),
        (b"http://h1.test?b", b"http", b"", b"b"),
        (b"HTTPS://H1.TEST/", b"HTTPS", b"/", b""),
        (b"http://h1.test/a@b", b"http", b"/a@b", b""),
    ],
)
def test_absolute_form_has_an_authority_of_its_own(target: bytes, scheme: bytes, path: bytes, query: bytes) -> None:
    got = accepted(get(target=target))
    assert got.flags == KEEP_ALIVE | ABSOLUTE
    assert (got.scheme, got.path, got.query) == (scheme, path, query)
    assert got.authority.lower() == b"h1.test"


@pytest.mark.parametrize("host", [b"other.test", b"h1.test:80", b"h1.tes", b"h1.test.", b"xh1.test"])
def test_absolute_form_must_agree_with_host(host: bytes) -> None:
    assert refused(get(target=b"http://h1.test/", host=b"Host: " + host + b"\r\n")) == (400, "BAD_HOST")


def test_a_target_of_8_kib_passes_and_one_byte_more_is_414() -> None:
    target = b"/" + b"a" * 8191
    assert read(REQUEST, [get(target=target)]).answer > 0
    assert read(REQUEST, [get(target=target + b"a")]).said == (-414, "TARGET_TOO_LONG")


def test_a_request_line_without_end_is_414_as_soon_as_it_is_too_long() -> None:
    longest = 32 + 1 + 8192 + 1 + 8 + 1
    data = b"GET /" + b"a" * 9000
    assert read(REQUEST, [data[:longest]]).answer == 0
    assert read(REQUEST, [data[: longest + 1]]).said == (-414, "TARGET_TOO_LONG")
    assert read(REQUEST, [data[i : i + 1] for i in range(len(data))]).said == (-414, "TARGET_TOO_LONG")
    assert read(REQUEST, [data + b"\0\xff HTTP/1.1\r\n\r\n"]).said == (-414, "TARGET_TOO_LONG")
    assert read(REQUEST, [b"G" * 9000]).said == (-414, "TARGET_TOO_LONG")
    assert read(REQUEST, [b"\r\n", data[:longest]]).answer == 0


# ---- RFC 9112 3.2, RFC 9110 7.2: Host ----


@pytest.mark.parametrize(
    "host",
    [
        b"a", b"h1.test", b"H1.Test", b"h1.test:80", b"h1.test:0", b"h1.test:65535", b"1.2.3.4", b"1.2.3.4:8080",
        b"[::1]", b"[::1]:80", b"[2001:db8::1.2.3.4]", b"a_b.test", b"h1.test.", b"a%20b", b"xn--bcher-kva.example",
        b"a!$&'()*+;=b", b"00000", b"h:00080",
    ],
)  # fmt: skip
def test_a_host_is_a_name_or_address_with_an_optional_port(host: bytes) -> None:
    assert accepted(get(host=b"Host: " + host + b"\r\n")).authority == host


@pytest.mark.parametrize(
    "host",
    [
        b"", b" ", b"a b", b"a,b", b"a, b", b"user@h1.test", b"h1.test/", b"h1.test/x", b"http://h1.test", b"h1.test:",
        b"h1.test:x", b"h1.test:8x", b"h1.test:65536", b"h1.test:-1", b"h1.test:+80", b"h1.test:80:80", b":80", b"[::1",
        b"::1", b"[]", b"[::1]x", b"[::1]:", b"[:::1]", b"[1.2.3.4]", b"[fe80::1%25eth0]", b"[v1.a]", b"a%2", b"a%zz",
        b"a?b", b"a#b", b"a\\b", b"a|b", b"a<b", b'"a"', b"h\xe9", b"h1.test:000080",
    ],
)  # fmt: skip
def test_a_malformed_host_is_refused(host: bytes) -> None:
    assert refused(get(host=b"Host: " + host + b"\r\n")) == (400, "BAD_HOST")


def test_host_is_needed_once() -> None:
    assert refused(get(host=b"")) == (400, "BAD_HOST")
    assert refused(get(host=H + H)) == (400, "BAD_HOST")
    assert refused(get(host=H + b"HOST: other.test\r\n")) == (400, "BAD_HOST")
    assert refused(get(host=H + H, version=b"HTTP/1.0")) == (400, "BAD_HOST")
    assert accepted(get(host=b"", version=b"HTTP/1.0")).authority == b""


# ---- RFC 9112 5: fields ----


def test_field_names_are_tokens_of_any_case_and_values_lose_the_space_around() -> None:
    got = accepted(get(b"!#$%&'*+-.^_`|~09azAZ: x\r\nA:b\r\nB: \t c d \t\r\nC:\r\nD: \r\nCoOkIe: \xe9\xff\r\n"))
    assert got.fields == [
        (b"Host", b"h1.test", 1, 0),
        (b"!#$%&'*+-.^_`|~09azAZ", b"x", 0, 0),
        (b"A", b"b", 0, 0),
        (b"B", b"c d", 0, 0),
        (b"C", b"", 0, 0),
        (b"D", b"", 0, 0),
        (b"CoOkIe", b"\xe9\xff", 19, 0),
    ]
    assert got.nlive == got.nfields == 7


@pytest.mark.parametrize(
    "line",
    [
        b": b", b":", b"Foo", b"Foo : b", b"Foo\t: b", b"F oo: b", b"Foo\0: b", b"Foo\x0b: b", b"F(oo): b", b'"Foo": b',
        b"F\xe9: b", b"Foo\x7f: b", b"Foo\r: b", b"F@o: b", b"F/o: b", b"[Foo]: b", b"{Foo}: b", b"F,o: b", b"F;o: b",
        b"=?: b", b"Content-Length : 3", b"Transfer-Encoding : chunked", b"Host : x",
    ],
)  # fmt: skip
def test_what_is_no_field_line_is_refused(line: bytes) -> None:
    status, reason = refused(get(line + b"\r\n"))
    assert status == 400
    assert reason in ("BAD_FIELD_NAME", "BAD_LINE_END")
    assert refused(get(host=line + b"\r\n"))[0] == 400


@pytest.mark.parametrize(
    "byte", [n for n in range(256) if (n < 0x20 and n != 9) or n == 0x7F], ids=lambda n: f"{n:02x}"
)
def test_controls_in_values_are_refused(byte: int) -> None:
    for pad in (b"", b"v" * 20):
        status, reason = refused(get(b"A: b" + pad + bytes([byte]) + b"c" + pad + b"\r\n"))
        assert (status, reason) == (400, "BAD_LINE_END" if byte in (10, 13) else "BAD_FIELD_VALUE")


@pytest.mark.parametrize("byte", [9, *range(0x20, 0x7F), *range(0x80, 0x100)], ids=lambda n: f"{n:02x}")
def test_all_other_bytes_are_values(byte: int) -> None:
    value = b"b" + bytes([byte]) + b"c" * 20 + bytes([byte]) + b"d"
    assert accepted(get(b"A: " + value + b"\r\n")).values(b"a") == [value]


@pytest.mark.parametrize("line", [b" folded", b"\tfolded", b" Transfer-Encoding: chunked", b" ", b"\t"])
def test_folded_lines_are_refused(line: bytes) -> None:
    assert refused(get(b"A: b\r\n" + line + b"\r\n")) == (400, "OBS_FOLD")
    assert refused(get(host=line + b"\r\n" + H)) == (400, "OBS_FOLD")


def test_a_name_has_at_most_255_bytes() -> None:
    assert read(REQUEST, [get(b"x" * 255 + b": y\r\n")]).answer > 0
    for more in (256, 256 + 14, 512):
        assert read(REQUEST, [get(b"x" * more + b": y\r\n")]).said == (-400, "BAD_FIELD_NAME")


def test_101_fields_pass_and_one_more_is_431() -> None:
    assert read(REQUEST, [get(b"A: b\r\n" * 100)]).nfields == 101
    assert read(REQUEST, [get(b"A: b\r\n" * 101)]).said == (-431, "TOO_MANY_FIELDS")


def test_a_head_of_15_kib_passes_and_one_byte_more_is_431() -> None:
    frame = len(get(b"A: \r\n"))
    data = get(b"A: " + b"b" * (HEAD_MAX - frame) + b"\r\n")
    assert len(data) == HEAD_MAX
    assert read(REQUEST, [data]).answer == HEAD_MAX
    assert read(REQUEST, [data[i : i + 1] for i in range(len(data))]).answer == HEAD_MAX
    longer = get(b"A: " + b"b" * (HEAD_MAX - frame + 1) + b"\r\n")
    for pieces in (
        [longer[:HEAD_MAX]],
        [longer[i : i + 1] for i in range(HEAD_MAX)],
        [longer[:9000], longer[9000:HEAD_MAX]],
    ):
        assert read(REQUEST, pieces).said == (-431, "HEAD_TOO_LARGE")
    assert read(REQUEST, [longer[: HEAD_MAX - 1]]).answer == 0


# ---- RFC 9110 8.6, RFC 9112 6.2 and 6.3: Content-Length ----


@pytest.mark.parametrize(
    ("value", "length", "flags"),
    [
        (b"0", 0, 0),
        (b"5", 5, 0),
        (b"9223372036854775807", 2**63 - 1, 0),
        (b"010", 10, RELENGTH),
        (b"00", 0, RELENGTH),
        (b"0" * 30 + b"7", 7, RELENGTH),
    ],
)
def test_content_length_is_decimal_digits(value: bytes, length: int, flags: int) -> None:
    for method in (b"GET", b"HEAD", b"POST", b"OPTIONS", b"DELETE", b"X"):
        got = accepted(method + b" / HTTP/1.1\r\n" + H + b"Content-Length: " + value + b"\r\n\r\n")
        assert (got.framing, got.length, got.flags) == (LENGTH, length, KEEP_ALIVE | flags)
        assert got.fields[1][3] == FRAMING


@pytest.mark.parametrize(
    "value",
    [
        b"", b" ", b"+5", b"-5", b"-0", b"0x5", b"1_0", b"5.0", b"5;q=1", b'"5"', b"4 2", b"5,", b",5", b"5,5", b"5, 5",
        b"5, 6", b"5,5,6", b"5e1", b"9223372036854775808", b"9223372036854775813", b"18446744073709551621",
        b"99999999999999999999999", b"\xb9", b"5\xa0", b"\xa05", b"5\x85", b"\xef\xbc\x95", b"five", b"5a", b"0b1",
    ],
)  # fmt: skip
def test_any_other_content_length_is_refused(value: bytes) -> None:
    assert refused(get(b"Content-Length: " + value + b"\r\n")) == (400, "BAD_LENGTH")


@pytest.mark.parametrize("byte", [0x00, 0x0B, 0x0C, 0x1C, 0x1F, 0x7F])
def test_controls_around_a_length_are_refused(byte: int) -> None:
    assert refused(get(b"Content-Length: 5" + bytes([byte]) + b"\r\n")) == (400, "BAD_FIELD_VALUE")


@pytest.mark.parametrize("second", [b"5", b"6", b"", b"05"])
def test_a_second_content_length_is_refused_even_if_the_same(second: bytes) -> None:
    fields = b"Content-Length: 5\r\nA: b\r\ncontent-length: " + second + b"\r\n"
    assert refused(get(fields)) == (400, "BAD_LENGTH")


def test_2_to_the_32_does_not_wrap() -> None:
    assert accepted(get(b"Content-Length: 4294967301\r\n")).length == 2**32 + 5


@pytest.mark.parametrize("over", [256, 65536])
def test_a_name_as_long_as_the_length_wrapped_is_not_the_length(over: int) -> None:
    # HAProxy CVE-2021-40346: the length of the name taken modulo 256
    name = b"Content-Length" + b"x" * min(over, 5000)
    assert read(REQUEST, [get(name + b": 5\r\n")]).said == (-400, "BAD_FIELD_NAME")


# ---- RFC 9112 6.1: Transfer-Encoding ----


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED", b" \tchunked\t "])
def test_chunked_is_the_one_coding(value: bytes) -> None:
    for method in (b"GET", b"POST", b"OPTIONS"):
        got = accepted(method + b" / HTTP/1.1\r\n" + H + b"Transfer-Encoding:" + value + b"\r\n\r\n")
        assert (got.framing, got.flags) == (CHUNKED, KEEP_ALIVE)


@pytest.mark.parametrize(
    "value",
    [
        b"xchunked", b"chunkedx", b"identity", b"gzip", b"chunked, gzip", b"gzip, chunked", b"chunked, chunked",
        b"chunked,chunked", b"chunked\t, identity", b"hunked", b"chunke", b"x",
    ],
)  # fmt: skip
def test_other_codings_are_not_implemented(value: bytes) -> None:
    assert refused(get(b"Transfer-Encoding: " + value + b"\r\n")) == (501, "BAD_CODING")


@pytest.mark.parametrize(
    "value",
    [
        b"", b",chunked", b"chunked,", b", chunked", b"chunked, ", b"chunked;", b"chunked;q=1", b'"chunked"', b"chunked chunked",
        b"\xa0chunked", b"chunked\x85", b"\xffchunked", b"\xe2\x84\xaaunked", b"chun\xe2\x84\xaaed", b"chunked=", b"[chunked]",
        b",", b"chunked;a=b", b"a b",
    ],
)  # fmt: skip
def test_a_malformed_coding_is_refused(value: bytes) -> None:
    assert refused(get(b"Transfer-Encoding: " + value + b"\r\n")) == (400, "BAD_CODING")


@pytest.mark.parametrize("byte", [0x00, 0x0B, 0x0C, 0x1C, 0x7F])
def test_controls_around_a_coding_are_refused(byte: int) -> None:
    for value in (bytes([byte]) + b"chunked", b"chunked" + bytes([byte])):
        assert refused(get(b"Transfer-Encoding: " + value + b"\r\n")) == (400, "BAD_FIELD_VALUE")


def test_two_transfer_encodings_are_refused() -> None:
    line = b"Transfer-Encoding: chunked\r\n"
    assert refused(get(line + line)) == (501, "BAD_CODING")
    assert refused(get(line + b"Transfer-Encoding: identity\r\n")) == (501, "BAD_CODING")
    assert refused(get(b"Transfer-Encoding: identity\r\n" + line)) == (501, "BAD_CODING")


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"transfer-encoding: chunked\r\nA: b\r\nCONTENT-LENGTH: 0\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
    ],
)
def test_length_and_coding_together_are_refused(fields: bytes) -> None:
    assert refused(get(fields)) == (400, "LENGTH_AND_CODING")


def test_a_coding_in_1_0_is_refused() -> None:
    fields = b"Transfer-Encoding: chunked\r\n"
    assert refused(get(fields, version=b"HTTP/1.0")) == (400, "CODING_IN_10")


# ---- RFC 9112 9.3, RFC 9110 7.6.1: Connection ----


@pytest.mark.parametrize(
    ("version", "fields", "flags"),
    [
        (b"HTTP/1.1", b"", KEEP_ALIVE),
        (b"HTTP/1.1", b"Connection: close\r\n", SAID_CLOSE),
        (b"HTTP/1.1", b"Connection: CLOSE\r\n", SAID_CLOSE),
        (b"HTTP/1.1", b"connection: keep-alive, close\r\n", SAID_CLOSE),
        (b"HTTP/1.1", b"Connection: x\r\nA: b\r\nConnection: close\r\n", SAID_CLOSE),
        (b"HTTP/1.1", b"Connection: ,, close ,\r\n", SAID_CLOSE),
        (b"HTTP/1.1", b"Connection:\r\n", KEEP_ALIVE),
        (b"HTTP/1.1", b"Connection: closed\r\n", KEEP_ALIVE),
        (b"HTTP/1.1", b"Proxy-Connection: close\r\n", KEEP_ALIVE),
        (b"HTTP/1.0", b"", HTTP10),
        (b"HTTP/1.0", b"Connection: keep-alive\r\n", HTTP10 | KEEP_ALIVE),
        (b"HTTP/1.0", b"Connection: close, keep-alive\r\n", HTTP10 | SAID_CLOSE),
        (b"HTTP/1.0", b"Keep-Alive: timeout=5\r\n", HTTP10),
    ],
)
def test_a_connection_persists_as_its_version_says(version: bytes, fields: bytes, flags: int) -> None:
    assert accepted(get(fields, version=version)).flags == flags


@pytest.mark.parametrize(
    "value", [b"close;x", b"keep alive", b"close close", b'"close"', b"a=b", b"close,(x)", b"\xe9"]
)
def test_connection_options_are_tokens(value: bytes) -> None:
    assert refused(get(b"Connection: " + value + b"\r\n")) == (400, "BAD_FIELD_VALUE")


def test_connection_options_are_bounded() -> None:
    assert read(REQUEST, [get(b"Connection: " + b"a," * 16 + b"\r\n")]).answer > 0
    assert read(REQUEST, [get(b"Connection: " + b"a," * 17 + b"\r\n")]).said == (-431, "TOO_MANY_FIELDS")
    assert read(REQUEST, [get(b"Connection: a\r\n" * 17)]).said == (-431, "TOO_MANY_FIELDS")


def hop_of(fields: bytes) -> list[bytes]:
    return [name for name, _, _, flags in accepted(get(fields)).fields if flags & HOP]


def test_hop_by_hop_fields_are_marked() -> None:
    names = [
        b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Upgrade", b"HTTP2-Settings",
        b"Proxy-Authenticate", b"Proxy-Authorization",
    ]  # fmt: skip
    assert hop_of(b"A: b\r\n" + b"".join(name + b": x\r\n" for name in names) + b"C: d\r\n") == names


def test_fields_named_in_connection_are_marked_wherever_they_stand() -> None:
    fields = b"X-Secret: 1\r\nConnection: x-secret, Cookie, nobody\r\nCookie: a\r\nX-SECRET: 2\r\nX-Secrets: 3\r\ncookie: b\r\n"
    assert hop_of(fields) == [b"X-Secret", b"Connection", b"Cookie", b"X-SECRET", b"cookie"]


def test_host_and_framing_cannot_be_named_away() -> None:
    got = accepted(get(b"Connection: host, content-length, close\r\nContent-Length: 3\r\n"))
    assert [flags & HOP for _, _, _, flags in got.fields] == [0, HOP, 0]
    got = accepted(get(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"))
    assert (got.framing, got.fields[2][3]) == (CHUNKED, FRAMING)


# ---- RFC 9110 7.8: Upgrade ----


@pytest.mark.parametrize(
    ("fields", "is_upgrade"),
    [
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", True),
        (b"Upgrade: WebSocket/13\r\nConnection: keep-alive, upgrade\r\n", True),
        (b"Connection: Upgrade\r\nUpgrade: a/1, b\r\n", True),
        (b"Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", True),
        (b"Upgrade: websocket\r\n", False),
        (b"Connection: upgrade\r\n", False),
        (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: h2c/1\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: h2c-14\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade:\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: websocket,\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: web socket\r\n", False),
        (b"Connection: Upgrade\r\nUpgrade: websocket/\r\n", False),
    ],
)
def test_an_upgrade_is_offered_by_both_fields_and_never_h2c(fields: bytes, is_upgrade: bool) -> None:
    assert bool(accepted(get(fields)).flags & UPGRADE) == is_upgrade


def test_1_0_cannot_upgrade() -> None:
    fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    assert not accepted(get(fields, version=b"HTTP/1.0")).flags & UPGRADE


# ---- RFC 9110 10.1.1: Expect ----


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_100_continue_is_the_one_expectation(value: bytes) -> None:
    got = accepted(get(b"Expect: " + value + b"\r\nContent-Length: 3\r\n"))
    assert got.flags == KEEP_ALIVE | EXPECT
    assert got.fields[1][3] == 0


@pytest.mark.parametrize(
    "value", [b"", b"y 100-continue", b"100-continue, x", b"100-continue, 100-continue", b"100 continue"]
)
def test_other_expectations_fail(value: bytes) -> None:
    assert refused(get(b"Expect: " + value + b"\r\n")) == (417, "BAD_EXPECT")


def test_a_second_expectation_fails() -> None:
    assert refused(get(b"Expect: 100-continue\r\n" * 2)) == (417, "BAD_EXPECT")


def test_an_expectation_in_1_0_is_ignored_and_stays_here() -> None:
    got = accepted(get(b"Expect: 100-continue\r\n", version=b"HTTP/1.0"))
    assert got.flags == HTTP10
    assert got.fields[1][3] == HOP


# ---- after a verdict ----


def test_a_refusal_is_final() -> None:
    got = read(REQUEST, [b"GET / HTTP/9.9\r\n"])
    assert got.answer == -505
    assert got.head.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == -505
    assert got.head.dump()["status"] == 505


def test_a_complete_head_stays_complete() -> None:
    got = read(REQUEST, [get()])
    assert got.head.feed(b"\0\0\n") == got.answer
