"""Request ids: taken over or made, the same for server, client, log and error answers."""

from __future__ import annotations

import json
import re
import time
import uuid

import pytest
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import Response, reply
from kit.settings import Settings, relay
from kit.stage import Stage

pytestmark = pytest.mark.ours

FRIEND = ["127.0.0.1"]
FORMATS = {
    "hex32": r"[0-9a-f]{32}",
    "uuid4": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "uuid7": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
}


@pytest.mark.parametrize("form", FORMATS)
def test_an_id_is_made_in_its_format_and_never_twice(stage: Stage, form: str) -> None:
    server = stage.server()
    stage.http(server, frontend={"request_id": {"format": form}})
    before = int(time.time() * 1000)
    client = stage.client()
    for _ in range(200):
        client.get()
    ids = [(request.value("X-Request-ID") or b"").decode() for request in server.requests]
    assert all(re.fullmatch(FORMATS[form], each) for each in ids), ids[0]
    assert len(set(ids)) == 200
    if form == "uuid4":
        assert all(uuid.UUID(each).version == 4 for each in ids)
        # Every bit that is not fixed changes.
        numbers = [uuid.UUID(each).int for each in ids]
        fixed = (1 << 128) - 1
        for number in numbers:
            fixed &= ~(number ^ numbers[0])
        assert fixed == 0xF << 76 | 0b11 << 62
    if form == "uuid7":
        times = [int(each.replace("-", "")[:12], 16) for each in ids]
        assert times == sorted(times)
        assert before - 10 <= times[0] <= times[-1] <= int(time.time() * 1000) + 10


@pytest.mark.parametrize(
    ("options", "trusted", "sent", "taken"),
    [
        ({}, FRIEND, "abc-1", True),
        ({}, None, "abc-1", False),
        ({}, ["10.0.0.0/8"], "abc-1", False),
        ({"accept": "any"}, None, "abc-1", True),
        ({"accept": "any"}, FRIEND, "abc-1", True),
        ({"accept": "never"}, FRIEND, "abc-1", False),
        ({"accept": "any"}, None, "a" * 64, True),
        ({"accept": "any"}, None, "a" * 65, False),
        ({"accept": "any"}, None, "", False),
        ({"accept": "any"}, None, 'a"b', False),
        ({"accept": "any"}, None, "a b", False),
        ({"accept": "any"}, None, "caf\xe9", False),
        ({"accept": "any", "name": "X-Trace"}, None, "abc-1", True),
        ({"accept": "any", "format": "uuid4"}, None, "abc-1", True),
    ],
)
def test_whose_ids_are_taken_over(
    stage: Stage, options: Settings, trusted: list[str] | None, sent: str, taken: bool
) -> None:
    server = stage.server()
    frontend: Settings = {"request_id": {**options, "response": True}}
    if trusted is not None:
        frontend["trusted_proxies"] = trusted
    stage.http(server, frontend=frontend)
    name = options.get("name", "X-Request-ID")
    response = stage.client().get("/", f"{name}: {sent}")
    got = server.requests[0].value(name)
    assert got == response.value(name)
    assert (got == sent.encode("latin-1")) is taken
    assert taken or re.fullmatch(FORMATS[options.get("format", "hex32")], (got or b"").decode())


def test_of_several_ids_the_first_is_taken(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"request_id": {"accept": "any"}})
    stage.client().get("/", "X-Request-ID: one", "x-request-id: two")
    assert server.requests[0].values("x-request-id") == [b"one"]


def test_the_client_is_told_on_request_only_and_once(stage: Stage) -> None:
    server = stage.server(reply(b"x", "X-Request-ID: the server's", "x-request-id: again"))
    stage.http(server, frontend={"request_id": {"response": True}})
    response = stage.client().get()
    assert response.value("x-request-id") == server.requests[0].value("x-request-id")


def test_without_it_responses_are_left_alone(stage: Stage) -> None:
    stage.http(stage.server(reply(b"x", "X-Request-ID: the server's")), frontend={"request_id": True})
    assert stage.client().get().values("x-request-id") == [b"the server's"]


@pytest.mark.h1_only
def test_answers_of_routes_have_it_too(stage: Stage) -> None:
    targets: list[Settings] = [
        {"match": {"path": "/old"}, "redirect": {"location": "/new"}},
        {"match": {"path": "/text"}, "reply": {"body": "made here"}},
    ]
    stage.http(stage.server(), frontend={"request_id": {"accept": "any", "response": True}, "routes": targets})
    client = stage.client()
    for target in ("/old", "/text", "/"):
        assert client.get(target, "X-Request-ID: mine").value("x-request-id") == b"mine"
        assert re.fullmatch(FORMATS["hex32"], (client.get(target).value("x-request-id") or b"").decode())


@pytest.mark.h1_only
def test_a_copy_of_a_request_has_the_same(stage: Stage) -> None:
    server, other = stage.server(), stage.server()
    frontend: Settings = {"request_id": {"response": True}, "forwarded_for": True, "via": "edge"}
    settings = relay("http", server.text, frontend={**frontend, "mirror": {"to": "staging", "percent": 100}})
    settings["backends"]["staging"] = {"servers": [other.text]}
    stage.start(settings)
    response = stage.client().get("/", "X-Forwarded-For: 192.0.2.1")
    (request,), (copy,) = server.requests, other.wait_requests(1)
    assert request.value("x-request-id") == copy.value("x-request-id") == response.value("x-request-id")
    assert copy.values("x-forwarded-for") == [b"127.0.0.1"]
    assert copy.values("via") == [b"1.1 edge"]
    assert response.values("via") == [b"1.1 edge"]


def test_log_server_and_client_have_the_same(daemon: Stage) -> None:
    server = daemon.server()
    log = daemon.directory / "own.log"
    frontend: Settings = {"request_id": {"accept": "any", "response": True, "name": "X-Trace", "format": "uuid7"}}
    settings = relay("http", server.text, frontend=frontend)
    settings["global"]["log"] = [{"to": str(log), "format": "json"}]
    daemon._proxy = proxy = Lb(settings, daemon.directory, log=False)
    client = daemon.client()
    shown = [client.get("/", *given).value("x-trace") for given in ((), ("X-Trace: mine",), ())]
    assert [request.value("x-trace") for request in server.requests] == shown
    eventually(lambda: len(log.read_text().splitlines()) == 3, "three records")
    assert [json.loads(line)["request_id"].encode() for line in log.read_text().splitlines()] == shown
    assert proxy.process.poll() is None


def problem_id(response: Response) -> str:
    found = json.loads(response.body)["request_id"]
    assert isinstance(found, str)
    return found


@pytest.mark.h1_only
@pytest.mark.parametrize("sent", ["abc-1", None])
def test_an_error_says_the_same_id_in_head_and_body(stage: Stage, sent: str | None) -> None:
    stage.http(stage.refused().text, frontend={"request_id": {"accept": "any", "name": "X-Trace"}}, retries=0)
    response = stage.client().get("/", *([f"X-Trace: {sent}"] if sent else []))
    assert response.status == 503
    assert problem_id(response).encode() == response.value("x-trace")
    assert (problem_id(response) == sent) is (sent is not None)
    assert response.values("x-request-id") == []


@pytest.mark.h1_only
def test_an_error_before_the_head_was_read_has_an_id_too(stage: Stage) -> None:
    stage.http(stage.server(), frontend={"request_id": {"format": "uuid4", "accept": "any"}})
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\nX-Request-ID: mine\r\nbad\r\n\r\n")
    response = client.response()
    assert re.fullmatch(FORMATS["uuid4"], problem_id(response))
    assert response.value("x-request-id") == problem_id(response).encode()
