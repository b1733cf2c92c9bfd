"""What is measured: one row a scenario.

A scenario says what the client sends and what the proxy must do with it. How
each proxy is told to do that is in `bench/proxies.py`. `bar` is the target: the
CPU of lb per request over that of the better peer (for `idle`: bytes a
connection).
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.routes import ASKED

# What a browser sends beside Host and Connection: nine fields, as Firefox and
# Chrome word them.
BROWSER_HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: https://www.example.com/products/overview?page=2",
    "Cookie: session=4f9d2c7e81b34a0f9c1d5e6a7b8c9d0e; theme=dark; consent=1",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Mode: navigate",
    "Cache-Control: max-age=0",
)


@dataclass(frozen=True)
class Scenario:
    name: str
    what: str  # one sentence for the reader of the results
    mode: str  # "http", "tcp" or "udp"
    path: str = "/"  # of the backend: "/" 64 bytes, "/16k", "/1m"
    size: int = 64  # bytes of the body behind `path`
    headers: tuple[str, ...] = ()
    connections: int = 64
    routes: int = 0  # of the frontend, by host; the request takes one of them
    servers: int = 1  # of the backend, each at an address of its own: all of them the same nginx
    balance: str = ""  # "leastconn", or "consistent": by the hash of path and query
    script: str = ""  # file in this folder that tells wrk what to ask; h2load cannot ask so
    bar: float = 1.0
    kind: str = "load"  # "load", or "idle" for the memory of idle connections
    detail: bool = False  # user share and p99 belong to the full programme
    rules: bool = False  # the rules, the table and the JSON log of `bench/rules.py`
    half_close: bool = True  # lb keeps a direction open when the other has ended


SCENARIOS: dict[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("h1", "HTTP/1.1 keep-alive, 64-byte reply", "http", bar=0.75, detail=True),
        Scenario(
            "h1-browser",
            "as h1, with nine ordinary browser headers",
            "http",
            headers=BROWSER_HEADERS,
            bar=0.80,
            detail=True,
        ),
        Scenario(
            "h1-rules",
            "as h1-browser, with 20 rules, a stick table that counts the client, and a JSON log",
            "http",
            headers=BROWSER_HEADERS,
            rules=True,
            bar=0.75,
            detail=True,
        ),
        Scenario(
            "h1-close",
            "a client connection per request, 64-byte reply",
            "http",
            headers=("Connection: close",),
        ),
        Scenario("h1-16k", "HTTP/1.1 keep-alive, 16 KiB reply", "http", path="/16k", size=16384),
        Scenario(
            "h1-1m",
            "HTTP/1.1 keep-alive, 1 MiB reply",
            "http",
            path="/1m",
            size=1048576,
            connections=8,
        ),
        Scenario(
            "h1-post",
            "as h1, each request a POST of 64 bytes",
            "http",
            script="post.lua",
        ),
        Scenario(
            "routes-10",
            "as h1, 10 routes by host",
            "http",
            headers=(f"Host: {ASKED}",),
            routes=10,
        ),
        Scenario(
            "routes-100000",
            "as h1, 100,000 routes by host",
            "http",
            headers=(f"Host: {ASKED}",),
            routes=100_000,
        ),
        Scenario(
            "leastconn-3", "as h1, the server with the fewest connections of 3", "http", servers=3, balance="leastconn"
        ),
        Scenario(
            "leastconn-1000",
            "as h1, the server with the fewest connections of 1,000",
            "http",
            servers=1000,
            balance="leastconn",
        ),
        Scenario(
            "consistent-3",
            "as h1, 3 servers by a consistent hash of path and query; 4,096 different ones",
            "http",
            servers=3,
            balance="consistent",
            script="keys.lua",
        ),
        Scenario(
            "consistent-1000",
            "as h1, 1,000 servers by a consistent hash of path and query; 4,096 different ones",
            "http",
            servers=1000,
            balance="consistent",
            script="keys.lua",
        ),
        Scenario("tcp", "TCP relay, HTTP keep-alive inside, 64-byte reply", "tcp", bar=0.85, detail=True),
        Scenario(
            "tcp-close",
            "TCP relay, a connection per 64-byte reply",
            "tcp",
            headers=("Connection: close",),
        ),
        Scenario(
            "tcp-close-both",
            "as tcp-close, lb with `half_close: false`: both connections end at the first end, as in nginx",
            "tcp",
            headers=("Connection: close",),
            half_close=False,
        ),
        Scenario("tcp-1m", "TCP relay, 1 MiB replies", "tcp", path="/1m", size=1048576, connections=8),
        Scenario("udp", "datagrams: a query, one answer of 64 bytes, and the session is over", "udp"),
        Scenario(
            "idle",
            "memory of an idle HTTP keep-alive connection that has had one reply",
            "http",
            bar=1024,
            kind="idle",
        ),
    )
}
