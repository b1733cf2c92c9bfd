"""Answers of lb's own: RFC 9457 problem details or text, by what the client accepts, with an id that the log has too."""

from __future__ import annotations

import json
import re

import pytest
from kit.message import Response, ask
from kit.stage import Stage

pytestmark = pytest.mark.ours

JSON_FIRST = [
    "application/problem+json",
    "application/json",
    "application/json, text/plain;q=0.5",
]
TEXT_FIRST = ["text/plain", "text/html", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"]


def error(stage: Stage, *fields: str, method: str = "GET") -> Response:
    """Provoke a 503."""
    stage.http(stage.refused().text, retries=0)
    client = stage.client()
    client.send(ask("/", *fields, method=method))
    return client.response(method)


def check_problem(response: Response, status: int, title: str) -> dict[str, object]:
    assert response.status == status
    assert response.value("content-type") == b"application/problem+json"
    problem = json.loads(response.body)
    assert (problem["status"], problem["title"], problem["type"]) == (status, title, "about:blank")
    assert problem["detail"]
    assert re.fullmatch(r"[0-9a-f]{32}", problem["request_id"])
    assert response.value("x-request-id") == problem["request_id"].encode()
    return problem


@pytest.mark.parametrize("accept", JSON_FIRST)
def test_a_client_that_takes_json_gets_a_problem(stage: Stage, accept: str) -> None:
    check_problem(error(stage, f"Accept: {accept}"), 503, "Service Unavailable")


@pytest.mark.smoke
@pytest.mark.parametrize("accept", TEXT_FIRST)
def test_a_client_that_prefers_text_gets_text(stage: Stage, accept: str) -> None:
    response = error(stage, f"Accept: {accept}")
    assert response.status == 503
    assert response.value("content-type").startswith(b"text/plain")
    assert b"503" in response.body
    identity = response.value("x-request-id")
    assert identity in response.body


def test_answers_are_not_to_be_stored(stage: Stage) -> None:
    assert error(stage).value("cache-control") == b"no-store"


def test_an_answer_to_head_has_the_head_only(stage: Stage) -> None:
    response = error(stage, method="HEAD")
    assert (response.status, response.body) == (503, b"")


def test_ids_differ(stage: Stage) -> None:
    stage.http(stage.refused().text, retries=0)
    client = stage.client()
    identities = {client.get().value("x-request-id") for _ in range(20)}
    assert len(identities) == 20


def test_a_connection_goes_on_behind_an_error(stage: Stage) -> None:
    stage.http(stage.refused().text, retries=0)
    client = stage.client()
    for _ in range(3):
        assert client.get().status == 503


def test_a_1_0_client_gets_an_error_it_can_read(stage: Stage) -> None:
    stage.http(stage.refused().text, retries=0)
    client = stage.client()
    client.send(ask(version="1.0"))
    response = client.response()
    assert response.status == 503
    assert len(response.body) == int(response.value("content-length"))
    client.expect_end()


def test_a_refused_request_gets_a_problem_and_the_end(stage: Stage) -> None:
    stage.http(stage.server())
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n")
    response = client.response()
    check_problem(response, 400, "Bad Request")
    assert response.value("connection") == b"close"
    client.wait_end()


def test_what_the_client_sent_is_not_in_the_answer(stage: Stage) -> None:
    """An error page that repeats a request is a way to put words into lb's mouth."""
    stage.http(stage.server())
    client = stage.client()
    client.send(b"GET /<script>alert(1)</script> HTTP/1.1\r\nHost: <script>\r\nX: <script>\r\n\r\n")
    response = client.response()
    assert response.status == 400
    assert b"script" not in response.body


def test_the_log_has_the_same_id(stage: Stage) -> None:
    from kit.settings import relay

    settings = relay("http", stage.refused().text, retries=0)
    path = stage.directory / "json.log"
    settings["global"]["log"] = [
        {"to": str(path), "format": "json"},
        {"to": str(stage.directory / "access.log"), "format": "haproxy"},
    ]
    stage.start(settings)
    response = stage.client().get()
    stage.record()
    (line,) = path.read_text().splitlines()
    assert response.value("x-request-id").decode() in json.loads(line).values()
