"""The path that lb answers itself, for balancers in front of it."""

from __future__ import annotations

import pytest
from kit.deadline import eventually
from kit.message import ask
from kit.settings import relay
from kit.stage import Stage

pytestmark = pytest.mark.ours


@pytest.mark.smoke
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_it_is_answered_here(stage: Stage, method: str) -> None:
    server = stage.server()
    stage.http(server, frontend={"monitor": "/alive", "forwarded_for": True})
    client = stage.client()
    for _ in range(2):
        response = client.get("/alive", method=method)
        assert response.status == 200
        assert (b"ready" in response.body) == (method != "HEAD")
    assert client.get("/").body == b"hello"
    assert len(server.requests) == 1
    assert [record.request for record in stage.records(1)] == ["GET / HTTP/1.1"]


@pytest.mark.parametrize("target", ["/alive/", "/aliv", "/alive?x", "/ALIVE", "//alive", "/%61live", "http://a/alive/"])
def test_another_target_is_none(stage: Stage, target: str) -> None:
    server = stage.server()
    stage.http(server, frontend={"monitor": "/alive"})
    stage.client().get(target, host="a")
    assert len(server.requests) == 1


def test_an_absolute_target_is_the_same(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"monitor": "/alive"})
    assert stage.client().get("http://a/alive", host="a").status == 200
    assert not server.requests


def test_a_query_can_be_part_of_it(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"monitor": "/alive?full"})
    assert stage.client().get("/alive?full").status == 200
    assert not server.requests


@pytest.mark.parametrize(("least", "status"), [({"app": 2}, 200), ({"app": 3}, 503), ({"app": 2, "other": 2}, 503)])
def test_it_fails_while_a_backend_is_short_of_servers(stage: Stage, least: dict[str, int], status: int) -> None:
    settings = relay(
        "http",
        stage.refused().text,
        stage.refused().text,
        frontend={"monitor": {"path": "/alive", "fail_below": least}},
    )
    settings["backends"]["other"] = {"servers": ["127.0.0.1:9"]}
    stage.start(settings)
    assert stage.client().get("/alive").status == status


@pytest.mark.h1_only
def test_a_server_that_goes_down_is_seen(stage: Stage) -> None:
    monitor = {"path": "/alive", "fail_below": {"app": 2}}
    proxy = stage.http(stage.refused().text, stage.refused().text, frontend={"monitor": monitor})
    client = stage.client()
    assert client.get("/alive").status == 200
    proxy.mapping.set_usable(proxy.oids["app/s1"], False)
    assert client.get("/alive").status == 503
    proxy.mapping.set_usable(proxy.oids["app/s1"], True)
    assert client.get("/alive").status == 200


@pytest.mark.h1_only
def test_while_lb_drains_it_says_503(stage: Stage) -> None:
    server = stage.server()
    proxy = stage.http(server, frontend={"monitor": "/alive"})
    client = stage.client()
    assert client.get("/alive").status == 200
    # A head that has begun is still answered by a draining worker.
    client.send(b"GET /alive HTTP/1.1\r\n")
    eventually(lambda: "message" in proxy.live(), "the head to be begun")
    proxy.ask(proxy.engine.drain)
    client.send(b"Host: a\r\n\r\n")
    response = client.response()
    assert response.status == 503
    assert response.value("connection") == b"close"


def test_counters_see_it_as_answered_here(stage: Stage) -> None:
    proxy = stage.http(stage.server(), frontend={"monitor": "/alive"})
    client = stage.client()
    client.send(ask("/alive") * 3)
    for _ in range(3):
        assert client.response().status == 200
    client.close()
    counters = proxy.counters("web")  # type: ignore[attr-defined]
    assert (counters["intercepted"], counters["status_2xx"], counters["req_total"]) == (3, 3, 3)
    assert proxy.counters("app")["sess_total"] == 0  # type: ignore[attr-defined]
    assert proxy.log_lines() == []
