"""What routes look at beside exact hosts and prefixes: wildcards, parameters, methods, headers, the query."""

from __future__ import annotations

import pytest
from kit.message import reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

ROUTES: list[Settings] = [
    {"match": {"host": ["*.example.test", "other.test"]}, "to": "wild"},
    {"match": {"host": "*.api.example.test", "path": ["/v1/*", "/v2/{id}"]}, "to": "deep"},
    {"match": {"host": "www.example.test"}, "to": "exact"},
    {"match": {"path": "/orders/{id}/items/*"}, "to": "items"},
    {"match": {"path": "/orders/{id}", "method": "GET"}, "to": "read"},
    {"match": {"path": "/orders/{id}", "method": ["PUT", "PURGE"]}, "to": "write"},
    {"match": {"path": "/beta", "headers": {"X-Beta": True}}, "to": "beta"},
    {"match": {"path": "/beta", "headers": {"x-beta": ["2", "3"]}, "query": {"debug": "1"}}, "to": "debug"},
    {"match": {"path": "/beta", "headers": {"x-beta": False}}, "to": "plain"},
]
NAMES = ["wild", "deep", "exact", "items", "read", "write", "beta", "debug", "plain", "rest"]


def routed(stage: Stage, *, default: bool = True) -> Settings:
    web: Settings = {"bind": [LOOPBACK], "routes": ROUTES}
    names = NAMES if default else NAMES[:-1]
    if default:
        web["default_backend"] = "rest"
    backends = {name: {"servers": [stage.server(reply(name.encode())).text]} for name in names}
    return {"version": 1, "global": {"workers": 1}, "frontends": {"web": web}, "backends": backends}


def test_every_request_takes_its_route(stage: Stage) -> None:
    stage.start(routed(stage))
    client = stage.client()

    def ask(target: str, *fields: str, host: str = "lb.test", method: str = "GET") -> str:
        return client.get(
            target, *fields, host=host, method=method, body=b"" if method != "GET" else None
        ).body.decode()

    assert ask("/", host="www.example.test") == "exact"
    assert ask("/", host="a.b.example.test:80") == "wild"
    assert ask("/", host="example.test") == "rest"
    assert ask("/", host="other.test.") == "wild"
    assert ask("/v1/x", host="x.api.example.test") == "deep"
    assert ask("/v2/x", host="X.API.example.test") == "deep"
    assert ask("/v2/x/y", host="x.api.example.test") == "wild"
    assert ask("/v1/x", host="api.example.test") == "wild"
    assert ask("/orders/7/items/") == "items"
    assert ask("/orders/7/items/8/9") == "items"
    assert ask("/orders/7/items") == "rest"
    assert ask("/orders/7") == "read"
    assert ask("/orders/") == "rest"
    assert ask("/orders/7", method="PUT") == "write"
    assert ask("/orders/7", method="PURGE") == "write"
    assert ask("/orders/7", method="DELETE") == "rest"
    assert ask("/beta") == "plain"
    assert ask("/beta", "x-BETA: 1") == "beta"
    assert ask("/beta?a=b&debug=1&c", "X-Beta: 1", "X-Beta: 3") == "debug"
    assert ask("/beta?debug=11", "X-Beta: 3") == "beta"


@pytest.mark.ours
@pytest.mark.parametrize(
    "path", ["/orders/../beta", "/a/%2e%2E/beta", "/./beta", "/a/..;x=y/beta", "/a%2f..%5cbeta", "/..", "/%00"]
)
def test_a_path_that_servers_could_read_as_another_is_refused(stage: Stage, path: str) -> None:
    stage.start(routed(stage))
    answer = stage.client().get(path)
    assert (answer.status, stage.record().state) == (400, "PR")
    assert not any(server.requests for server in stage.servers)


@pytest.mark.ours
def test_dot_segments_can_be_kept_and_do_not_matter_without_paths(stage: Stage) -> None:
    settings = routed(stage)
    settings["frontends"]["web"]["dot_segments"] = "keep"
    settings["frontends"]["hosts"] = {
        "bind": [LOOPBACK],
        "routes": [{"match": {"host": "a.test"}, "to": "rest"}],
        "default_backend": "rest",
    }
    stage.start(settings)
    assert stage.client().get("/orders/../x/").body == b"rest"
    assert stage.client("hosts").get("/a/../b").body == b"rest"
    assert [request.target for request in stage.servers[-1].requests] == ["/orders/../x/", "/a/../b"]


@pytest.mark.ours
def test_get_takes_head_too(stage: Stage) -> None:
    stage.start(routed(stage, default=False))
    client = stage.client()
    assert client.get("/orders/7", method="HEAD").status == 200


@pytest.mark.ours
def test_where_only_the_method_is_wrong_the_answer_is_405(stage: Stage) -> None:
    stage.start(routed(stage, default=False))
    client = stage.client()
    refused = client.get("/orders/7", method="POST", body=b"x")
    assert (refused.status, refused.value("Allow")) == (405, b"GET, HEAD, PUT, PURGE")
    # The connection goes on, and what has no route at all is 404.
    missing = client.get("/nothing", method="POST", body=b"x")
    assert (missing.status, missing.value("Allow")) == (404, None)
    assert [record.status for record in stage.records(2)] == [405, 404]


@pytest.mark.ours
def test_a_default_takes_what_only_the_method_kept_from_a_route(stage: Stage) -> None:
    stage.start(routed(stage))
    assert stage.client().get("/orders/7", method="POST", body=b"").body == b"rest"
