"""The client's address from a trusted proxy: what the log says, where a source hash leads, what servers are told."""

from __future__ import annotations

import pytest
from kit.message import ask, reply
from kit.settings import Settings, relay
from kit.stage import Stage

pytestmark = pytest.mark.ours

FRIEND = ["127.0.0.1", "10.0.0.0/8"]
CLIENT = "198.51.100.7"


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("header", "value", "shown"),
    [
        ("x-forwarded-for", CLIENT, f"{CLIENT}:0"),
        ("x-forwarded-for", f"1.2.3.4, {CLIENT}:4711, 10.9.9.9", f"{CLIENT}:4711"),
        ("x-forwarded-for", "2001:db8::7, 10.0.0.1", "2001:db8::7:0"),
        ("forwarded", f'for=1.2.3.4, for="{CLIENT}:80";proto=https, for=10.0.0.1', f"{CLIENT}:80"),
        ("X-Real-IP", CLIENT, f"{CLIENT}:0"),
        ("x-forwarded-for", "10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
    ],
)
def test_the_log_shows_who_a_proxy_says_it_is(stage: Stage, header: str, value: str, shown: str) -> None:
    stage.http(stage.server(), frontend={"client_address": header, "trusted_proxies": FRIEND})
    assert stage.client().get("/", f"{header}: {value}").status == 200
    assert stage.record().client == shown


@pytest.mark.parametrize(
    "value", ["", "unknown", f"{CLIENT}, garbage", f"{CLIENT}, [10.0.0.1", "300.1.1.1", "1.2.3.4:x"]
)
def test_a_list_that_names_nobody_leaves_the_peer_s_address(stage: Stage, value: str) -> None:
    stage.http(stage.server(), frontend={"client_address": True, "trusted_proxies": FRIEND})
    client = stage.client()
    assert client.get("/", f"X-Forwarded-For: {value}").status == 200
    assert stage.record().client == f"127.0.0.1:{client.local[1]}"


def test_a_stranger_is_not_asked(stage: Stage) -> None:
    stage.http(stage.server(), frontend={"client_address": True, "trusted_proxies": ["10.0.0.0/8", "unix"]})
    client = stage.client()
    client.get("/", f"X-Forwarded-For: {CLIENT}")
    assert stage.record().client == f"127.0.0.1:{client.local[1]}"


def test_another_header_is_not_looked_at(stage: Stage) -> None:
    stage.http(stage.server(), frontend={"client_address": "X-Real-IP", "trusted_proxies": FRIEND})
    client = stage.client()
    client.get("/", f"X-Forwarded-For: {CLIENT}", f"Forwarded: for={CLIENT}", f"X_Real_IP: {CLIENT}")
    assert stage.record().client == f"127.0.0.1:{client.local[1]}"


def test_each_request_of_a_connection_has_its_own(stage: Stage) -> None:
    stage.http(stage.server(), frontend={"client_address": True, "trusted_proxies": FRIEND})
    client = stage.client()
    for i in range(1, 4):
        client.get("/", f"X-Forwarded-For: 198.51.100.{i}:{i}")
    client.get("/")
    assert [record.client for record in stage.records(4)] == [
        *(f"198.51.100.{i}:{i}" for i in range(1, 4)),
        f"127.0.0.1:{client.local[1]}",
    ]


def test_servers_are_told_the_peer_in_lists_and_the_client_alone(stage: Stage) -> None:
    """A list has everyone who passed the request on, in order; X-Real-IP one, the client."""
    server = stage.server()
    frontend: Settings = {
        "client_address": True,
        "trusted_proxies": FRIEND,
        "forwarded_for": True,
        "forwarded": True,
        "x_forwarded": ["real_ip"],
    }
    stage.http(server, frontend=frontend)
    stage.client().get("/", f"X-Forwarded-For: {CLIENT}, 10.0.0.1", "X-Real-IP: 1.1.1.1")
    (request,) = server.requests
    assert request.values("x-forwarded-for") == [f"{CLIENT}, 10.0.0.1".encode(), b"127.0.0.1"]
    assert request.value("forwarded") == b"proto=http;for=127.0.0.1"
    assert request.value("x-real-ip") == CLIENT.encode()


def test_a_source_hash_is_of_the_client(stage: Stage) -> None:
    servers = [stage.server(reply(b"%d" % i)) for i in range(4)]
    stage.http(
        *servers,
        frontend={"client_address": True, "trusted_proxies": FRIEND},
        backend={"balance": {"algorithm": "source", "type": "consistent", "hash": "xxh3"}},
    )
    client = stage.client()
    first = [client.get("/", f"X-Forwarded-For: 198.51.100.{i}").body for i in range(40)]
    again = [client.get("/", f"X-Forwarded-For: 1.2.3.4, 198.51.100.{i}, 10.0.0.1").body for i in range(40)]
    assert first == again
    assert len(set(first)) == 4
    assert len({client.get().body for _ in range(5)}) == 1


def test_a_refused_request_has_the_peer_s_address(stage: Stage) -> None:
    """Its head was not read, so nobody has said anything."""
    stage.http(stage.server(), frontend={"client_address": True, "trusted_proxies": FRIEND})
    client = stage.client()
    client.send(f"GET / HTTP/1.1\r\nX-Forwarded-For: {CLIENT}\r\nbad\r\n\r\n".encode())
    client.wait_end()
    assert stage.record().client == f"127.0.0.1:{client.local[1]}"


@pytest.mark.h1_only
def test_a_reload_changes_whom_to_believe(stage: Stage) -> None:
    """A connection that stays is judged by the lists of its present generation."""
    server = stage.server()
    before = {"client_address": True, "forwarded_for": True, "trusted_proxies": FRIEND}

    def settings(frontend: Settings) -> Settings:
        return relay("http", server.text, frontend=frontend)

    proxy = stage.start(settings(before))
    client = stage.client()
    client.get("/", f"X-Forwarded-For: {CLIENT}")
    proxy.reload(settings({**before, "trusted_proxies": ["10.0.0.0/8"]}))  # type: ignore[attr-defined]
    client.send(ask("/", f"X-Forwarded-For: {CLIENT}"))
    assert client.response().status == 200
    assert [request.values("x-forwarded-for") for request in server.requests] == [
        [CLIENT.encode(), b"127.0.0.1"],
        [b"127.0.0.1"],
    ]
    assert [record.client.partition(":")[0] for record in stage.records(2)] == [CLIENT, "127.0.0.1"]
