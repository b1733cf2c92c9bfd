"""Nanoseconds to read and to write heads, and to read chunked bodies: `python -m bench.micro.parse`."""

from __future__ import annotations

from bench.micro.timing import report
from lb._speedups.face.micro_h1 import Codec, unchunk

SMALL = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"

BROWSER = (
    b"GET /assets/app.3f9c1d.js?v=20260714 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Connection: keep-alive\r\n"
    b"Referer: https://www.example.com/index.html\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1\r\n"
    b"Cache-Control: max-age=0\r\n"
    b"\r\n"
)

ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: nginx/1.22.1\r\n"
    b"Date: Tue, 14 Jul 2026 10:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\n"
    b"Content-Length: 64\r\n"
    b"Connection: keep-alive\r\n"
    b"\r\n"
)

BODY = b"".join(b"%x\r\n%s\r\n" % (n, b"x" * n) for n in (1, 1460, 16384)) + b"0\r\n\r\n"


def main() -> None:
    for name, head, is_response in (
        ("request, one field", SMALL, False),
        ("request, nine browser fields", BROWSER, False),
        ("response, five fields", ANSWER, True),
    ):
        codec = Codec(head, is_response)
        report(f"read {name}", codec.read)
        report(f"write {name}", codec.write)
    report("read chunked body, three chunks", lambda n: unchunk(BODY, n))


if __name__ == "__main__":
    main()
