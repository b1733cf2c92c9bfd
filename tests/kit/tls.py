"""TLS hellos: real ones, made ones, and a slow reader in the words of the RFCs."""

from __future__ import annotations

import ssl
from typing import Any

NONE, FOUND, PART = 0, 1, 2
MOST = 16384


def hello(name: str | None, alpn: tuple[str, ...] = ()) -> bytes:
    """Return what Python's TLS client says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("nobody answered")


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, data)


def server_name(*names: tuple[int, bytes]) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for kind, name in names)))


def protocols(*names: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, name) for name in names)))


def message(*extensions: bytes, version: bytes = b"\x03\x03", session: bytes = b"", is_old: bool = False) -> bytes:
    """Return a ClientHello as a handshake message."""
    body = version + bytes(range(32)) + vector(1, session) + vector(2, b"\x13\x01\x13\x02") + vector(1, b"\0")
    if not is_old:
        body += vector(2, b"".join(extensions))
    return b"\x01" + vector(3, body)


def records(data: bytes, *sizes: int, version: bytes = b"\x03\x01") -> bytes:
    """Cut a message into records of these sizes; the last one has the rest."""
    out = b""
    for size in sizes:
        out += b"\x16" + version + vector(2, data[:size])
        data = data[size:]
    return out + (b"\x16" + version + vector(2, data) if data or not sizes else b"")


class _Bad(Exception):
    pass


class _Late(Exception):
    pass


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, n: int) -> bytes:
        if len(self.data) < n:
            raise _Bad
        part, self.data = self.data[:n], self.data[n:]
        return part

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "big")

    def vector(self, n: int) -> bytes:
        return self.take(self.number(n))


def read(data: bytes) -> tuple[int, dict[str, Any] | None]:
    """Read a hello as `lb._speedups.face.testing_hello.Reader.read` does, from the specification's words."""
    try:
        return FOUND, _hello(_message(data))
    except _Bad:
        return NONE, None
    except _Late:
        return PART, None


def _message(data: bytes) -> bytes:
    """Return the first handshake message, put together from its records."""
    whole = b""
    while True:
        if data[:1] not in (b"", b"\x16") or (len(data) > 1 and data[1] < 3):
            raise _Bad
        if len(data) < 5:
            raise _Late
        size = int.from_bytes(data[3:5], "big")
        if not 1 <= size <= 16384 + 2048:
            raise _Bad
        part = data[5 : 5 + size]
        whole += part
        if whole and whole[0] != 1:
            raise _Bad
        if len(whole) >= 4:
            wanted = 4 + int.from_bytes(whole[1:4], "big")
            if wanted > MOST:
                raise _Bad
            if len(whole) >= wanted:
                return whole[:wanted]
        if len(part) < size:
            raise _Late
        data = data[5 + size :]


def _hello(data: bytes) -> dict[str, Any]:
    at = _Cursor(data[4:])
    version = at.take(2)
    if version[0] < 3 or version[1] < 1:
        raise _Bad
    at.take(32)
    if len(at.vector(1)) > 32 or len(at.vector(2)) < 2 or len(at.vector(1)) < 1:
        raise _Bad
    said: dict[str, Any] = {
        "version": version[0] << 16 | version[1],
        "sni": None,
        "alpn": None,
        "groups": False,
        "ticket": 0,
    }
    if not at.data:
        return said
    extensions = _Cursor(at.vector(2))
    while extensions.data:
        kind, body = extensions.number(2), _Cursor(extensions.vector(2))
        if kind == 0 and said["sni"] is None:
            said["sni"] = _names(_Cursor(body.vector(2)))
        elif kind == 16 and said["alpn"] is None:
            said["alpn"] = _protocols(body.vector(2))
        elif kind == 10:
            said["groups"] = True
        elif kind == 35:
            said["ticket"] = max(said["ticket"], 2 if body.data else 1)
    return said


def _names(names: _Cursor) -> bytes | None:
    found: bytes | None = None
    if not names.data:
        raise _Bad
    while names.data:
        kind, name = names.number(1), names.vector(2)
        if kind == 0 and found is None:
            found = name
    return found


def _protocols(data: bytes) -> bytes:
    names = _Cursor(data)
    if not data:
        raise _Bad
    while names.data:
        if not names.vector(1):
            raise _Bad
    return data
