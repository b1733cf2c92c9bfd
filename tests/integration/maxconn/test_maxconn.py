"""Limits on connections: over them accepting pauses, connections wait in the kernel, and go on when there is room."""

from __future__ import annotations

import pytest
from kit.client import Client
from kit.deadline import eventually
from kit.message import ask, reply
from kit.settings import LOOPBACK
from kit.stage import Stage


@pytest.mark.smoke
@pytest.mark.parametrize("where", ["process", "frontend"])
def test_over_the_limit_connections_wait_and_then_go_on(stage: Stage, where: str) -> None:
    server = stage.server()
    limit = {"maxconn": 2} if where == "process" else {"frontend": {"maxconn": 2}}
    stage.http(server, **limit)
    first, second, third, fourth = (stage.client() for _ in range(4))
    assert first.get().body == b"hello"
    assert second.get().body == b"hello"
    third.send(ask("/third"))
    fourth.send(ask("/fourth"))
    assert not third.readable(0.1), "served over the limit"
    assert not fourth.readable(0.01), "served over the limit"
    first.close()
    assert third.response().body == b"hello"
    assert not fourth.readable(0.05), "served over the limit"
    third.reset()
    assert fourth.response().body == b"hello"
    assert second.get().body == b"hello", "those inside are not disturbed"


def test_a_full_frontend_leaves_others_alone(stage: Stage) -> None:
    server = stage.server()
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "small": {"bind": [{"address": LOOPBACK}], "maxconn": 1, "default_backend": "app"},
                "large": {"bind": [{"address": LOOPBACK}], "default_backend": "app"},
            },
            "backends": {"app": {"servers": [server.text]}},
        }
    )
    one = stage.client("small")
    assert one.get().status == 200
    two = stage.client("small")
    two.send(ask())
    assert not two.readable(0.1)
    for _ in range(3):
        assert stage.client("large").get().status == 200
    one.close()
    assert two.response().status == 200


def test_many_clients_through_a_narrow_door(stage: Stage) -> None:
    """Each waits its turn, none is lost."""
    server = stage.server()
    stage.http(server, maxconn=3)
    clients = [stage.client() for _ in range(30)]
    for i, client in enumerate(clients):
        client.send(ask(f"/{i}", "Connection: close"))
    for client in clients:
        assert client.response().status == 200
    assert {request.target for request in server.requests} == {f"/{i}" for i in range(30)}


def test_a_limit_holds_for_tcp_too(stage: Stage) -> None:
    server = stage.server(lambda c: (c.send(b"hello"), c.wait_end()))
    stage.tcp(server, frontend={"maxconn": 1})
    one, two = stage.client(), stage.client()
    assert one.read_exactly(5) == b"hello"
    assert not two.readable(0.1)
    one.close()
    assert two.read_exactly(5) == b"hello"


def test_a_client_that_gives_up_waiting_does_no_harm(stage: Stage) -> None:
    server = stage.server(lambda c: [c.send(reply(c.request().target.encode())) for _ in range(9)])
    stage.http(server, maxconn=1)
    one = stage.client()
    assert one.get("/one").body == b"/one"
    for _ in range(5):
        gone = stage.client()
        gone.send(ask("/gone"))
        gone.reset()
    one.close()
    assert stage.client().get("/two").body == b"/two"


@pytest.mark.parametrize("workers", [2, 4])
def test_a_limit_is_common_to_all_workers(daemon: Stage, workers: int) -> None:
    server = daemon.server()
    daemon.http(server, workers=workers, maxconn=4)
    waiting = [daemon.client() for _ in range(12)]
    for client in waiting:
        client.send(ask())
    while waiting:
        served: list[Client] = []
        eventually(lambda w=waiting, s=served: len(ready(w, s)) >= 4, "four more clients to be served")
        assert len(ready(waiting, served)) == 4, "more than four at once"
        for client in served:
            assert client.response().status == 200
            client.close()
        waiting = [client for client in waiting if client not in served]
    assert len(server.requests) == 12


def ready(clients: list[Client], found: list[Client]) -> list[Client]:
    """Add the clients that have got something to `found`, and return it."""
    found += [client for client in clients if client not in found and client.readable(0.005)]
    return found
