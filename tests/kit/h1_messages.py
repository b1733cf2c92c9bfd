"""Random HTTP/1 messages: mostly good, some doubtful in one or two places, a few broken anywhere."""

from __future__ import annotations

import random

_TOKEN = b"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.!~^"

_METHODS = [b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"BREW", b"get"]
_ODD_METHODS = [b"CONNECT", b"", b"G T", b"G:", b"X" * 33, b"G\xc9T"]
_TARGETS = [b"/", b"/a", b"/a/b?c=d", b"/?", b"/a%20b;c?d&e", b"http://h1.test/x?y", b"http://h1.test", b'/"<>|{}']
_ODD_TARGETS = [b"*", b"a", b"", b"/a#b", b"/\xe9", b"/a b", b"http://other/", b"//h1.test/", b"h1.test:80", b"/\x01"]
_ODD_VERSIONS = [b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.10", b"HTTP/1", b"", b"HTTP/1.1 "]
_ODD_HOSTS = [
    b"",
    b"Host: other\r\n",
    b"Host: h1.test\r\nHost: h1.test\r\n",
    b"Host: a,b\r\n",
    b"Host:\r\n",
    b"Host: a b\r\n",
]

_STATUSES = [200, 200, 200, 201, 204, 304, 404, 500, 100, 103, 206]
_ODD_LINES = [
    b"HTTP/1.1 99 x", b"HTTP/1.1 600 x", b"HTTP/1.1 2000 x", b"HTTP/1.1 200x", b"HTTP/1.1  200 x", b"ICY 200 OK",
    b"HTTP/2.0 200 OK", b"HTTP/1.1 200 a\0", b"HTTP/1.1 200 a\x7fb", b"HTTP/1.1 20a x", b"", b"HTTP/1.1",
]  # fmt: skip

_FIELDS = [
    b"Accept: */*\r\n", b"Cookie: a=b; c=d\r\n", b"X-Empty:\r\n", b"x-space: \t a  b \t\r\n", b"User-Agent: x (y; z)\r\n",
    b"X-Obs: caf\xe9\r\n", b"Connection: keep-alive\r\n", b"Connection: close\r\n", b"Connection: X-Hop, close\r\n",
    b"X-Hop: 1\r\n", b"TE: trailers\r\n", b"Set-Cookie: a=b\r\n", b"Set-Cookie: c=d\r\n", b"Referer: http://x/?y#z\r\n",
    b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"Date: Tue, 14 Jul 2026 10:00:00 GMT\r\n",
]  # fmt: skip
_ODD_FIELDS = [
    b"Foo\r\n", b": x\r\n", b"Foo : x\r\n", b" folded\r\n", b"\tfolded\r\n", b"X: a\0b\r\n", b"X: a\x0bb\r\n", b"X: a\x7fb\r\n",
    b"X: a\n", b"X: a\rb\r\n", b"X\xe9: a\r\n", b"X(: a\r\n", b"Connection: a b\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n",
    b"Host: second\r\n", b"X: \x1ca\r\n", b"X:\x85a\r\n", b"X: a\r\r\n", b"\0: a\r\n", b"Connection: ,close,,\r\n",
    b"Upgrade: h2c\r\n", b"x" * 256 + b": y\r\n",
]  # fmt: skip
_ODD_FRAMINGS = [
    b"Content-Length: 5\r\nContent-Length: 5\r\n", b"Content-Length: 5, 5\r\n", b"Content-Length: 5, 6\r\n",
    b"Content-Length: +5\r\n", b"Content-Length: 05\r\n", b"Content-Length: 0x5\r\n", b"Content-Length:\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: ,chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: chunked;q=1\r\n", b"Content-Length: 9223372036854775808\r\n",
    b"Content-Length: 5_0\r\n", b"Content-Length: \xb2\r\n", b"Transfer-Encoding:\r\n", b"Content-Length : 5\r\n",
]  # fmt: skip

_EXTENSIONS = [b"", b"", b"", b"", b";a", b";a=b", b' ; a="b c"']
_ODD_CHUNK_LINES = [
    b"0x5\r\n", b"+5\r\n", b"5 \r\n", b"5\n", b"5_0\r\n", b"\r\n", b"g\r\n", b"5;a\n", b"5\r\r\n", b"5;a\rb\r\n",
    b"ffffffffffffffff5\r\n",    b"5;\r\n", b'5;a="b\r\n', b" 5\r\n", b"5\0\r\n",
]  # fmt: skip
_TRAILERS = [b"", b"", b"", b"X-Sum: 1\r\n", b"A:\r\nB: c\r\n"]
_ODD_TRAILERS = [b"Foo\r\n", b" x: y\r\n", b"X: a\0\r\n", b"X : y\r\n", b"X: y\n", b"\n", b"Content-Length: 5\r\n"]


def token(rng: random.Random) -> bytes:
    return bytes(rng.choice(_TOKEN) for _ in range(rng.randrange(1, 20)))


def chunked_body(rng: random.Random, odd: float) -> bytes:
    parts = []
    for _ in range(rng.randrange(4)):
        data = rng.randbytes(rng.choice([1, 2, 5, 15, 16, 17, 100]))
        size = b"%x" % len(data) if rng.random() < 0.5 else b"%04X" % len(data)
        parts.append(size + rng.choice(_EXTENSIONS) + b"\r\n" + data + (b"\r\n" if rng.random() > odd / 4 else b"\n"))
    if rng.random() < odd:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(_ODD_CHUNK_LINES) + b"hello\r\n")
    trailers = rng.choice(_ODD_TRAILERS if rng.random() < odd / 2 else _TRAILERS)
    return b"".join(parts) + b"0" + rng.choice(_EXTENSIONS) + b"\r\n" + trailers + b"\r\n"


def _framing_and_body(rng: random.Random, odd: float) -> tuple[bytes, bytes]:
    kind = rng.randrange(4)
    if rng.random() < odd:
        fields = rng.choice(_ODD_FRAMINGS)
        return fields, chunked_body(rng, 0) if b"ransfer" in fields else b"hello"
    if kind == 0:
        return b"", b""
    if kind == 1:
        body = rng.randbytes(rng.choice([0, 1, 5, 100]))
        return b"Content-Length: %d\r\n" % len(body), body
    if kind == 2:
        name = rng.choice([b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING"])
        return name + b": " + rng.choice([b"chunked", b"Chunked"]) + b"\r\n", chunked_body(rng, odd)
    return b"Content-Length: 0\r\n", b""


def _fields(rng: random.Random, framing: bytes, odd: float) -> bytes:
    lines = [rng.choice(_FIELDS) for _ in range(rng.randrange(6))]
    lines += [
        token(rng) + b":" + rng.choice([b"", b" ", b"\t "]) + token(rng) + b"\r\n" for _ in range(rng.randrange(3))
    ]
    if rng.random() < odd:
        lines.append(rng.choice(_ODD_FIELDS))
    lines.append(framing)
    rng.shuffle(lines)
    return b"".join(lines)


def _scratched(rng: random.Random, data: bytes, odd: float) -> bytes:
    """Change a few bytes anywhere, sometimes."""
    if rng.random() > odd / 2 or not data:
        return data
    found = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(found))
        how = rng.randrange(3)
        byte = rng.choice([0, 9, 10, 11, 13, 32, 34, 44, 48, 58, 59, 61, 127, 128, 255, rng.randrange(256)])
        if how == 0:
            found[at] = byte
        elif how == 1:
            found.insert(at, byte)
        elif len(found) > 1:
            del found[at]
    return bytes(found)


def request(rng: random.Random, odd: float = 0.3) -> bytes:
    """One request with its body. `odd` is how likely each part is a doubtful one."""
    part = odd / 4
    method = rng.choice(_ODD_METHODS if rng.random() < part else _METHODS)
    target = rng.choice(_ODD_TARGETS if rng.random() < part else _TARGETS)
    version = rng.choice([b"HTTP/1.1"] * 6 + [b"HTTP/1.0"])
    if rng.random() < part:
        version = rng.choice(_ODD_VERSIONS)
    host = rng.choice(_ODD_HOSTS) if rng.random() < part else rng.choice([b"Host: h1.test\r\n", b"host:h1.test\r\n"])
    framing, body = _framing_and_body(rng, part)
    fields = _fields(rng, framing, part)
    front = b"\r\n" if rng.random() < part else b""
    head = front + method + b" " + target + b" " + version + b"\r\n"
    order = [host, fields]
    rng.shuffle(order)
    return _scratched(rng, head + b"".join(order) + b"\r\n" + body, part)


def response(rng: random.Random, odd: float = 0.3) -> bytes:
    part = odd / 4
    line = b"%s %d%s" % (
        rng.choice([b"HTTP/1.1"] * 6 + [b"HTTP/1.0"]),
        rng.choice(_STATUSES),
        rng.choice([b" OK", b" ", b"", b" Not  so\tbad \xe9"]),
    )
    if rng.random() < part:
        line = rng.choice(_ODD_LINES)
    framing, body = _framing_and_body(rng, part)
    return _scratched(rng, line + b"\r\n" + _fields(rng, framing, part) + b"\r\n" + body, part)
