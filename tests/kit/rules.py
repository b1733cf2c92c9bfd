"""Texts of the rule language, compiled into a plan and evaluated the way a worker does it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from lb._speedups.face.plan import build
from lb._speedups.face.testing_rules import Rules
from lb.config import compile as compile_configuration
from lb.language.condition import parse_condition, parse_test
from lb.language.expression import Names, parse
from lb.language.format import parse_format
from lb.language.program import Program

REQUEST = (
    b"GET /api/v1/x?a=1&b=hello%20w&a=2&e= HTTP/1.1\r\nHost: Example.com:80\r\nX-A: one, two ,three\r\nX-a: four\r\n"
    b'Cookie: a=1; b=2; a=3\r\nX-Ip: foo, 10.1.2.3:80\r\nX-Q: "a,b",c\r\nX-N: 12, -7,x\r\nX-Empty:\r\n\r\n'
)
RESPONSE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nServer: s1\r\nSet-Cookie: id=7; Path=/\r\nSet-Cookie: t=a; id=8\r\n\r\n"
_SEEDS = count(1)
NAMES = Names({"web": 0}, {"app": 0, "other": 1}, {"app/s1": 0, "other/s2": 1})
_SETTINGS: dict[str, Any] = {
    "version": 1,
    "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app"}},
    "backends": {
        "app": {"servers": [{"name": "s1", "address": "127.0.0.1:1"}]},
        "other": {"servers": [{"name": "s2", "address": "127.0.0.1:2"}]},
    },
}


def image_of(settings: dict[str, Any], program: Program | None = None) -> bytes:
    """Return the image of a configuration, with another program if one is given."""
    compiled = compile_configuration(settings)
    rows = compiled.rows if program is None else compiled.rows._replace(program=program.rows)
    return build(1, rows, list(range(1, len(compiled.objects) + 1)), [0] * len(compiled.balances))


def look(rules: Rules, request: bytes = REQUEST, response: bytes | None = RESPONSE) -> Rules:
    """Give rules a stream to look at."""
    rules.set_request(request)
    if response is not None:
        rules.set_response(response)
    rules.set_source("10.1.2.3", 5555)
    rules.set_seed(next(_SEEDS))
    rules.set_clock(1_700_000_000_123_456)
    return rules


def sample(text: str, request: bytes = REQUEST, response: bytes | None = RESPONSE) -> Any:
    """Return the value of an expression, None when nothing is found."""
    program = Program()
    number = program.expression(parse(text, NAMES))
    return look(Rules(image_of(_SETTINGS, program)), request, response).sample(number)[2]


def expressions(texts: Sequence[str], *, response: bytes | None = None) -> tuple[Rules, list[int]]:
    """Return a stream, and the numbers of expressions that can be asked of it one after the other."""
    program = Program()
    numbers = [program.expression(parse(text, NAMES)) for text in texts]
    return look(Rules(image_of(_SETTINGS, program)), REQUEST, response), numbers


def holds(text: str, request: bytes = REQUEST, acls: dict[str, list[str]] | None = None) -> bool:
    """Return whether a condition holds."""
    program = Program()
    known = {name: tuple(parse_test(each, NAMES) for each in texts) for name, texts in (acls or {}).items()}
    number = program.condition(parse_condition(text, known, NAMES))
    answer = look(Rules(image_of(_SETTINGS, program)), request).condition(number)
    assert answer in (0, 1)
    return answer == 1


def formatted(text: str, request: bytes = REQUEST) -> bytes | None:
    """Return what a format string writes."""
    program = Program()
    number = program.format(parse_format(text, NAMES))
    return look(Rules(image_of(_SETTINGS, program)), request).format(number)


def judged(
    rules: list[dict[str, Any]], request: bytes = REQUEST, *, response: bytes | None = None
) -> tuple[tuple[str, int, int], bytes | None]:
    """Run rules over a request, or over a response; return the verdict and the head as it would be sent on."""
    word = "rules" if response is None else "response_rules"
    settings = {**_SETTINGS, "frontends": {"web": {**_SETTINGS["frontends"]["web"], word: rules}}}
    stream = look(Rules(image_of(settings)), request, response)
    verdict = stream.rules(0, response is not None)
    return verdict, stream.head(response is not None)
