"""The chunked coding: bytes -> data, by section of RFC 9112 7.1. Each is fed in every way (kit.h1)."""

from __future__ import annotations

import pytest
from kit.h1 import unchunk, unchunk_every_way

from lb._speedups.face.testing_h1 import Chunked, write_size

LAST = b"0\r\n\r\n"


def good(data: bytes) -> bytes:
    body, left, said, reason = unchunk_every_way(data)
    assert (said, reason) == ("end", "OK"), (data, said, reason)
    assert left == 0
    return body


def refused(data: bytes) -> str:
    _, _, said, reason = unchunk_every_way(data)
    assert said == "bad", (data, said)
    return reason


# ---- RFC 9112 7.1: chunks ----


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (LAST, b""),
        (b"5\r\nhello\r\n" + LAST, b"hello"),
        (b"1\r\na\r\n2\r\nbc\r\n" + LAST, b"abc"),
        (b"a\r\n0123456789\r\n" + LAST, b"0123456789"),
        (b"A\r\n0123456789\r\n" + LAST, b"0123456789"),
        (b"0005\r\nhello\r\n" + LAST, b"hello"),
        (b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", b"hello"),
        (b"2\r\n\r\n\r\n" + LAST, b"\r\n"),
        (b"7\r\n0\r\n\r\n0\n\r\n" + LAST, b"0\r\n\r\n0\n"),
    ],
)
def test_chunks_become_data(data: bytes, body: bytes) -> None:
    assert good(data) == body


def test_what_follows_the_end_is_left() -> None:
    assert unchunk_every_way(b"1\r\na\r\n" + LAST + b"GET /") == (b"a", 5, "end", "OK")


def test_a_cut_body_never_ends() -> None:
    data = b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"
    for end in range(len(data)):
        _, left, said, _ = unchunk([data[:end]])
        assert (left, said) == (0, "more")


def test_the_last_chunk_is_known_before_the_trailer_section() -> None:
    reader = Chunked()
    assert reader.feed(b"1\r\na\r\n0\r")[2] == "more"
    assert not reader.is_last
    reader.feed(b"\n")
    assert reader.is_last
    reader.feed(b"\r\n")
    assert reader.is_last


@pytest.mark.parametrize(
    "line",
    [
        b"", b"x", b"0x5", b"+5", b"-5", b"0_5", b"5_0", b"5z", b" 5", b"\t5", b"5.0", b"\x85", b"\x1c5", b"5\x1c", b"5\x85",
        b"\xb5", b"5\xb9", b"5,", b"5h", b"g", b"\xef\xbc\x95", b"5\0", b"\x005", b"5\x0b", b"5 ", b"5\t", b"5 5", b"#5", b'"5"',
    ],
)  # fmt: skip
def test_a_size_is_hex_digits(line: bytes) -> None:
    assert refused(line + b"\r\nhello\r\n" + LAST) == "BAD_CHUNK"


@pytest.mark.parametrize(
    "size",
    [
        b"8000000000000000",
        b"ffffffffffffffff",
        b"FFFFFFFFFFFFFFFFF",
        b"10000000000000005",
        b"00000000000000005",
        b"f" * 32,
    ],
)
def test_a_size_has_at_most_16_digits_and_stays_under_2_to_the_63(size: bytes) -> None:
    assert refused(size + b"\r\nhello\r\n" + LAST) == "BAD_CHUNK"


@pytest.mark.parametrize("size", [b"7fffffffffffffff", b"100000005", b"100000000"])
def test_a_large_size_does_not_wrap(size: bytes) -> None:
    assert unchunk_every_way(size + b"\r\nhello\r\n0\r\n\r\n") == (b"hello\r\n0\r\n\r\n", 0, "more", "OK")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"5\nhello\r\n" + LAST, "BAD_LINE_END"),
        (b"5\rhello\r\n" + LAST, "BAD_LINE_END"),
        (b"5\r\r\nhello\r\n" + LAST, "BAD_LINE_END"),
        (b"5\n\nhello\r\n" + LAST, "BAD_LINE_END"),
        (b"\r\n5\r\nhello\r\n" + LAST, "BAD_CHUNK"),
        (b"5;a\nhello\r\n" + LAST, "BAD_LINE_END"),
        (b"5;\nhello\r\n" + LAST, "BAD_LINE_END"),
        (b"5;a\rX\r\nhello\r\n" + LAST, "BAD_LINE_END"),
        (b"5\r\nhello\n" + LAST, "BAD_CHUNK"),
        (b"5\r\nhello" + LAST, "BAD_CHUNK"),
        (b"5\r\nhelloXX" + LAST, "BAD_CHUNK"),
        (b"5\r\nhello\rX" + LAST, "BAD_CHUNK"),
        (b"5\r\nhello\n\r" + LAST, "BAD_CHUNK"),
        (b"5\r\nhello \r\n" + LAST, "BAD_CHUNK"),
        (b"4\r\nhello\r\n" + LAST, "BAD_CHUNK"),
        (b"0\n\n", "BAD_LINE_END"),
        (b"0\r\n\n", "BAD_LINE_END"),
        (b"0\r\n\rX", "BAD_LINE_END"),
        (b"0\r\n\r\r\n", "BAD_LINE_END"),
    ],
)
def test_lines_and_data_end_in_cr_lf_only(data: bytes, reason: str) -> None:
    assert refused(data) == reason


# ---- RFC 9112 7.1.1: extensions ----


@pytest.mark.parametrize(
    "ext",
    [
        b";a", b";a=b", b'; a="b c"', b';a="\\""', b';a=";=\t\xe9"', b" ;a", b"\t;\ta\t=\tb", b";a=b;c;d=e", b';a="b" ;c',
        b";a=b ; c", b';a=""', b";!#$%&'*+-.^_`|~=x",
    ],
)  # fmt: skip
def test_extensions_are_read_and_dropped(ext: bytes) -> None:
    assert good(b"5" + ext + b"\r\nhello\r\n0" + ext + b"\r\n\r\n") == b"hello"


@pytest.mark.parametrize(
    "ext",
    [
        b";", b"; ", b";a ", b";a=", b";a= ", b";=b", b";;", b";a;;b", b";a=b=c", b';a="b', b';a="b\\', b';a="b"c', b';"a"',
        b';a="b\0"', b";a=b,c", b";a b", b";a\0", b";\xe9", b';a=b"c"', b" ", b" a", b";a=b ", b';a="b" ', b";(a)", b';a="\x7f"',
    ],
)  # fmt: skip
def test_malformed_extensions_are_refused(ext: bytes) -> None:
    assert refused(b"5" + ext + b"\r\nhello\r\n" + LAST) == "BAD_CHUNK"


def test_a_quote_does_not_carry_an_extension_over_the_line() -> None:
    assert refused(b'5;a="\r\nhello\r\n0\r\n\r\n"\r\nhello\r\n' + LAST) == "BAD_CHUNK"


def test_one_extension_is_bounded() -> None:
    assert unchunk([b"1;" + b"a" * 4093 + b"\r\na\r\n", LAST])[2] == "end"
    assert unchunk([b"1;" + b"a" * 4096 + b"\r\na\r\n", LAST])[2:] == ("bad", 19)
    reader = Chunked()
    assert reader.feed(b"1;" + b"a" * 4095)[2] == "bad"  # on what has arrived, without waiting for the line


def test_extensions_of_a_message_are_bounded_together() -> None:
    chunk = b"1;" + b"a" * 127 + b"\r\na\r\n"
    assert unchunk([chunk] * 32 + [LAST])[2] == "end"
    assert unchunk([chunk] * 33 + [LAST])[2:] == ("bad", 19)


# ---- RFC 9112 7.1.2: the trailer section ----


@pytest.mark.parametrize(
    "fields",
    [
        b"A: b\r\n",
        b"A:\r\n",
        b"A: \t b c \xe9 \r\nB: c\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: x\r\n",
        b"Host: a\r\n",
    ],
)
def test_trailer_fields_are_validated_and_dropped(fields: bytes) -> None:
    assert good(b"1\r\na\r\n0\r\n" + fields + b"\r\n") == b"a"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (b"A\r\n", "BAD_TRAILER"),
        (b": b\r\n", "BAD_TRAILER"),
        (b"A : b\r\n", "BAD_TRAILER"),
        (b"\xe9: b\r\n", "BAD_TRAILER"),
        (b"A\0: b\r\n", "BAD_TRAILER"),
        (b"A: b\0\r\n", "BAD_TRAILER"),
        (b"A: b\x7f\r\n", "BAD_TRAILER"),
        (b" A: b\r\n", "OBS_FOLD"),
        (b"A: b\r\n\tc\r\n", "OBS_FOLD"),
        (b"A: b\n", "BAD_LINE_END"),
        (b"A: b\rc\r\n", "BAD_LINE_END"),
        (b"A: b\r\r\n", "BAD_LINE_END"),
        (b"GET / HTTP/1.1\r\n", "BAD_TRAILER"),
    ],
)
def test_malformed_trailer_fields_are_refused(fields: bytes, reason: str) -> None:
    assert refused(b"0\r\n" + fields + b"\r\n") == reason


def test_the_trailer_section_is_bounded() -> None:
    assert unchunk([b"0\r\n", b"A: b\r\n" * 101, b"\r\n"])[2] == "end"
    assert unchunk([b"0\r\n", b"A: b\r\n" * 102, b"\r\n"])[2:] == ("bad", 20)
    assert unchunk([b"0\r\n", b"A:" + b"b" * 4090 + b"\r\n\r\n"])[2] == "end"
    assert unchunk([b"0\r\n", b"A:" + b"b" * 4095])[2:] == ("bad", 20)
    assert unchunk([b"0\r\n", b"a" * 255 + b":\r\n\r\n"])[2] == "end"
    assert unchunk([b"0\r\n", b"a" * 256 + b":\r\n\r\n"])[2:] == ("bad", 20)


# ---- after a verdict; writing ----


def test_a_verdict_is_final() -> None:
    reader = Chunked()
    assert reader.feed(b"x") == (b"", 0, "bad")
    assert reader.feed(LAST) == (b"", 5, "bad")
    reader = Chunked()
    assert reader.feed(LAST + b"a")[1:] == (1, "end")
    assert reader.feed(b"1\r\na\r\n") == (b"", 6, "end")


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 255, 4096, 16384, 2**32, 2**63 - 1, 2**64 - 1])
def test_size_lines_are_written_in_lower_hex(size: int) -> None:
    assert write_size(size) == b"%x\r\n" % size
