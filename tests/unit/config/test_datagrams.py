"""mode udp: what it takes, and what it refuses because only connections have it."""

from __future__ import annotations

from typing import Any

import pytest

from lb.config import ConfigError
from lb.config import compile as compile_configuration


def document(frontend: dict[str, Any] | None = None, backend: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "version": 1,
        "frontends": {"dns": {"mode": "udp", "bind": [":5353"], "default_backend": "ns", **(frontend or {})}},
        "backends": {"ns": {"servers": [{"name": "a", "address": "10.0.0.1:53"}], **(backend or {})}},
    }


def said(given: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        compile_configuration(given)
    return [each.message for each in raised.value.errors]


def test_a_whole_configuration() -> None:
    compiled = compile_configuration(
        document(
            {"bind": [":5353", "[::]:5353", {"address": "127.0.0.1:54", "interface": "lo"}], "maxconn": 100},
            {"udp": {"responses": 2, "requests": 3, "send_proxy": "first"}, "balance": "leastconn"},
        )
    )
    assert [each.is_datagram for each in compiled.part.binds] == [True] * 3
    assert (compiled.part.frontends[0].mode, compiled.part.backends[0].mode) == ("udp", "udp")
    row = compiled.rows.backends[0]
    assert (row.udp_responses, row.udp_requests) == (2, 3)
    assert (row.connect_ms, row.tunnel_ms) == (0, 0)
    assert (compiled.rows.frontends[0].client_ms, row.server_ms) == (30_000, 30_000)


def test_without_more_nothing_is_known_of_the_protocol() -> None:
    row = compile_configuration(document()).rows.backends[0]
    assert (row.udp_responses, row.udp_requests, row.flags) == (-1, 0, 0)


def test_tcp_and_udp_have_ports_of_their_own_but_each_once() -> None:
    given = document()
    given["frontends"]["web"] = {"bind": [":5353"], "default_backend": "app"}
    given["backends"]["app"] = {"servers": ["10.0.0.1:80"]}
    assert compile_configuration(given)
    given["frontends"]["more"] = given["frontends"]["dns"]
    assert said(given) == ["bind ':5353' is taken already by frontend 'dns'"]


@pytest.mark.parametrize(
    ("frontend", "message"),
    [
        ({"bind": ["/run/dns.sock"]}, "bind '/run/dns.sock': mode udp needs an IP address"),
        ({"bind": [{"address": ":53", "backlog": 5}]}, "'backlog' has no meaning in mode udp"),
        ({"bind": [{"address": ":53", "tfo": True}]}, "'tfo' has no meaning in mode udp"),
        ({"tcp_keepalive": True}, "'tcp_keepalive' has no meaning in mode udp"),
        ({"timeouts": {"tunnel": "1h"}}, "'timeouts.tunnel' has no meaning in mode udp"),
        ({"timeouts": {"http_request": "1s"}}, "'timeouts.http_request' needs mode http"),
        ({"forwarded_for": True}, "'forwarded_for' needs mode http"),
        ({"default_backend": {"ns": 1}}, "shares of backends have no meaning in mode udp"),
        ({"routes": [{"match": {"path": "/*"}, "to": "ns"}]}, "routes need mode http"),
        ({"mode": "http", "default_backend": "ns"}, "'udp' needs mode udp"),
    ],
)
def test_what_a_frontend_cannot_have(frontend: dict[str, Any], message: str) -> None:
    assert message in said(document(frontend, {"udp": {"responses": 1}}))


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ({"timeouts": {"connect": "1s"}}, "'timeouts.connect' has no meaning in mode udp"),
        ({"source": "10.0.0.9"}, "'source' has no meaning in mode udp"),
        ({"servers": ["/run/syslog.sock"]}, "address '/run/syslog.sock': mode udp needs an IP address and a port"),
        ({"servers": [{"address": "10.0.0.1:53", "mss": 1200}]}, "'mss' has no meaning in mode udp"),
        ({"balance": "uri"}, "balance uri needs mode http"),
        (
            {"balance": "leastconn", "udp": {"responses": 0}},
            "balance leastconn counts sessions, and with 'udp.responses: 0' there are none",
        ),
        (
            {"udp": {"responses": 0, "send_proxy": "first"}},
            "'udp.send_proxy: first' needs sessions, and with 'udp.responses: 0' there are none",
        ),
        (
            {"observe": "layer4"},
            "'observe: layer4' needs a check in mode udp: nothing else tells that a server is back",
        ),
        ({"udp": {"responses": -1}}, "'udp.responses' is -1; 0 to 1000000 are possible"),
        ({"udp": {"proxy": "each"}}, "unknown keyword 'proxy' in 'udp'"),
        ({"pool": {"max_idle": 1}}, "'pool' needs mode http"),
        ({"mode": "tcp"}, "is of mode udp, its backend 'ns' of mode tcp"),
    ],
)
def test_what_a_backend_cannot_have(backend: dict[str, Any], message: str) -> None:
    assert message in said(document(None, backend))


def test_without_a_check_no_server_is_taken_out() -> None:
    """A TCP connection, by which others are found to be back, says nothing of a server of datagrams."""
    part = compile_configuration(document()).part
    (server,) = part.backends[0].servers
    assert server.observation is None
    assert server.check is None
    checked = compile_configuration(document(None, {"check": {"port": 53}, "observe": "layer4"})).part
    (server,) = checked.backends[0].servers
    assert server.observation is not None
    assert server.check is not None
