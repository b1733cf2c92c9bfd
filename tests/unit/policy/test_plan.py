"""The plan image: everything that went in comes out, and nothing damaged is taken."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import random
import socket
import struct
from typing import Any

import pytest

from lb._speedups.face.plan import build, write
from lb._speedups.face.testing_log import Lines
from lb._speedups.face.testing_plan import Plan
from lb.config import CompiledPlan, ConfigError, compile  # noqa: A004
from lb.config.logformat import OPS
from lb.config.logs import LogRow
from lb.config.netset import NetsetRow, netset
from lb.config.part import Balance
from lb.config.plan import KeyRow, SocketRow

DOCUMENT = {
    "version": 1,
    "global": {
        "workers": 3,
        "maxconn": 20000,
        "grace": "7s",
        "log": [{"to": "stdout", "format": "haproxy"}, {"to": "/var/log/lb.log"}],
    },
    "defaults": {"timeouts": {"tunnel": "2h"}, "retries": 2},
    "frontends": {
        "web": {
            "bind": [":80", {"address": "[::1]:81", "name": "six"}],
            "maxconn": 500,
            "forwarded_for": True,
            "tcp_keepalive": {"idle": "60s", "interval": "10s", "count": 6},
            "timeouts": {"client": "11s", "http_request": "12s", "http_keep_alive": "13s"},
            "routes": [
                {"match": {"host": "API.example.com"}, "to": "api"},
                {"match": {"path": "/static/*"}, "to": "api"},
                {"match": {"path": "/exact"}, "to": "api"},
                {
                    "name": "items",
                    "match": {
                        "host": ["*.example.com", "x"],
                        "path": ["/v1/{id}/items/*", "/v1/{id}"],
                        "method": ["GET", "PURGE"],
                        "headers": {"X-Beta": True, "x-region": ["eu", "us"]},
                        "query": {"old": False, "v": "2"},
                    },
                    "to": {"app": 95, "api": 5},
                    "sticky": {"cookie": "lb_split"},
                    "timeouts": {"server": "5m"},
                    "retries": 0,
                },
                {
                    "match": {"path": "/v1/{id}/items/*", "host": "*.example.com"},
                    "redirect": {"location": "/v2/{id}", "code": 308},
                },
                {"match": {"path": "/robots.txt"}, "reply": {"body": "no", "headers": {"x-a": "b"}}},
            ],
            "mirror": {"to": "api", "percent": 25, "max_body": "1m", "max_copies": 9, "timeout": "2s"},
            "default_backend": {"app": 1, "api": 0},
            "sticky": {"by": "source"},
        },
        "raw": {"mode": "tcp", "bind": ["unix@/run/raw.sock"], "default_backend": "db", "log": False},
    },
    "backends": {
        "app": {"servers": ["10.0.0.1:8080", {"address": "10.0.0.2:8080", "name": "b", "weight": 7}]},
        "api": {"servers": ["[2001:db8::1]:90"], "retries": 0, "tcp_keepalive": True},
        "db": {"servers": ["unix@/run/db.sock"], "timeouts": {"connect": "1s", "server": "2s", "tunnel": "3s"}},
    },
}


@pytest.fixture(scope="module")
def compiled() -> CompiledPlan:
    return compile(DOCUMENT)


def numbers(compiled: CompiledPlan) -> tuple[list[int], list[int]]:
    oids = [1000 + 3 * index for index in range(len(compiled.objects))]
    return oids, [4096 * (index + 1) for index in range(len(compiled.balances))]


@pytest.fixture(scope="module")
def image(compiled: CompiledPlan) -> bytes:
    return build(42, compiled.rows, *numbers(compiled))


@pytest.fixture(scope="module")
def full_image(compiled: CompiledPlan) -> bytes:
    """Return an image with everything an image may hold."""
    proxies = netset(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "unix"])
    listeners = [row._replace(proxies=proxies) for row in compiled.rows.listeners]
    return build(42, compiled.rows._replace(listeners=listeners), *numbers(compiled))


def test_objects_are_named_parents_first(compiled: CompiledPlan) -> None:
    assert compiled.objects == [
        ("process", -1, "lb"),
        ("frontend", 0, "web"),
        ("listener", 1, "web/:80"),
        ("listener", 1, "web/six"),
        ("frontend", 0, "raw"),
        ("listener", 4, "raw/raw.sock"),
        ("backend", 0, "app"),
        ("server", 6, "app/10.0.0.1:8080"),
        ("server", 6, "app/b"),
        ("backend", 0, "api"),
        ("server", 9, "api/2001:db8::1:90"),
        ("backend", 0, "db"),
        ("server", 11, "db/db.sock"),
    ]
    assert compiled.balances == [Balance(6, (7, 8), (1, 7)), Balance(9, (10,), (1,)), Balance(11, (12,), (1,))]


def test_the_supervisor_s_part_says_what_to_bind_and_where_to_log(compiled: CompiledPlan) -> None:
    part = compiled.part
    assert (part.workers, part.maxconn, part.grace_ms, part.admin) == (3, 20000, 7000, None)
    assert [each.to for each in part.logs] == ["stdout", "/var/log/lb.log"]
    assert [(each.to, each.level) for each in part.error_logs] == [("stderr", 7)]
    assert [
        (each.object, each.frontend, each.name, each.family, each.host, each.port, each.path) for each in part.binds
    ] == [
        (2, "web", ":80", "ipv4", "0.0.0.0", 80, ""),
        (3, "web", "six", "ipv6", "::1", 81, ""),
        (5, "raw", "raw.sock", "unix", "", 0, "/run/raw.sock"),
    ]
    assert [(each.object, each.name, each.mode, each.maxconn) for each in part.frontends] == [
        (1, "web", "http", 500),
        (4, "raw", "tcp", 0),
    ]
    assert [
        (each.name, each.mode, [(s.name, s.address, s.weight) for s in each.servers]) for each in part.backends
    ] == [
        ("app", "http", [("10.0.0.1:8080", "10.0.0.1:8080", 1), ("b", "10.0.0.2:8080", 7)]),
        ("api", "http", [("2001:db8::1:90", "[2001:db8::1]:90", 1)]),
        ("db", "tcp", [("db.sock", "unix@/run/db.sock", 1)]),
    ]


def test_what_goes_in_comes_out(image: bytes, compiled: CompiledPlan) -> None:
    said = Plan(image).describe()
    assert {key: said[key] for key in ("generation", "maxconn", "maxconn_oid", "grace_ms", "logs")} == {
        "generation": 42,
        "maxconn": 20000,
        "maxconn_oid": 1000,
        "grace_ms": 7000,
        "logs": [
            {
                "target": number,
                "format": number + 1,
                "flags": 0,
                "error_level": 6,
                "least": 7,
                "gravest": 0,
                "room": 0,
                "sample_size": 0,
                "sample": b"",
                "ops": [],
            }
            for number in range(2)
        ],
    }
    assert said["listeners"] == [
        {"oid": 1006, "frontend": 0, "flags": 0, "name": b":80"},
        {"oid": 1009, "frontend": 0, "flags": 0, "name": b"six"},
        {"oid": 1015, "frontend": 1, "flags": 0, "name": b"raw.sock"},
    ]
    assert said["frontends"] == [
        {
            "oid": 1003,
            "name": b"web",
            "mode": 2,
            "flags": 0b111 | 1 << 10,
            "maxconn": 500,
            "default_route": 6,
            "client_ms": 11000,
            "http_request_ms": 12000,
            "http_keep_alive_ms": 13000,
            "tunnel_ms": 7200000,
            "routes": 9,
            "log_flags": 0,
            "logs": (0, 2),
            "keepalive": (60, 10, 6),
            "max_requests": 0xFFFFFFFF,
            "http_connection": 0,
            "close_both": 0,
        },
        {
            "oid": 1012,
            "name": b"raw",
            "mode": 1,
            "flags": 0,
            "maxconn": 0,
            "default_route": 7,
            "client_ms": 30000,
            "http_request_ms": 0,
            "http_keep_alive_ms": 0,
            "tunnel_ms": 7200000,
            "routes": 0,
            "log_flags": 0,
            "logs": (0, 0),
            "keepalive": (0, 0, 0),
            "max_requests": 0xFFFFFFFF,
            "http_connection": 0,
            "close_both": 0,
        },
    ]
    mirror = {"backend": 1, "percent": 25, "max_body": 1 << 20, "max_copies": 9, "timeout_ms": 2000}
    assert said["mirrors"] == [mirror]
    # All of `web` that lead to a backend; neither answers nor the other frontend.
    assert [each.mirror for each in compiled.rows.routes] == [1, 1, 1, 1, 0, 0, 1, 0]
    backends = said["backends"]
    assert isinstance(backends, list)
    assert [(each["name"], each["mode"], each["retries"], each["flags"], each["balance_at"]) for each in backends] == [
        (b"app", 2, 2, 0, 4096),
        (b"api", 2, 0, 0, 8192),
        (b"db", 1, 2, 0, 12288),
    ]
    assert [(each["servers_at"], each["servers"]) for each in backends] == [(0, 2), (2, 1), (3, 1)]
    assert [backends[2][f"{name}_ms"] for name in ("connect", "server", "tunnel", "queue")] == [1000, 2000, 3000, 0]
    servers = said["servers"]
    assert isinstance(servers, list)
    assert [(each["name"], each["backend"], each["weight"]) for each in servers] == [
        (b"10.0.0.1:8080", 0, 1),
        (b"b", 0, 7),
        (b"2001:db8::1:90", 1, 1),
        (b"db.sock", 2, 1),
    ]


def test_addresses_are_what_the_kernel_takes(image: bytes) -> None:
    servers = Plan(image).describe()["servers"]
    assert isinstance(servers, list)
    family, port, host = struct.unpack("=H2s4s8x", servers[0]["address"])
    assert (family, servers[0]["family"]) == (socket.AF_INET, socket.AF_INET)
    assert (int.from_bytes(port, "big"), socket.inet_ntoa(host)) == (8080, "10.0.0.1")
    family, port, host = struct.unpack("=H2s4x16s4x", servers[2]["address"])
    assert (family, int.from_bytes(port, "big"), socket.inet_ntop(socket.AF_INET6, host)) == (10, 90, "2001:db8::1")
    assert servers[3]["address"] == struct.pack("=H", socket.AF_UNIX) + b"/run/db.sock\0"


def test_connections_and_their_sockets_are_in_the_image() -> None:
    compiled = compile(
        {
            "version": 1,
            "global": {"workers": 4, "max_idle": 4000},
            "defaults": {"http_reuse": "never", "http_connection": "close"},
            "frontends": {
                "web": {"bind": [":80"], "default_backend": "app"},
                "lasting": {
                    "bind": [":81"],
                    "default_backend": "app",
                    "http_connection": "server-close",
                    "max_requests": 9,
                },
                "db": {"mode": "tcp", "bind": [":82"], "default_backend": "pg", "half_close": False},
            },
            "backends": {
                "app": {
                    "http_reuse": "aggressive",
                    "http_connection": "keep-alive",
                    "pool": {"max_idle": 100, "max_age": "1h"},
                    "interface": "lo",
                    "servers": [
                        "10.0.0.1:80",
                        "10.0.0.2:80",
                        {
                            "address": "10.0.0.3:80",
                            "pool": {"max_idle": 0, "idle_timeout": "5s", "max_requests": 7},
                            "source": "10.0.0.9:2000-2999",
                            "tfo": True,
                            "mss": 1400,
                            "user_timeout": "3s",
                            "tcp_keepalive": {"idle": "9s", "interval": "8s", "count": 7},
                        },
                        {"address": "[::3]:80", "source": "[::9]"},
                        {"address": "unix@/run/app.sock"},
                        {"address": "abns@app", "name": "padded"},
                        {"address": "abnsz@app", "name": "exact"},
                    ],
                },
                "pg": {"servers": ["10.0.0.1:5432"]},
            },
        }
    )
    said: Any = Plan(build(1, compiled.rows, *numbers(compiled))).describe()
    assert (said["workers"], said["max_idle"]) == (4, 4000)
    assert [(f["max_requests"], f["http_connection"], f["close_both"]) for f in said["frontends"]] == [
        (1, 2, 0),
        (9, 1, 0),
        (0xFFFFFFFF, 0, 1),
    ]
    assert [(b["reuse"], b["http_connection"]) for b in said["backends"]] == [(1, 0), (0, 0)]
    first, second, third, six, path, padded, exact, pg = said["servers"]
    assert first["pool"] == six["pool"] == (100, 60_000, 0, 3_600_000)
    assert third["pool"] == (0, 5000, 7, 3_600_000)
    assert first["socket"] == second["socket"]
    assert first["link_hash"] != second["link_hash"]
    assert len({each["link_hash"] for each in said["servers"]}) == 8
    assert said["sockets"][first["socket"]] == {
        "flags": 1, "user_timeout_ms": 0, "mss": 0, "interface": b"lo", "keepalive": (0, 0, 0), "family": 0, "source": b"",
        "ports": (0, 0),
    }  # fmt: skip
    assert said["sockets"][third["socket"]] == {
        "flags": 7, "user_timeout_ms": 3000, "mss": 1400, "interface": b"lo", "keepalive": (9, 8, 7), "family": 2,
        "source": struct.pack("=H2x4s8x", 2, bytes([10, 0, 0, 9])), "ports": (2000, 2999),
    }  # fmt: skip
    assert said["sockets"][six["socket"]]["family"] == socket.AF_INET6
    plain = said["sockets"][path["socket"]]
    assert plain == said["sockets"][pg["socket"]]
    assert (plain["flags"], plain["interface"]) == (0, b"")
    assert padded["address"] == struct.pack("=H", socket.AF_UNIX) + b"\0app".ljust(108, b"\0")
    assert exact["address"] == struct.pack("=H", socket.AF_UNIX) + b"\0app"


def test_a_source_of_another_family_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"\[::1\]:80 cannot be reached from 10.0.0.1: the one is IPv6, the other IPv4"
    ):
        compile(
            {
                "version": 1,
                "frontends": {"web": {"bind": [":80"], "default_backend": "app"}},
                "backends": {"app": {"source": "10.0.0.1", "servers": ["[::1]:80"]}},
            }
        )


def test_debug_links_are_flags() -> None:
    os.environ["LB_DEBUG_CONFIG"] = "1"
    try:
        compiled = compile(
            {
                "version": 1,
                "frontends": {
                    "web": {"bind": [{"address": ":80", "debug": {"transport": "twisted"}}], "default_backend": "app"}
                },
                "backends": {
                    "app": {"servers": [{"address": "10.0.0.1:80", "debug": {"transport": "twisted", "codec": "mux"}}]}
                },
            }
        )
    finally:
        del os.environ["LB_DEBUG_CONFIG"]
    assert [each.flags for each in compiled.rows.listeners] == [1]
    assert [each.flags for each in compiled.rows.servers] == [3]


def test_servers_are_found_by_object_id(image: bytes, compiled: CompiledPlan) -> None:
    plan = Plan(image)
    oids = numbers(compiled)[0]
    for index, row in enumerate(compiled.rows.servers):
        assert plan.server_by_oid(oids[row.object]) == index
    assert plan.server_by_oid(oids[0]) is None
    assert plan.server_by_oid(0) is None


def test_many_servers_are_found_by_object_id() -> None:
    servers = [f"10.{n // 65536}.{n // 256 % 256}.{n % 256}:80" for n in range(3000)]
    compiled = compile(
        {
            "version": 1,
            "frontends": {"web": {"bind": [":80"], "default_backend": "app"}},
            "backends": {"app": {"servers": servers}},
        }
    )
    shuffled = random.Random(7).sample(range(1, 65536), len(compiled.objects))
    plan = Plan(build(1, compiled.rows, shuffled, [64]))
    found = [plan.server_by_oid(shuffled[row.object]) for row in compiled.rows.servers]
    assert found == list(range(3000))


def test_the_descriptor_is_sealed_and_holds_the_image(compiled: CompiledPlan, image: bytes) -> None:
    fd = write(42, compiled.rows, *numbers(compiled))
    try:
        assert os.pread(fd, len(image) + 1, 0) == image
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, len(image))
        assert mmap.mmap(fd, len(image), prot=mmap.PROT_READ)[:4] == image[:4]
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    finally:
        os.close(fd)


def test_image_is_what_write_makes(compiled: CompiledPlan, image: bytes) -> None:
    fd = compiled.image(42, *numbers(compiled))
    try:
        assert os.pread(fd, len(image) + 1, 0) == image
    finally:
        os.close(fd)


def test_what_is_hashed_is_in_the_image() -> None:
    balances = [
        {"algorithm": "hash", "key": "req.hdr(X-User)", "type": "consistent", "bound": "125%"},
        {
            "algorithm": "uri",
            "depth": 2,
            "len": 9,
            "whole": True,
            "path_only": True,
            "hash": "crc32",
            "avalanche": True,
        },
        {"algorithm": "hdr", "name": "Host", "use_domain_only": True, "hash": "xxh3"},
        "random",
        "static-rr",
    ]
    compiled = compile(
        {
            "version": 1,
            "frontends": {"web": {"bind": [":80"], "default_backend": "b0"}},
            "backends": {
                f"b{i}": {
                    "balance": balance,
                    "allbackups": i == 0,
                    "servers": [{"address": "10.0.0.1:80", "name": "a"}, {"address": "10.0.0.2:80", "backup": True}],
                }
                for i, balance in enumerate(balances)
            },
        }
    )
    image = Plan(build(1, compiled.rows, *numbers(compiled)))
    backends: Any = image.describe()["backends"]
    assert [(each["balance"], each["key"]) for each in backends] == [
        (5, (4, 1, 1, 0, 0, b"x-user")),
        (5, (2, 4, 7, 2, 9, b"")),
        (5, (3, 5, 8, 0, 0, b"host")),
        (4, (0, 0, 0, 0, 0, b"")),
        (2, (0, 0, 0, 0, 0, b"")),
    ]
    made = compiled.balances
    assert [(each.algorithm, each.table, each.draws, each.bound) for each in made] == [
        (5, 2, 0, 125),
        (5, 1, 0, 0),
        (5, 1, 0, 0),
        (4, 4, 2, 0),
        (2, 1, 0, 0),
    ]
    assert [each.all_backups for each in made] == [True, False, False, False, False]
    assert all(each.backups == (False, True) for each in made)
    # By name: the same wherever the server stands.
    assert len(set(made[0].identities)) == 2
    assert made[1].identities == ()


def test_listeners_know_the_proxies_whose_headers_they_read(compiled: CompiledPlan) -> None:
    oids, offsets = numbers(compiled)
    sets = [netset(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]), netset(["unix"]), NetsetRow()]
    listeners = [row._replace(proxies=sets[i]) for i, row in enumerate(compiled.rows.listeners)]
    image = build(1, compiled.rows._replace(listeners=listeners), oids, offsets)
    plan = Plan(image)
    assert plan.describe()["proxies"] == [(2, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0), (0, 0, 0, 0, 0, 0)]
    said = [
        [plan.is_proxy(listener, family, address) for listener in range(3)]
        for family, address in (
            (socket.AF_INET, bytes([10, 9, 8, 7])),
            (socket.AF_INET, bytes([192, 0, 2, 2])),
            (socket.AF_INET6, socket.inet_pton(socket.AF_INET6, "2001:db8::9")),
            (socket.AF_INET6, socket.inet_pton(socket.AF_INET6, "::ffff:10.0.0.1")),
            (socket.AF_UNIX, b""),
        )
    ]
    assert said == [
        [True, False, False],
        [False, False, False],
        [True, False, False],
        [True, False, False],
        [False, True, False],
    ]
    # Equal sets stand in the image once.
    large = netset(f"10.{n}.0.1" for n in range(200))
    one = [row._replace(proxies=large if i == 0 else NetsetRow()) for i, row in enumerate(compiled.rows.listeners)]
    all_ = [row._replace(proxies=large) for row in compiled.rows.listeners]
    sizes = [len(build(1, compiled.rows._replace(listeners=rows), oids, offsets)) for rows in (one, all_)]
    assert sizes[0] == sizes[1]


def test_proxy_headers_are_in_the_image() -> None:
    everything = {"crc32c": True, "unique_id": True, "authority": True, "tlvs": True}
    compiled = compile(
        {
            "version": 1,
            "frontends": {
                "web": {
                    "bind": [
                        {"address": ":80", "accept_proxy": ["10.0.0.0/8", "2001:db8::/32"]},
                        {
                            "address": ":81",
                            "accept_proxy": {"from": ["any"], "others": "plain", "timeout": "1s", "max_header": 232},
                        },
                        ":82",
                    ],
                    "default_backend": "app",
                }
            },
            "backends": {
                "app": {
                    "send_proxy": {"version": "v2", **everything},
                    "servers": [
                        "10.0.0.1:80",
                        {"address": "10.0.0.2:80", "send_proxy": "v1"},
                        {"address": "10.0.0.3:80", "send_proxy": "off"},
                        {"address": "10.0.0.4:80", "send_proxy": {"crc32c": True}},
                    ],
                },
            },
        }
    )
    said: Any = Plan(build(1, compiled.rows, *numbers(compiled))).describe()
    assert said["proxies"] == [(1, 1, 0, 4096, 3000, 2), (1, 1, 1, 232, 1000, 3), (0, 0, 0, 0, 0, 0)]
    assert [each["send_proxy"] for each in said["servers"]] == [0b111110, 1, 0, 0b110]
    assert [each.send_proxy for each in compiled.part.backends[0].servers] == [2, 1, 0, 2]


def test_tlvs_are_kept_where_some_server_gets_them() -> None:
    def flags(send_proxy: object) -> int:
        web = {"bind": [{"address": ":80", "accept_proxy": ["any"]}], "default_backend": "app"}
        app = {"servers": ["10.0.0.1:80"], "send_proxy": send_proxy}
        compiled = compile({"version": 1, "frontends": {"web": web}, "backends": {"app": app}})
        return compiled.rows.listeners[0].proxy_flags

    assert [flags(each) for each in ("off", "v1", "v2", {"unique_id": True, "crc32c": True})] == [0, 0, 0, 0]
    assert [flags(each) for each in ({"authority": True}, {"tlvs": True})] == [2, 2]


def test_rows_that_do_not_fit_together_are_refused(compiled: CompiledPlan) -> None:
    oids, offsets = numbers(compiled)
    rows = compiled.rows
    with pytest.raises(ValueError, match="places for 3 backends"):
        build(1, rows, oids, offsets[:2])
    bad = [
        rows._replace(frontends=[rows.frontends[0]._replace(default_route=8)]),
        # A TCP stream can be answered by nobody.
        rows._replace(frontends=[rows.frontends[1]._replace(default_route=4)]),
        rows._replace(routes=[each._replace(kind=5) for each in rows.routes]),
        rows._replace(routes=[each._replace(target=9) for each in rows.routes]),
        rows._replace(routes=[each._replace(conditions=each.conditions * 5) for each in rows.routes]),
        rows._replace(splits=[each._replace(shares=()) for each in rows.splits]),
        rows._replace(splits=[each._replace(shares=((3, 1),)) for each in rows.splits]),
        rows._replace(splits=[each._replace(key=KeyRow(9, 1)) for each in rows.splits]),
        rows._replace(redirects=[each._replace(status=200) for each in rows.redirects]),
        rows._replace(redirects=[each._replace(kind=0) for each in rows.redirects]),
        rows._replace(replies=[each._replace(status=101) for each in rows.replies]),
        rows._replace(listeners=[rows.listeners[0]._replace(frontend=2)]),
        rows._replace(backends=[each._replace(servers=9) for each in rows.backends]),
        rows._replace(backends=[each._replace(balance=6) for each in rows.backends]),
        # A hash without a key, a key without a hash, an unknown function, a key that a TCP stream does not have.
        rows._replace(backends=[each._replace(balance=5) for each in rows.backends]),
        rows._replace(backends=[each._replace(key=KeyRow(1, 1)) for each in rows.backends]),
        rows._replace(backends=[each._replace(balance=5, key=KeyRow(1, 6)) for each in rows.backends]),
        rows._replace(backends=[each._replace(balance=5, key=KeyRow(7, 1)) for each in rows.backends]),
        rows._replace(backends=[each._replace(mode=1, balance=5, key=KeyRow(2, 1)) for each in rows.backends]),
        rows._replace(listeners=[each._replace(proxies=NetsetRow(flags=2)) for each in rows.listeners]),
        rows._replace(listeners=[each._replace(proxies=NetsetRow(b"\1" + bytes(7))) for each in rows.listeners]),
        # A mirror that there is not, to no backend, to a TCP backend, of more than all.
        rows._replace(routes=[each._replace(mirror=2) for each in rows.routes]),
        *(rows._replace(mirrors=[rows.mirrors[0]._replace(backend=n)]) for n in (2, 3)),
        rows._replace(mirrors=[rows.mirrors[0]._replace(percent=101)]),
        rows._replace(listeners=[each._replace(proxy_max=231) for each in rows.listeners]),
        rows._replace(listeners=[each._replace(proxy_max=16001) for each in rows.listeners]),
        # No version 3, no options of version 1 or of none, no unknown ones.
        *(rows._replace(servers=[each._replace(send_proxy=n) for each in rows.servers]) for n in (3, 4, 5, 7, 66)),
        rows._replace(servers=[each._replace(backend=3) for each in rows.servers]),
        rows._replace(servers=[each._replace(weight=257) for each in rows.servers]),
        rows._replace(servers=[each._replace(socket=2) for each in rows.servers]),
        rows._replace(frontends=[each._replace(max_requests=0) for each in rows.frontends]),
        rows._replace(frontends=[each._replace(http_connection=3) for each in rows.frontends]),
        rows._replace(frontends=[each._replace(close_both=2) for each in rows.frontends]),
        rows._replace(backends=[each._replace(reuse=4) for each in rows.backends]),
        rows._replace(backends=[each._replace(http_connection=2) for each in rows.backends]),
        rows._replace(sockets=[SocketRow(family=7)]),
        rows._replace(sockets=[SocketRow(ports=(2, 1))]),
        rows._replace(sockets=[SocketRow(ports=(1, 2))]),
        # Logs: behind the last row, no such target, format or severity, an op or a flag nobody knows, more than a line
        # holds, a target without room, a sample without its bits.
        rows._replace(frontends=[rows.frontends[0]._replace(logs=(len(rows.logs), 1))]),
        rows._replace(logs=[LogRow(128, 1)]),
        rows._replace(logs=[LogRow(0, 4)]),
        rows._replace(logs=[LogRow(0, 1, error_level=8)]),
        rows._replace(logs=[LogRow(0, 1, least=8)]),
        rows._replace(logs=[LogRow(0, 1, gravest=8)]),
        rows._replace(logs=[LogRow(0, 3, ops=((200, 0, b""),))]),
        rows._replace(logs=[LogRow(0, 3, ops=((1, 64, b""),))]),
        rows._replace(logs=[LogRow(0, 3, ops=((0, 0, b"x" * 4096),))]),
        rows._replace(logs=[LogRow(0, 3, ops=((1, 0, b"x" * 4046),))]),
        rows._replace(logs=[LogRow(0, 3, ops=((OPS["HU"], 0, b""),), room=255)]),
        # An expression that there is not, and what looks at a stream without saying so.
        rows._replace(logs=[LogRow(0, 3, 8, ops=((OPS["[]"], 0, b"", 99),), room=300)]),
        rows._replace(logs=[LogRow(0, 3, ops=((OPS["hr"], 0, b"", 1),), room=300)]),
        # Rulesets that there are not.
        rows._replace(frontends=[rows.frontends[0]._replace(captures=(9, 0))]),
        rows._replace(frontends=[rows.frontends[0]._replace(captures=(0, 9))]),
        rows._replace(logs=[LogRow(0, 3, ops=((OPS["HU"], 0, b""),), room=4046)]),
        rows._replace(logs=[LogRow(0, 1, sample_size=9, sample=b"x")]),
        rows._replace(logs=[LogRow(0, 1, sample_size=65537, sample=b"x" * 9000)]),
    ]
    for each in bad:
        with pytest.raises(ValueError, match="do not fit together"):
            build(1, each, oids, offsets)
    places = [rows.frontends[0].places[0]._replace(route=8)]
    with pytest.raises(ValueError, match="not a route"):
        build(1, rows._replace(frontends=[rows.frontends[0]._replace(places=places)]), oids, offsets)
    with pytest.raises(ValueError, match="part of a range"):
        build(1, rows._replace(listeners=[rows.listeners[0]._replace(proxies=NetsetRow(b"1234"))]), oids, offsets)
    with pytest.raises(OverflowError):
        build(1, rows._replace(maxconn=1 << 32), oids, offsets)
    with pytest.raises(ValueError, match="at most 112 fit"):
        build(1, rows._replace(servers=[each._replace(address=b"x" * 113) for each in rows.servers]), oids, offsets)


def test_an_image_cut_anywhere_is_refused(full_image: bytes) -> None:
    image = full_image
    assert Plan.is_sound(image)
    for length in range(0, len(image), 3):
        assert not Plan.is_sound(image[:length])
    assert not Plan.is_sound(image + b"\0")


def test_a_damaged_image_is_refused_or_harmless(full_image: bytes) -> None:
    image = full_image
    # Under the sanitizers this shows that whatever plan_check lets pass can be looked through.
    dice = random.Random(3)
    requests = [
        (b"api.example.com", b"/a/b"),
        (b"", b"/static/x"),
        (b"x", b"/exact"),
        (b"y:80", b"*"),
        (b"b.a.example.com", b"/v1/7/items/8/9"),
        (b"x", b"/v1/7"),
    ]
    for _ in range(4000):
        damaged = bytearray(image)
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.randrange(8, len(image))] = dice.choice((0, 1, 2, 127, 128, 255, dice.randrange(256)))
        if Plan.is_sound(bytes(damaged)):
            plan = Plan(bytes(damaged))
            for frontend in range(2):
                for authority, path in requests:
                    found, allowed, _ = plan.route(frontend, authority, path, b"v=2&", b"PURGE", [(b"x-beta", b"")])
                    assert -1 <= found < 8
                    plan.allow(frontend, allowed, 64)
            with contextlib.suppress(IndexError):
                for number in range(2):
                    plan.split(number, dice.getrandbits(64))
                    plan.cookie(number, 7, 100)
                    plan.point(number, [(b"Cookie", b"a=b; lb_split=0123456789abcdef")])
            plan.server_by_oid(1021)
            for log in range(3):
                with contextlib.suppress(ValueError):  # there are fewer
                    Lines().program(bytes(damaged), log, target="/x" * 4000)
            for listener in range(3):
                for address in (bytes(16), bytes([10, 0, 0, 1] * 4), b"\xff" * 16):
                    plan.is_proxy(listener, socket.AF_INET, address)
                    plan.is_proxy(listener, socket.AF_INET6, address)


def test_a_plan_without_anything_is_still_one() -> None:
    compiled = compile(
        {
            "version": 1,
            "global": {"log": []},
            "frontends": {"web": {"bind": [":80"], "default_backend": "app"}},
            "backends": {"app": {"servers": ["10.0.0.1:80"]}},
        }
    )
    rows = compiled.rows._replace(listeners=[], frontends=[], backends=[], servers=[], logs=[], mirrors=[], routes=[])
    assert Plan(build(1, rows, [1], [])).server_by_oid(1) is None
