"""The fast way and the careful way through a document agree, whatever the document is."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.config import ConfigError, Diagnostic, compile, effective, load  # noqa: A004
from lb.config.shape import Examination
from lb.config.yamltext import write
from lb.model import Configuration

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "global": {
        "workers": 2,
        "maxconn": 100,
        "grace": "5s",
        "admin": {"path": "/run/lb.sock", "mode": "0600", "level": "user"},
        "log": [{"to": "stdout", "format": "json"}],
    },
    "defaults": {"timeouts": {"connect": "1s", "client": "2s", "tunnel": "1h"}, "retries": 1},
    "frontends": {
        "web": {
            "mode": "http",
            "bind": [":80", {"address": "[::1]:81", "name": "six", "backlog": 5}],
            "maxconn": 7,
            "timeouts": {"http_request": "3s"},
            "tcp_keepalive": {"idle": "60s", "count": 3},
            "forwarded_for": True,
            "log": False,
            "routes": [
                {"match": {"host": "a.example", "path": "/x/*"}, "to": "app"},
                {"match": {"path": "/y"}, "to": "api"},
                {
                    "name": "all",
                    "match": {
                        "host": ["*.a.example", "b.example"],
                        "path": ["/{id}/*", "/z/{id}/{n}"],
                        "method": "GET",
                        "headers": {"x-a": True, "x-b": ["c", "d"]},
                        "query": {"q": "1"},
                    },
                    "to": {"app": 9, "api": 1},
                    "sticky": {"cookie": "c", "max_age": "1d"},
                    "timeouts": {"server": "5s"},
                    "retries": 1,
                },
                {"match": {"path": "/r/{id}"}, "redirect": {"location": "/s/{id}", "code": 301}},
                {"match": {"path": "/t"}, "reply": {"status": 503, "body": "no", "headers": {"x-a": "b"}}},
            ],
            "default_backend": "app",
        },
        "raw": {"mode": "tcp", "bind": ["unix@/run/raw.sock"], "default_backend": "db"},
    },
    "backends": {
        "app": {
            "balance": "roundrobin",
            "servers": ["10.0.0.1:80", {"name": "b", "address": "/run/b.sock", "weight": 9}],
        },
        "api": {"balance": {"algorithm": "roundrobin"}, "servers": ["10.0.0.1:80"], "timeouts": {"server": "1m"}},
        "db": {"mode": "tcp", "servers": ["10.0.0.3:5432"], "retries": 0, "tcp_keepalive": True},
    },
}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a tree."""
    found = [path]
    if isinstance(value, dict):
        found += [each for key, inner in value.items() for each in paths(inner, (*path, key))]
    elif isinstance(value, list):
        found += [each for index, inner in enumerate(value) for each in paths(inner, (*path, index))]
    return found


PATHS = paths(DOCUMENT)
WORDS = [
    "",
    "x",
    "0",
    "5s",
    "app",
    "db",
    "web",
    "http",
    "tcp",
    ":80",
    "10.0.0.1:80",
    "/run/x",
    "/x/*",
    "leastconn",
    "${X}",
    "\n",
    "\u00fc",
    "a b",
]
KEYS = [
    "mode",
    "bind",
    "timeouts",
    "to",
    "match",
    "address",
    "name",
    "debug",
    "check",
    "version",
    "global",
    "path",
    "x y",
    "client",
    "tls",
    "",
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 70_000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=4,
)
changes = st.lists(
    st.tuples(st.sampled_from(PATHS), st.sampled_from(["set", "drop", "add"]), values, st.sampled_from(KEYS)),
    max_size=4,
)


def changed(document: Any, edits: list[tuple[tuple[Any, ...], str, Any, str]]) -> Any:
    """Return the document after these edits; one whose place is gone does nothing."""
    made = copy.deepcopy(document)
    for path, what, value, key in edits:
        try:
            holder = made
            for step in path[:-1]:
                holder = holder[step]
            if not path:
                made = value if what == "set" else made
            elif what == "set":
                holder[path[-1]] = value
            elif what == "drop":
                del holder[path[-1]]
            elif isinstance(holder[path[-1]], dict):
                holder[path[-1]][key] = value
            else:
                holder[path[-1]].append(value)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue
    return made


def told(given: Any, environ: dict[str, str]) -> list[Diagnostic] | None:
    """Return the errors of a configuration, None if it has none."""
    try:
        load(given, environ)
    except ConfigError as error:
        return error.errors
    return None


def test_the_document_is_valid() -> None:
    load(DOCUMENT, {})


@settings(max_examples=500, deadline=None)
@given(changes)
def test_what_msgspec_refuses_has_a_finding_and_what_has_none_it_takes(edits: list[Any]) -> None:
    document = changed(DOCUMENT, edits)
    examination = Examination(document, hidden=True)
    try:
        msgspec.convert(document, Configuration)
    except msgspec.ValidationError:
        assert examination.findings
    else:
        assert not examination.findings
        assert not examination.gone
    for finding in examination.findings:
        assert finding.subject
        assert finding.message


@settings(max_examples=300, deadline=None)
@given(changes)
def test_a_document_loads_and_compiles_or_is_told_why(edits: list[Any]) -> None:
    document = changed(DOCUMENT, edits)
    if not isinstance(document, dict):
        return
    errors = told(document, {"LB_DEBUG_CONFIG": "1"})
    if errors is not None:
        assert errors
        assert all(str(each).isprintable() for each in errors)
        return
    configuration = load(document, {"LB_DEBUG_CONFIG": "1"})
    whole = effective(configuration)
    assert effective(whole) == whole
    assert load(msgspec.to_builtins(whole), {"LB_DEBUG_CONFIG": "1"}) == whole
    assert compile(whole).rows == compile(configuration).rows


@settings(max_examples=120, deadline=None)
@given(changes)
def test_every_format_tells_the_same(tmp_path_factory: Any, edits: list[Any]) -> None:
    document = changed(DOCUMENT, edits)
    folder: Path = tmp_path_factory.mktemp("formats")
    said: list[set[str]] = []
    for name, text in (("a.json", json.dumps(document, indent=1)), ("a.yaml", write(document))):
        (folder / name).write_text(text)
        errors = told(folder / name, {}) or []
        assert all(1 <= each.line <= text.count("\n") + 1 for each in errors)
        said.append({f"{each.subject}: {each.message}" for each in errors})
    assert said[0] == said[1]
