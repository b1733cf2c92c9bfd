"""PROXY headers made and read the slow way: what the data plane's reader and writer are compared with."""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from typing import Any, NamedTuple

from kit.message import Ended
from kit.wire import Wire

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_MAX = 107

LOCAL, PROXY = 0, 1
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX, UNIX_DGRAM = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS = 1, 2, 3, 4, 5, 0x20, 0x30

NOT_ONE, BAD_LINE, LINE_TOO_LONG, BAD_PROTOCOL, BAD_ADDRESS, BAD_PORT = range(128, 134)
BAD_VERSION, BAD_COMMAND, BAD_FAMILY, BAD_LENGTH, TOO_LONG, BAD_TLV, TWICE, BAD_CHECKSUM = range(134, 142)

_ADDRESSES = {UNSPEC: 0, TCP4: 12, UDP4: 12, TCP6: 36, UDP6: 36, UNIX: 216, UNIX_DGRAM: 216}


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of bytes, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tlv(kind: int, value: bytes) -> bytes:
    """Return one TLV."""
    return struct.pack("!BH", kind, len(value)) + value


def v1(source: str, source_port: int, target: str, target_port: int) -> bytes:
    """Return a line of version 1."""
    protocol = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {protocol} {source} {target} {source_port} {target_port}\r\n".encode()


def v2(
    source: str = "",
    source_port: int = 0,
    target: str = "",
    target_port: int = 0,
    *,
    command: int = PROXY,
    family: int | None = None,
    tlvs: bytes = b"",
    checksum: bool = False,
) -> bytes:
    """Return a header of version 2; without addresses one of UNSPEC."""
    addresses = b""
    if source:
        addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
        addresses += struct.pack("!HH", source_port, target_port)
    if family is None:
        family = {0: UNSPEC, 12: TCP4, 36: TCP6}[len(addresses)]
    if checksum:
        tlvs += tlv(CRC32C, bytes(4))
    made = SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(addresses) + len(tlvs)) + addresses + tlvs
    return made[:-4] + struct.pack("!I", crc32c(made)) if checksum else made


def read(data: bytes, limit: int = 16384) -> tuple[int, dict[str, Any] | None]:
    """Read a header as `lb._speedups.face.testing_proxy.Reader.read` does, from the specification's words."""
    if not data:
        return 0, None
    answer = _read_v2(data, limit) if data[:1] == b"\r" else _read_v1(data)
    return (answer, None) if isinstance(answer, int) else (answer["size"], answer["said"])


def _said(size: int, version: int, **more: Any) -> dict[str, Any]:
    said = {
        "version": version,
        "local": False,
        "datagram": False,
        "family": socket.AF_UNSPEC,
        "source": (bytes(16), 0),
        "target": (bytes(16), 0),
        "tlvs": b"",
    }
    return {"size": size, "said": said | more}


def _read_v1(data: bytes) -> int | dict[str, Any]:
    if data[:6] != b"PROXY "[: len(data)]:
        return -NOT_ONE
    line, feed, _ = data[:V1_MAX].partition(b"\n")
    if not feed:
        return -LINE_TOO_LONG if len(data) >= V1_MAX else 0
    size = len(line) + 1
    if not line.endswith(b"\r") or b"\r" in line[:-1]:
        return -BAD_LINE
    words = line[6:-1].split(b" ")
    if not words[0]:
        return -BAD_LINE
    if words[0] == b"UNKNOWN":
        return _said(size, 1)
    if words[0] not in (b"TCP4", b"TCP6"):
        return -BAD_PROTOCOL
    if len(words) != 5 or not all(words):
        return -BAD_LINE
    family = socket.AF_INET if words[0] == b"TCP4" else socket.AF_INET6
    kind = ipaddress.IPv4Address if words[0] == b"TCP4" else ipaddress.IPv6Address
    try:
        if b"%" in words[1] + words[2]:
            raise ValueError
        source, target = (kind(word.decode("ascii")).packed for word in words[1:3])
    except (ValueError, UnicodeDecodeError):
        return -BAD_ADDRESS
    ports = []
    for word in words[3:]:
        if not re.fullmatch(rb"0|[1-9][0-9]{0,4}", word) or int(word) > 65535:
            return -BAD_PORT
        ports.append(int(word))
    return _said(
        size, 1, family=family, source=(source.ljust(16, b"\0"), ports[0]), target=(target.ljust(16, b"\0"), ports[1])
    )


def _read_v2(data: bytes, limit: int) -> int | dict[str, Any]:
    if data[:12] != SIGNATURE[: len(data)]:
        return -NOT_ONE
    if len(data) < 13:
        return 0
    if data[12] >> 4 != 2:
        return -BAD_VERSION
    if data[12] & 15 > 1:
        return -BAD_COMMAND
    if len(data) < 16:
        return 0
    family, length = struct.unpack("!BH", data[13:16])
    size = 16 + length
    is_local = data[12] & 15 == LOCAL
    if not is_local and family not in _ADDRESSES:
        return -BAD_FAMILY
    addresses = 0 if is_local else _ADDRESSES[family]
    if length < addresses:
        return -BAD_LENGTH
    if size > limit:
        return -TOO_LONG
    if len(data) < size:
        return 0
    if is_local:
        return _said(size, 2, local=True)
    tlvs = data[16 + addresses : size]
    wrong = _tlvs(data[:size], 16 + addresses)
    if wrong:
        return -wrong
    more: dict[str, Any] = {"tlvs": tlvs, "datagram": family & 15 == 2}
    body = data[16 : 16 + addresses]
    if addresses == 12:
        a, b, c, d = struct.unpack("!4s4sHH", body)
        more |= {"family": socket.AF_INET, "source": (a.ljust(16, b"\0"), c), "target": (b.ljust(16, b"\0"), d)}
    elif addresses == 36:
        a, b, c, d = struct.unpack("!16s16sHH", body)
        more |= {"family": socket.AF_INET6, "source": (a, c), "target": (b, d)}
    elif addresses:
        more["family"] = socket.AF_UNIX
    return _said(size, 2, **more)


def _tlvs(header: bytes, start: int) -> int:
    seen = set()
    at = start
    sum_at = 0
    while at < len(header):
        kind = header[at]
        value = header[at + 3 : at + 3 + int.from_bytes(header[at + 1 : at + 3], "big")]
        if len(header) - at < 3 or len(value) != int.from_bytes(header[at + 1 : at + 3], "big"):
            return BAD_TLV
        if kind in seen and kind in (ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL, NETNS):
            return TWICE
        seen.add(kind)
        if kind == CRC32C:
            if len(value) != 4:
                return BAD_TLV
            sum_at = at + 3
        if kind == UNIQUE_ID and len(value) > 128:
            return BAD_TLV
        if kind == SSL and (len(value) < 5 or not _fills(value[5:])):
            return BAD_TLV
        at += 3 + len(value)
    if sum_at:
        zeroed = header[:sum_at] + bytes(4) + header[sum_at + 4 :]
        if crc32c(zeroed) != int.from_bytes(header[sum_at : sum_at + 4], "big"):
            return BAD_CHECKSUM
    return 0


def _fills(tlvs: bytes) -> bool:
    while tlvs:
        if len(tlvs) < 3:
            return False
        length = int.from_bytes(tlvs[1:3], "big")
        if len(tlvs) < 3 + length:
            return False
        tlvs = tlvs[3 + length :]
    return True


def split_tlvs(tlvs: bytes) -> list[tuple[int, bytes]]:
    """Return the types and values of sound TLVs."""
    made = []
    while tlvs:
        length = int.from_bytes(tlvs[1:3], "big")
        made.append((tlvs[0], tlvs[3 : 3 + length]))
        tlvs = tlvs[3 + length :]
    return made


class Told(NamedTuple):
    """What a header said to a server."""

    version: int
    local: bool
    source: tuple[str, int] | None
    target: tuple[str, int] | None
    tlvs: list[tuple[int, bytes]]
    raw: bytes


def take(wire: Wire) -> Told:
    """Read the header that a connection begins with, and not a byte more; raise Ended without one."""
    wire.wait_readable()
    raw = b""
    while True:
        piece = wire.read(1)
        if not piece:
            raise Ended
        raw += piece
        size, said = read(raw)
        assert size >= 0, (size, raw)
        if said is not None:
            break
    ends: list[tuple[str, int] | None] = []
    for address, port in (said["source"], said["target"]):
        known = said["family"] in (socket.AF_INET, socket.AF_INET6)
        width = 4 if said["family"] == socket.AF_INET else 16
        ends.append((str(ipaddress.ip_address(address[:width])), port) if known else None)
    return Told(said["version"], said["local"], ends[0], ends[1], split_tlvs(said["tlvs"]), raw)
