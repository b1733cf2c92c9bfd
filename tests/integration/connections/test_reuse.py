"""Who may send a request over a server connection that is idle: `http_reuse`, and connections with a user."""

from __future__ import annotations

import pytest
from kit.deadline import eventually
from kit.message import reply
from kit.server import Connection, Server
from kit.stage import Stage

MODES = ["never", "safe", "aggressive", "always"]


def start(stage: Stage, mode: str, server: Server) -> None:
    stage.http(server, backend={"http_reuse": mode})


def used(server: Server) -> list[int]:
    """Return how many requests each connection has carried."""
    return [len(connection.requests) for connection in server.connections]


@pytest.mark.parametrize("mode", MODES)
def test_a_client_goes_on_with_its_connection(stage: Stage, mode: str) -> None:
    server = stage.server()
    start(stage, mode, server)
    client = stage.client()
    for _ in range(3):
        assert client.get().body == b"hello"
        assert client.get(method="POST", body=b"x").body == b"hello"
    assert used(server) == [6]


@pytest.mark.parametrize("mode", MODES)
def test_what_a_first_post_goes_over(stage: Stage, mode: str) -> None:
    """Only `always` puts it on a connection that was used once."""
    server = stage.server()
    start(stage, mode, server)
    stage.client().get()
    stage.client().get(method="POST", body=b"x")
    assert used(server) == ([2] if mode == "always" else [1, 1])


@pytest.mark.parametrize("mode", MODES)
def test_what_a_first_post_goes_over_after_a_reuse(stage: Stage, mode: str) -> None:
    """A connection that was reused has shown that its server keeps it: enough for `aggressive`."""
    server = stage.server()
    start(stage, mode, server)
    first = stage.client()
    first.get()
    first.get()
    stage.client().get(method="POST", body=b"x")
    assert used(server) == ([3] if mode in ("aggressive", "always") else [2, 1])


@pytest.mark.ours
@pytest.mark.parametrize("mode", MODES)
def test_what_a_first_get_goes_over(stage: Stage, mode: str) -> None:
    """Unlike HAProxy without `retry-on`: lb sends it again if the server was just closing."""
    server = stage.server()
    start(stage, mode, server)
    for _ in range(3):
        stage.client().get()
    assert used(server) == ([1, 1, 1] if mode == "never" else [3])


@pytest.mark.ours
def test_a_first_request_whose_body_is_still_to_come_goes_over_a_new_connection(stage: Stage) -> None:
    """PUT can be repeated, but by then its bytes may not be here any more."""
    server = stage.server()
    start(stage, "safe", server)
    stage.client().get()
    assert stage.client().get(method="PUT", body=b"x" * 100_000).body == b"hello"
    assert used(server) == [1, 1]


def test_a_later_post_may_go_over_any_connection(stage: Stage) -> None:
    server = stage.server()
    start(stage, "safe", server)
    first, second = stage.client(), stage.client()
    first.get(method="POST", body=b"x")
    second.get(method="POST", body=b"x")
    assert used(server) == [1, 1]
    for _ in range(4):
        second.get(method="POST", body=b"x")
        first.get(method="POST", body=b"x")
    assert len(server.connections) == 2


def test_never_ends_a_connection_with_its_client(stage: Stage) -> None:
    server = stage.server()
    start(stage, "never", server)
    first, second = stage.client(), stage.client()
    for client in (first, second, first, second):
        client.get()
    assert used(server) == [2, 2]
    first.close()
    server.wait(lambda s: s.connections[0].closed.is_set(), "the first client's connection to end")
    assert not server.connections[1].closed.is_set()
    second.get()
    assert used(server) == [2, 3]


@pytest.mark.ours
def test_never_keeps_few_connections_for_one_client(stage: Stage) -> None:
    """With many servers a client does not hold a connection to each: five, as in HAProxy."""
    servers = [stage.server() for _ in range(8)]
    stage.http(*servers, backend={"http_reuse": "never"})
    client = stage.client()
    for _ in range(8):
        client.get()
    open_ = lambda: [s for s in servers if not all(c.closed.is_set() for c in s.connections)]  # noqa: E731
    eventually(lambda: len(open_()) == 5, "three of eight connections to be closed")
    assert open_() == servers[3:]
    for server in servers:
        client.get()
        assert len(server.requests) == 2


def test_never_replaces_a_connection_that_the_server_has_closed(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(reply(b"hello"))

    server = stage.server(script)
    start(stage, "never", server)
    client = stage.client()
    for number in range(3):
        assert client.get(method="POST", body=b"x").body == b"hello"
        server.wait(lambda s, number=number: s.connections[number].closed.is_set(), "the connection to be closed")
    assert used(server) == [1, 1, 1]


@pytest.mark.parametrize("challenge", ["NTLM", "Negotiate", "negotiate YII="])
def test_a_connection_with_a_user_is_given_to_nobody_else(stage: Stage, challenge: str) -> None:
    """NTLM and Negotiate make the connection, not the request, the user's."""

    def script(connection: Connection) -> None:
        request = connection.request()
        connection.send(reply(b"who?", f"WWW-Authenticate: {challenge}", status=401, reason="Unauthorized"))
        while True:
            request = connection.request()
            connection.send(reply(request.values("x-user")[0]))

    server = stage.server(script)
    start(stage, "always", server)
    alice, bob = stage.client(), stage.client()
    assert alice.get("/", "X-User: alice").status == 401
    assert alice.get("/", "X-User: alice").body == b"alice"
    assert bob.get("/", "X-User: bob").status == 401
    assert alice.get("/", "X-User: alice").body == b"alice"
    assert bob.get("/", "X-User: bob").body == b"bob"
    assert used(server) == [3, 2]
    alice.close()
    server.wait(lambda s: s.connections[0].closed.is_set(), "her connection to end with her")


def test_another_challenge_leaves_the_connection_to_all(stage: Stage) -> None:
    answer = reply(b"who?", 'WWW-Authenticate: Basic realm="NTLM"', status=401, reason="Unauthorized")
    server = stage.server(answer)
    start(stage, "always", server)
    for _ in range(3):
        assert stage.client().get().status == 401
    assert used(server) == [3]
