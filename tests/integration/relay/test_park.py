"""A request rule may leave a stream and come back: parked by hand, as one that asks Python will be."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from kit.deadline import eventually
from kit.inprocess import InProcess, InProcessPlane
from kit.message import ask, reply
from kit.server import Connection
from kit.settings import Settings
from kit.stage import Stage


class ParkingPlane(InProcessPlane):
    """Parks every request."""

    def start(self, settings: Settings, directory: Path) -> InProcess:
        """Start an engine whose binds park."""
        settings = copy.deepcopy(settings)
        for frontend in settings["frontends"].values():
            frontend["bind"] = [{**bind, "debug": {"park": True}} for bind in frontend["bind"]]
        return super().start(settings, directory)


@pytest.fixture
def parking(tmp_path: Path):
    stage = Stage(ParkingPlane(), tmp_path)
    yield stage
    stage.close()


def echo(connection: Connection) -> None:
    while True:
        connection.send(reply(connection.request().body))


def waiting(stage: Stage, count: int) -> list[int]:
    """Wait until so many streams are parked; return their handles."""
    eventually(lambda: len(stage.proxy.parked()) == count, f"{count} parked streams")
    return stage.proxy.parked()


def test_a_parked_request_goes_on_when_it_is_resumed(parking: Stage) -> None:
    parking.http(parking.server(echo))
    client = parking.client()
    client.send(ask("/", method="POST", body=b"kept"))
    (handle,) = waiting(parking, 1)
    assert not parking.servers[0].connections
    assert parking.proxy.resume(handle)
    assert client.response("POST").body == b"kept"
    assert not parking.proxy.resume(handle)


def test_parked_requests_are_resumed_in_any_order(parking: Stage) -> None:
    parking.http(parking.server(echo))
    clients = [parking.client() for _ in range(5)]
    for i, client in enumerate(clients):
        client.send(ask("/", method="POST", body=b"%d" % i))
        waiting(parking, i + 1)
    for handle in reversed(waiting(parking, 5)):
        assert parking.proxy.resume(handle)
    assert [client.response("POST").body for client in clients] == [b"%d" % i for i in range(5)]


def test_a_verdict_for_a_client_that_left_is_dropped(parking: Stage) -> None:
    parking.http(parking.server(echo))
    client = parking.client()
    client.send(ask("/"))
    (handle,) = waiting(parking, 1)
    client.reset()
    waiting(parking, 0)
    assert not parking.proxy.resume(handle)
    assert parking.record().state == "CR"


def test_a_body_waits_outside_while_its_request_is_parked(parking: Stage) -> None:
    parking.http(parking.server(echo))
    client = parking.client()
    body = bytes(100_000)
    client.send(ask("/", f"Content-Length: {len(body)}", method="POST") + body)
    (handle,) = waiting(parking, 1)
    assert parking.proxy.live()["message"] == 1
    assert "buffer" not in parking.proxy.live()
    assert parking.proxy.resume(handle)
    assert client.response("POST").body == body


def test_a_request_that_is_never_resumed_is_answered(parking: Stage) -> None:
    parking.http(parking.server(echo), timeouts={"client": "50ms"})
    client = parking.client()
    client.send(ask("/"))
    assert client.response().status == 503
