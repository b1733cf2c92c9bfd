"""Tables of the codec against their obvious definitions, and the grammar of hosts against the standard library."""

from __future__ import annotations

import ipaddress
import random
import re
import string
from pathlib import Path

import pytest
from kit.h1 import NAMES, REASONS, REQUEST, read

from lb._speedups.face.testing_h1 import byte_class, is_authority, name_id, reason_text, work

TOKEN = set((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
VALUE = {9, *range(0x20, 0x7F), *range(0x80, 0x100)}
TARGET = set(range(0x21, 0x7F)) - {ord("#")}
HEX = set(string.hexdigits.encode())
REGNAME = set((string.ascii_letters + string.digits + "-._~!$&'()*+;=").encode())

ROOT = Path(__file__).resolve().parents[3]


def test_every_byte_is_in_its_classes() -> None:
    for byte in range(256):
        expected = [byte in group for group in (TOKEN, VALUE, TARGET, HEX, REGNAME)]
        assert [bool(byte_class(byte) >> bit & 1) for bit in range(5)] == expected, hex(byte)
        assert byte_class(byte) < 32


def test_names_of_the_enum_are_the_names_of_the_table() -> None:
    header = (ROOT / "lb/_speedups/proto/message.pxd").read_text()
    enum = re.findall(r"^    NAME_(\w+)", header, re.MULTILINE)
    assert enum[0] == "OTHER"
    assert enum[-1] == "COUNT"
    assert tuple(name.lower().replace("_", "-") for name in enum[1:-1]) == NAMES[1:]


def test_known_names_are_found_in_any_case_and_nothing_else_is() -> None:
    for number, name in enumerate(NAMES[1:], 1):
        for spelled in (name, name.upper(), name.title(), name.swapcase()):
            assert name_id(spelled.encode()) == number
        for other in (name[:-1], name + "x", "x" + name, name[:-1] + "~", name.replace("-", "_") + "_"):
            assert name_id(other.encode()) == NAMES.index(other) if other in NAMES else not name_id(other.encode())
        # every token byte at every place: only the other case is the same name
        for at, letter in enumerate(name):
            for byte in TOKEN:
                spelled_bytes = name[:at].encode() + bytes([byte]) + name[at + 1 :].encode()
                assert bool(name_id(spelled_bytes)) == (chr(byte).lower() == letter), spelled_bytes
    assert name_id(b"") == 0


def test_every_byte_at_every_place_of_a_long_name_is_told_apart() -> None:
    # Sixteen bytes are looked at together: no place among them may be special.
    name = b"x-a-name-of-Forty-bytes-0123456789-abcdef"
    for at in range(len(name)):
        for byte in range(256):
            if byte == ord(":") and at:
                continue  # ends the name
            line = name[:at] + bytes([byte]) + name[at + 1 :] + b": value\r\n"
            answer, _ = read(REQUEST, [b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n"]).said
            assert (answer > 0) == (byte in TOKEN), (at, byte)


def test_reasons_have_numbers_and_words_of_their_own() -> None:
    header = (ROOT / "lb/_speedups/proto/h1_reason.pxd").read_text()
    enum = re.findall(r"^    H1_(\w+)", header, re.MULTILINE)
    assert tuple(enum[:-1]) == REASONS
    texts = [reason_text(number) for number in range(len(REASONS))]
    assert len(set(texts)) == len(texts)
    assert "unknown" not in texts
    assert reason_text(len(REASONS)) == reason_text(255) == "unknown"


def is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def test_ipv6_is_what_the_standard_library_takes_for_it() -> None:
    rng = random.Random(9112)
    seeds = ["::", "::1", "1::", "1:2:3:4:5:6:7:8", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4"]
    agreed = 0
    for _ in range(40_000):
        text = list(rng.choice(seeds))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(text) + 1)
            if rng.random() < 0.5:
                text.insert(at, rng.choice(":::.0123456789abcdefABCDEFg"))
            elif text:
                del text[min(at, len(text) - 1)]
        word = "".join(text)
        assert is_authority(f"[{word}]".encode()) == is_ipv6(word), word
        agreed += is_ipv6(word)
    assert agreed > 5000


@pytest.mark.parametrize("text", ["1.2.3.4.5", "256.1.1.1", "01.2.3.4"])
def test_what_is_no_ipv4_address_is_still_a_name(text: str) -> None:
    assert is_authority(text.encode())
    assert not is_authority(f"[::{text}]".encode())


def test_reading_byte_by_byte_looks_at_each_byte_a_bounded_number_of_times() -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 90) for n in range(100))
    long_line = b"Cookie: " + b"c" * 14_000 + b"\r\n"
    folded = b"A:" + b" \t" * 7000 + b"\r\n"
    for body in (fields, long_line, folded):
        data = b"GET /" + b"p" * 500 + b" HTTP/1.1\r\nHost: h1.test\r\n" + body + b"\r\n"
        for step in (1, 7, len(data)):
            before = work()
            got = read(REQUEST, [data[i : i + step] for i in range(0, len(data), step)])
            assert got.answer == len(data)
            assert work() - before < 3 * len(data), step


def test_naming_fields_in_connection_costs_at_most_one_look_at_all_names_an_option() -> None:
    options = b"Connection: " + b",".join(b"a" * 199 + b"%x" % n for n in range(16)) + b"\r\n"
    data = b"GET / HTTP/1.1\r\nHost: h1.test\r\n" + options + (b"A" * 199 + b"~: v\r\n") * 50 + b"\r\n"
    before = work()
    assert read(REQUEST, [data]).answer == len(data)
    assert work() - before < 3 * len(data) + 16 * 50 * 200
