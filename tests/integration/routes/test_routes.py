"""From host and path to a backend: the most specific route wins, whatever the order."""

from __future__ import annotations

import pytest
from kit.message import Ended, ask, reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.wire import Reset

ROUTES = [
    {"match": {"path": "/static/*"}, "to": "static"},
    {"match": {"path": "/static/special"}, "to": "special"},
    {"match": {"host": "api.test"}, "to": "api"},
    {"match": {"host": "api.test", "path": "/v1/*"}, "to": "v1"},
    {"match": {"host": "api.test", "path": "/v1/orders/*"}, "to": "orders"},
]
NAMES = ["static", "special", "api", "v1", "orders", "rest"]

TABLE = [
    ("lb.test", "/", "rest"),
    ("lb.test", "/static/", "static"),
    ("lb.test", "/static/a/b", "static"),
    ("lb.test", "/static/special", "special"),
    ("lb.test", "/static/special/more", "static"),
    ("lb.test", "/static/special?x=1", "special"),
    ("lb.test", "/statically", "rest"),
    ("lb.test", "/STATIC/", "rest"),
    ("api.test", "/", "api"),
    ("API.Test", "/", "api"),
    ("api.test:8080", "/", "api"),
    ("api.test", "/v1/x", "v1"),
    ("api.test", "/v1/orders/7", "orders"),
    ("api.test", "/v1/orders", "v1"),
    ("sub.api.test", "/", "rest"),
    ("api.test.evil", "/", "rest"),
    ("api.test", "/static/x", "api"),
]


def routed(stage: Stage, *, default: bool = True) -> Settings:
    """Write the routes above, with a server for each backend that answers with its name."""
    return {
        "version": 1,
        "global": {"workers": 1},
        "frontends": {
            "web": {
                "bind": [{"address": LOOPBACK}],
                "routes": ROUTES,
                **({"default_backend": "rest"} if default else {}),
            }
        },
        "backends": {
            name: {"servers": [stage.server(reply(name.encode())).text]} for name in NAMES if default or name != "rest"
        },
    }


def test_every_request_takes_its_route(stage: Stage) -> None:
    stage.start(routed(stage))
    client = stage.client()
    for host, path, backend in TABLE:
        assert client.get(path, host=host).body.decode() == backend, (host, path)


@pytest.mark.smoke
def test_each_request_of_a_connection_is_routed_anew(stage: Stage) -> None:
    stage.start(routed(stage))
    client = stage.client()
    client.send(ask("/static/x") + ask("/", host="api.test") + ask("/"))
    assert [client.response().body for _ in range(3)] == [b"static", b"api", b"rest"]


def test_a_1_0_request_without_host_takes_routes_of_any_host(stage: Stage) -> None:
    stage.start(routed(stage))
    client = stage.client()
    client.send(ask("/static/x", version="1.0", host=None))
    assert client.response().body == b"static"


@pytest.mark.ours
def test_the_authority_of_absolute_form_is_the_host(stage: Stage) -> None:
    stage.start(routed(stage))
    assert stage.client().get("http://api.test/v1/x", host="api.test").body == b"v1"


@pytest.mark.ours
@pytest.mark.smoke
def test_what_no_route_matches_is_answered_with_404(stage: Stage) -> None:
    stage.start(routed(stage, default=False))
    client = stage.client()
    assert client.get("/nowhere").status == 404
    assert client.get("/static/x").body == b"static", "the connection goes on"
    first, second = stage.records(2)
    assert (first.status, first.backend, first.server) == (404, "web", "<NOSRV>")
    assert (second.status, second.backend) == (200, "static")


def test_a_body_behind_a_404_is_not_read_as_a_request(stage: Stage) -> None:
    stage.start(routed(stage, default=False))
    client = stage.client()
    client.send(ask("/nowhere", method="POST", body=ask("/static/smuggled")) + ask("/static/next"))
    assert client.response("POST").status in (404, 503)
    try:
        assert client.response().body == b"static"
    except (Ended, Reset):
        pass  # closing is right as well
    assert "/static/smuggled" not in [request.target for server in stage.servers for request in server.requests]


def test_a_backend_whose_servers_all_refuse_answers_with_503(stage: Stage) -> None:
    stage.http(stage.refused().text, stage.refused().text, retries=1, timeouts={"connect": "500ms"})
    response = stage.client().get()
    assert response.status == 503
    record = stage.record()
    assert (record.state, record.status) == ("SC", 503)
