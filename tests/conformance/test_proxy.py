"""PROXY headers, bytes -> verdict: haproxy.org's proxy-protocol.txt, versions 1 and 2."""

from __future__ import annotations

import socket
import struct

import pytest
from kit import proxy
from kit.proxy import LOCAL, SIGNATURE, tlv, v1, v2

from lb._speedups.face.proxy import header
from lb._speedups.face.testing_proxy import Reader, reasons

READER = Reader()
MORE = 0
A4, B4 = "192.0.2.1", "198.51.100.2"
A6, B6 = "2001:db8::1", "2001:db8::ffff"
LONGEST = "PROXY TCP6 " + "ffff:" * 7 + "ffff " + "ffff:" * 7 + "ffff 65535 65535\r\n"


def line(text: str) -> bytes:
    return text.encode("latin-1") + b"\r\n"


GOOD = {
    "v1 tcp4": v1(A4, 40000, B4, 443),
    "v1 tcp6": v1(A6, 40000, B6, 443),
    "v1 longest tcp6": LONGEST.encode(),
    "v1 ports": line("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535"),
    "v1 mapped": line("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2"),
    "v1 upper case": line("PROXY TCP6 2001:DB8::A ::1 1 2"),
    "v1 unknown": b"PROXY UNKNOWN\r\n",
    "v1 unknown with more": line("PROXY UNKNOWN ffff:f...f:ffff 1 2 3 \x00\xff"),
    "v1 unknown, longest": line("PROXY UNKNOWN " + "x" * 91),
    "v1 unknown and a space": line("PROXY UNKNOWN "),
    "v2 tcp4": v2(A4, 40000, B4, 443),
    "v2 tcp6": v2(A6, 40000, B6, 443),
    "v2 udp4": v2(A4, 1, B4, 2, family=proxy.UDP4),
    "v2 udp6": v2(A6, 1, B6, 2, family=proxy.UDP6),
    "v2 unix": v2(family=proxy.UNIX, tlvs=b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")),
    "v2 unix datagram": v2(family=proxy.UNIX_DGRAM, tlvs=bytes(216) + tlv(0xE0, b"x")),
    "v2 unspec": v2(),
    "v2 unspec with a tlv": v2(tlvs=tlv(proxy.AUTHORITY, b"a")),
    "v2 local": v2(command=LOCAL),
    "v2 local, family ignored": v2(command=LOCAL, family=0x55, tlvs=b"\xff" * 7),
    "v2 local, addresses ignored": v2(A4, 1, B4, 2, command=LOCAL),
    "v2 alpn": v2(A4, 1, B4, 2, tlvs=tlv(proxy.ALPN, b"h2")),
    "v2 authority": v2(A4, 1, B4, 2, tlvs=tlv(proxy.AUTHORITY, b"app.example")),
    "v2 empty tlv": v2(A4, 1, B4, 2, tlvs=tlv(proxy.AUTHORITY, b"")),
    "v2 unique id": v2(A4, 1, B4, 2, tlvs=tlv(proxy.UNIQUE_ID, b"i" * 128)),
    "v2 netns": v2(A4, 1, B4, 2, tlvs=tlv(proxy.NETNS, b"blue")),
    "v2 noop twice": v2(A4, 1, B4, 2, tlvs=tlv(proxy.NOOP, b"") + tlv(proxy.NOOP, b"zz")),
    "v2 own types may repeat": v2(A4, 1, B4, 2, tlvs=tlv(0xEA, b"1") + tlv(0xEA, b"2")),
    "v2 ssl": v2(A4, 1, B4, 2, tlvs=tlv(proxy.SSL, b"\1\0\0\0\0" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"cn"))),
    "v2 ssl without more": v2(A4, 1, B4, 2, tlvs=tlv(proxy.SSL, bytes(5))),
    "v2 checksum": v2(A4, 1, B4, 2, checksum=True),
    "v2 checksum among others": v2(A6, 1, B6, 2, tlvs=tlv(proxy.ALPN, b"h2"), checksum=True),
    "v2 checksum, unspec": v2(checksum=True),
}
SPOILT = v2(A4, 1, B4, 2, tlvs=tlv(proxy.ALPN, b"h2"), checksum=True)

BAD = {
    "http": (b"GET / HTTP/1.1\r\n", proxy.NOT_ONE),
    "tls": (b"\x16\x03\x01", proxy.NOT_ONE),
    "lower case": (line("proxy TCP4 1.1.1.1 2.2.2.2 1 2"), proxy.NOT_ONE),
    "space in front": (line(" PROXY TCP4 1.1.1.1 2.2.2.2 1 2"), proxy.NOT_ONE),
    "a tab": (line("PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2"), proxy.NOT_ONE),
    "an HTTP method of that name": (b"PROXYX / HTTP/1.1\r\n", proxy.NOT_ONE),
    "LF alone": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", proxy.BAD_LINE),
    "CR inside": (b"PROXY TCP4 1.1.1.1\r2.2.2.2 1 2\r\n", proxy.BAD_LINE),
    "two CR": (b"PROXY UNKNOWN\r\r\n", proxy.BAD_LINE),
    "nothing": (b"PROXY \r\n", proxy.BAD_LINE),
    "two spaces": (line("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2"), proxy.BAD_LINE),
    "two spaces later": (line("PROXY TCP4 1.1.1.1  2.2.2.2 1 2"), proxy.BAD_LINE),
    "space at the end": (line("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 "), proxy.BAD_LINE),
    "a word too many": (line("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3"), proxy.BAD_LINE),
    "no port": (line("PROXY TCP4 1.1.1.1 2.2.2.2 1"), proxy.BAD_LINE),
    "no addresses": (line("PROXY TCP4"), proxy.BAD_LINE),
    "108 bytes": (line("PROXY UNKNOWN " + "x" * 92), proxy.LINE_TOO_LONG),
    "107 bytes without an end": (b"PROXY TCP6 " + b"f" * 96, proxy.LINE_TOO_LONG),
    "udp": (line("PROXY UDP4 1.1.1.1 2.2.2.2 1 2"), proxy.BAD_PROTOCOL),
    "tcp5": (line("PROXY TCP5 1.1.1.1 2.2.2.2 1 2"), proxy.BAD_PROTOCOL),
    "tcp": (line("PROXY TCP 1.1.1.1 2.2.2.2 1 2"), proxy.BAD_PROTOCOL),
    "unknown in lower case": (line("PROXY unknown"), proxy.BAD_PROTOCOL),
    "unknown and more": (line("PROXY UNKNOWNS"), proxy.BAD_PROTOCOL),
    "ipv6 in tcp4": (line("PROXY TCP4 ::1 ::2 1 2"), proxy.BAD_ADDRESS),
    "ipv4 in tcp6": (line("PROXY TCP6 1.1.1.1 2.2.2.2 1 2"), proxy.BAD_ADDRESS),
    "mixed families": (line("PROXY TCP4 1.1.1.1 ::2 1 2"), proxy.BAD_ADDRESS),
    "mixed families, tcp6": (line("PROXY TCP6 ::1 2.2.2.2 1 2"), proxy.BAD_ADDRESS),
    "leading zero": (line("PROXY TCP4 01.1.1.1 2.2.2.2 1 2"), proxy.BAD_ADDRESS),
    "256": (line("PROXY TCP4 256.1.1.1 2.2.2.2 1 2"), proxy.BAD_ADDRESS),
    "three octets": (line("PROXY TCP4 1.1.1 2.2.2.2 1 2"), proxy.BAD_ADDRESS),
    "five octets": (line("PROXY TCP4 1.1.1.1.1 2.2.2.2 1 2"), proxy.BAD_ADDRESS),
    "a dot at the end": (line("PROXY TCP4 1.1.1.1. 2.2.2.2 1 2"), proxy.BAD_ADDRESS),
    "a hexadecimal octet": (line("PROXY TCP4 0x1.1.1.1 2.2.2.2 1 2"), proxy.BAD_ADDRESS),
    "a zone": (line("PROXY TCP6 fe80::1%1 ::1 1 2"), proxy.BAD_ADDRESS),
    "brackets": (line("PROXY TCP6 [::1] ::1 1 2"), proxy.BAD_ADDRESS),
    "a NUL": (line("PROXY TCP6 ::1\0 ::1 1 2"), proxy.BAD_ADDRESS),
    "twice ::": (line("PROXY TCP6 1::2::3 ::1 1 2"), proxy.BAD_ADDRESS),
    "port with a zero": (line("PROXY TCP4 1.1.1.1 2.2.2.2 080 2"), proxy.BAD_PORT),
    "port 00": (line("PROXY TCP4 1.1.1.1 2.2.2.2 1 00"), proxy.BAD_PORT),
    "port 65536": (line("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2"), proxy.BAD_PORT),
    "port with a sign": (line("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2"), proxy.BAD_PORT),
    "port of six digits": (line("PROXY TCP4 1.1.1.1 2.2.2.2 1 655350"), proxy.BAD_PORT),
    "wrong signature": (SIGNATURE[:11] + b"X" + bytes(4), proxy.NOT_ONE),
    "version 1 in binary": (SIGNATURE + b"\x11\x11\0\x0c" + bytes(12), proxy.BAD_VERSION),
    "version 3": (SIGNATURE + b"\x31", proxy.BAD_VERSION),
    "command 2": (SIGNATURE + b"\x22", proxy.BAD_COMMAND),
    "family 4": (v2(family=0x41), proxy.BAD_FAMILY),
    "protocol 3": (v2(A4, 1, B4, 2, family=0x13), proxy.BAD_FAMILY),
    "a family without a protocol": (v2(A4, 1, B4, 2, family=0x10), proxy.BAD_FAMILY),
    "a protocol without a family": (v2(family=0x01), proxy.BAD_FAMILY),
    "ipv4 too short": (v2(family=proxy.TCP4, tlvs=bytes(11)), proxy.BAD_LENGTH),
    "ipv6 with room for ipv4": (v2(A4, 1, B4, 2, family=proxy.TCP6), proxy.BAD_LENGTH),
    "unix too short": (v2(family=proxy.UNIX, tlvs=bytes(215)), proxy.BAD_LENGTH),
    "beyond the limit": (SIGNATURE + b"\x21\x11" + struct.pack("!H", 16384 - 15), proxy.TOO_LONG),
    "local beyond the limit": (SIGNATURE + b"\x20\x00\xff\xff", proxy.TOO_LONG),
    "half a tlv": (v2(A4, 1, B4, 2, tlvs=b"\4\0"), proxy.BAD_TLV),
    "a tlv beyond the header": (v2(A4, 1, B4, 2, tlvs=b"\4\0\2x") + b"y", proxy.BAD_TLV),
    "authority twice": (v2(A4, 1, B4, 2, tlvs=tlv(proxy.AUTHORITY, b"a") * 2), proxy.TWICE),
    "unique id of 129 bytes": (v2(A4, 1, B4, 2, tlvs=tlv(proxy.UNIQUE_ID, bytes(129))), proxy.BAD_TLV),
    "checksum of 3 bytes": (v2(A4, 1, B4, 2, tlvs=tlv(proxy.CRC32C, bytes(3))), proxy.BAD_TLV),
    "checksum twice": (v2(A4, 1, B4, 2, tlvs=tlv(proxy.CRC32C, bytes(4)), checksum=True), proxy.TWICE),
    "short ssl": (v2(A4, 1, B4, 2, tlvs=tlv(proxy.SSL, bytes(4))), proxy.BAD_TLV),
    "ssl with half a tlv": (v2(A4, 1, B4, 2, tlvs=tlv(proxy.SSL, bytes(7))), proxy.BAD_TLV),
    "wrong checksum": (SPOILT[:20] + bytes([SPOILT[20] ^ 1]) + SPOILT[21:], proxy.BAD_CHECKSUM),
    "checksum of zeros": (v2(A4, 1, B4, 2, tlvs=tlv(proxy.CRC32C, bytes(4))), proxy.BAD_CHECKSUM),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n\r\n", b"PROXY ", SIGNATURE, b"\n", bytes(20000)])
def test_a_header_ends_where_it_ends(name: str, behind: bytes) -> None:
    data = GOOD[name]
    size, said = READER.read(data + behind)
    assert size == len(data)
    assert (size, said) == proxy.read(data + behind)


@pytest.mark.parametrize("name", GOOD)
def test_a_part_of_a_header_is_not_enough(name: str) -> None:
    data = GOOD[name]
    for cut in range(len(data)):
        assert READER.read(data[:cut]) == (MORE, None)


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused_for_a_reason(name: str) -> None:
    data, reason = BAD[name]
    assert READER.read(data) == (-reason, None)
    assert proxy.read(data) == (-reason, None)
    # The verdict is the same however it is cut: once it is told it stays, and before it more is asked for.
    answers = [READER.read(data[:cut])[0] for cut in range(len(data) + 1)]
    assert sorted(answers, reverse=True) == answers
    assert set(answers) == {MORE, -reason}


def test_the_limit_counts_the_whole_header() -> None:
    data = v2(A4, 1, B4, 2, tlvs=tlv(0xE0, bytes(300)))
    assert READER.read(data, len(data))[0] == len(data)
    assert READER.read(data, len(data) - 1)[0] == -proxy.TOO_LONG
    assert READER.read(data[:16], len(data) - 1)[0] == -proxy.TOO_LONG
    # Version 1 has a limit of its own.
    assert READER.read(GOOD["v1 longest tcp6"], 16)[0] == len(GOOD["v1 longest tcp6"])


def test_every_reason_is_told_apart() -> None:
    told = reasons()
    assert len(set(told.values())) == len(told)
    assert "unknown" not in told.values()
    assert {reason for _, reason in BAD.values()} == set(range(proxy.NOT_ONE, proxy.BAD_CHECKSUM + 1))


def test_the_checksum_is_crc32c() -> None:
    assert proxy.crc32c(b"123456789") == 0xE3069283
    made = header(2, (A4, 1), (B4, 2), crc32c=True)
    assert made == v2(A4, 1, B4, 2, checksum=True)


@pytest.mark.parametrize(("source", "target"), [(A4, B4), (A6, B6)])
def test_what_is_written_is_what_the_specification_says(source: str, target: str) -> None:
    assert header(1, (source, 40000), (target, 443)) == v1(source, 40000, target, 443)
    assert header(2, (source, 40000), (target, 443)) == v2(source, 40000, target, 443)


def test_who_is_not_known_is_told_as_unknown() -> None:
    assert header(1) == b"PROXY UNKNOWN\r\n"
    assert header(2) == v2()
    assert header(1, local=True) == b"PROXY UNKNOWN\r\n"
    assert header(2, local=True) == v2(command=LOCAL)
    assert header(2, (A4, 1), (B4, 2), local=True) == v2(command=LOCAL)


def test_two_families_go_out_as_ipv6() -> None:
    assert header(1, (A4, 1), (B6, 2)) == line(f"PROXY TCP6 ::ffff:{A4} {B6} 1 2")
    assert header(2, (A6, 1), (B4, 2)) == v2(A6, 1, f"::ffff:{B4}", 2)


def test_udp_has_no_name_in_version_1() -> None:
    assert header(2, (A4, 1), (B4, 2), datagram=True) == v2(A4, 1, B4, 2, family=proxy.UDP4)
    assert header(1, (A4, 1), (B4, 2), datagram=True) == b"PROXY UNKNOWN\r\n"


def test_tlvs_are_passed_on_but_for_those_that_are_made_anew() -> None:
    given = [(proxy.ALPN, b"h2"), (proxy.AUTHORITY, b"a.example"), (proxy.NOOP, b"xx"), (proxy.UNIQUE_ID, b"old")]
    given += [(proxy.CRC32C, b"sum!"), (0xE0, b"own"), (0xE0, b"again")]
    tlvs = b"".join(tlv(*each) for each in given)

    def passed(**options: object) -> list[tuple[int, bytes]]:
        made = header(2, (A4, 1), (B4, 2), tlvs=tlvs, **options)  # type: ignore[arg-type]
        size, said = READER.read(made)
        assert size == len(made)
        assert said is not None
        return [each for each in proxy.split_tlvs(said["tlvs"]) if each[0] != proxy.CRC32C]

    kept = [(proxy.ALPN, b"h2"), (proxy.AUTHORITY, b"a.example"), (0xE0, b"own"), (0xE0, b"again")]
    assert passed() == [*kept[:2], (proxy.UNIQUE_ID, b"old"), *kept[2:]]
    assert passed(unique_id=b"new") == [(proxy.UNIQUE_ID, b"new"), *kept]
    assert passed(only_authority=True) == [(proxy.AUTHORITY, b"a.example")]
    assert passed(only_authority=True, unique_id=b"new", crc32c=True) == [
        (proxy.UNIQUE_ID, b"new"),
        (proxy.AUTHORITY, b"a.example"),
    ]


def test_what_cannot_be_written_is_an_error() -> None:
    with pytest.raises(ValueError, match="there are 1 and 2"):
        header(3)
    with pytest.raises(ValueError, match="at most 128"):
        header(2, unique_id=b"x" * 129)
    with pytest.raises(ValueError, match=r"does not appear"):
        header(2, ("nobody", 1), (B4, 2))
    assert READER.read(header(2, tlvs=tlv(0xE0, bytes(64990))), 1 << 20)[0] == 16 + 64993
    assert header(2, (A4, 1), (B4, 2))[12:14] == bytes([0x21, proxy.TCP4])
    assert socket.AF_INET == 2
