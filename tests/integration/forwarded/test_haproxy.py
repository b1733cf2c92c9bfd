"""`forwarded_for` beside `option forwardfor`: the same requests to both, over the same server.

HAProxy believes everybody, so lb trusts everybody here. Where the two are meant to differ is said at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.client import Client
from kit.haproxy import HaproxyProxy
from kit.inprocess import InProcess
from kit.server import Server, answering
from kit.settings import Settings, relay

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

OPTIONS: list[Settings] = [
    {},
    {"name": "X-Client"},
    {"mode": "if_none"},
    {"mode": "if_none", "name": "x-client"},
    {"except": ["127.0.0.0/8"]},
    {"except": ["127.0.0.1"]},
    {"except": ["127.0.0.2"]},
    {"except": ["10.0.0.0/8"]},
    {"except": ["127.0.0.0/8"], "mode": "if_none"},
    {"except": ["10.0.0.0/8"], "mode": "if_none", "name": "X-Client"},
]
FIELDS: list[tuple[str, ...]] = [
    (),
    ("X-Forwarded-For: 192.0.2.1",),
    ("x-forwarded-for: 192.0.2.1, 192.0.2.2",),
    ("X-FORWARDED-FOR: 192.0.2.1", "Other: x", "X-Forwarded-For: 192.0.2.2"),
    ("X-Forwarded-For:",),
    ("X-Forwarded-For: unknown",),
    ("X-Client: 192.0.2.1",),
    ("X-Client: a", "X-Forwarded-For: b"),
    ("X-Forwarded-Fo: a", "X-Forwarded-Forr: b"),
    ("Forwarded: for=192.0.2.1",),
]


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, list[Client]]]:
    """A server, and a client of lb and one of HAProxy in front of it."""
    server = Server(answering())
    frontend: Settings = {"forwarded_for": request.param, "trusted_proxies": ["any"]}
    settings = relay("http", server.text, frontend=frontend)
    (tmp_path / "lb").mkdir()
    (tmp_path / "peer").mkdir()
    ours = InProcess(settings, tmp_path / "lb")
    peer = HaproxyProxy(settings, tmp_path / "peer")
    clients = [Client(proxy.addresses["web"][0]) for proxy in (ours, peer)]
    yield server, clients
    for client in clients:
        client.close()
    server.close()
    ours.settle()
    ours.stop()
    peer.stop()


@pytest.mark.parametrize("pair", OPTIONS, indirect=True, ids=lambda given: ",".join(map(str, given.values())) or "true")
def test_servers_are_told_the_same(pair: tuple[Server, list[Client]]) -> None:
    server, clients = pair
    for fields in FIELDS:
        for client in clients:
            assert client.get("/", *fields).status == 200
        ours, peer = server.requests[-2:]
        assert [(name.lower(), value) for name, value in ours.fields] == [
            (name.lower(), value) for name, value in peer.fields
        ], fields
