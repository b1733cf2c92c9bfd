"""The registry of what is not built: every word in it is refused and says so, and nothing built stands in it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lb.config import ConfigError, load
from lb.config.shape import bare, options, root_type
from lb.model.keywords import CHAPTERS, INSTEAD, INSTEAD_WORDS, UNBUILT, UNBUILT_FORMS, UNBUILT_WORDS

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "global": {
        "admin": {"path": "/run/lb.sock"},
        "http": {"address": "127.0.0.1:8404"},
        "log": [{"to": "stdout", "format": "json"}],
        "error_log": [{"to": "stderr"}],
    },
    "defaults": {"timeouts": {}, "x_forwarded": ["proto"]},
    "tables": {"t": {"key": "ip", "size": "1k", "store": ["server_id"]}},
    "userlists": {"l": {"users": {"u": {"insecure_password": "p"}}}},
    "limits": {"l": {"rate": "1/s"}},
    "frontends": {
        "web": {
            "bind": [{"address": ":80", "accept_proxy": {"from": ["10.0.0.0/8"]}}],
            "timeouts": {},
            "log": {},
            "tcp_keepalive": {},
            "forwarded_for": {},
            "forwarded": {},
            "x_forwarded": {},
            "via": {},
            "request_id": {},
            "monitor": {"path": "/alive"},
            "routes": [
                {"match": {"path": "/a/*"}, "to": {"app": 1}, "sticky": {"cookie": "a"}, "timeouts": {}},
                {"match": {"path": "/b"}, "redirect": {"location": "/a/"}},
                {"match": {"path": "/c"}, "reply": {}},
            ],
            "mirror": {"to": "app"},
            "captures": {"request": [{"len": 1}]},
            "rules": [
                {"allow": True},
                {"return": {}},
                {"redirect": {"location": "/"}},
                {"set_timeout": {"server": "1s"}},
                {"deny": {}},
                {"capture": {"expression": "src", "len": 1}},
            ],
            "errors": {"503": {}},
            "response_rules": [{"set_status": {"status": 200}}],
            "default_backend": "app",
        }
    },
    "backends": {
        "app": {
            "servers": [{"address": "10.0.0.1:80"}],
            "balance": {},
            "check": {"steps": [{"send": "x"}]},
            "send_proxy": {},
            "timeouts": {},
            "pool": {},
            "cookie": {"name": "SRV"},
            "stick": [{"on": "src", "table": "t"}],
        }
    },
}

# Where a Struct of the model stands in the document.
PLACES: dict[str, tuple[str | int, ...]] = {
    "Configuration": (),
    "Global": ("global",),
    "Admin": ("global", "admin"),
    "HttpAdmin": ("global", "http"),
    "Log": ("global", "log", 0),
    "ErrorLog": ("global", "error_log", 0),
    "FrontendLog": ("frontends", "web", "log"),
    "Defaults": ("defaults",),
    "Timeouts": ("defaults", "timeouts"),
    "Table": ("tables", "t"),
    "Limit": ("limits", "l"),
    "Frontend": ("frontends", "web"),
    "FrontendTimeouts": ("frontends", "web", "timeouts"),
    "Keepalive": ("frontends", "web", "tcp_keepalive"),
    "ForwardedFor": ("frontends", "web", "forwarded_for"),
    "Forwarded": ("frontends", "web", "forwarded"),
    "XForwarded": ("frontends", "web", "x_forwarded"),
    "Via": ("frontends", "web", "via"),
    "RequestId": ("frontends", "web", "request_id"),
    "Monitor": ("frontends", "web", "monitor"),
    "Bind": ("frontends", "web", "bind", 0),
    "AcceptProxy": ("frontends", "web", "bind", 0, "accept_proxy"),
    "SendProxy": ("backends", "app", "send_proxy"),
    "Route": ("frontends", "web", "routes", 0),
    "Match": ("frontends", "web", "routes", 0, "match"),
    "Sticky": ("frontends", "web", "routes", 0, "sticky"),
    "RouteTimeouts": ("frontends", "web", "routes", 0, "timeouts"),
    "Redirect": ("frontends", "web", "routes", 1, "redirect"),
    "Reply": ("frontends", "web", "routes", 2, "reply"),
    "Mirror": ("frontends", "web", "mirror"),
    "Rule": ("frontends", "web", "rules", 0),
    "Return": ("frontends", "web", "rules", 1, "return"),
    "RuleRedirect": ("frontends", "web", "rules", 2, "redirect"),
    "Captures": ("frontends", "web", "captures"),
    "CaptureSlot": ("frontends", "web", "captures", "request", 0),
    "RuleCapture": ("frontends", "web", "rules", 5, "capture"),
    "WaitForBody": ("frontends", "web", "rules", 0, "wait_for_body"),
    "SetStatus": ("frontends", "web", "response_rules", 0, "set_status"),
    "SetTimeout": ("frontends", "web", "rules", 3, "set_timeout"),
    "Deny": ("frontends", "web", "rules", 4, "deny"),
    "Page": ("frontends", "web", "errors", "503"),
    "UserList": ("userlists", "l"),
    "User": ("userlists", "l", "users", "u"),
    "Backend": ("backends", "app"),
    "Balance": ("backends", "app", "balance"),
    "Check": ("backends", "app", "check"),
    "Step": ("backends", "app", "check", "steps", 0),
    "Datagrams": ("backends", "app", "udp"),
    "BackendTimeouts": ("backends", "app", "timeouts"),
    "Pool": ("backends", "app", "pool"),
    "PersistenceCookie": ("backends", "app", "cookie"),
    "Stick": ("backends", "app", "stick", 0),
    "Server": ("backends", "app", "servers", 0),
}

# Where a word of a closed list stands.
WORDS: dict[str, tuple[str | int, ...]] = {
    "balance algorithm": ("backends", "app", "balance", "algorithm"),
    "check": ("backends", "app", "check", "type"),
    "init_state": ("backends", "app", "check", "init_state"),
    "observe": ("backends", "app", "observe"),
    "mode": ("frontends", "web", "mode"),
    "log format": ("global", "log", 0, "format"),
    "log target": ("global", "log", 0, "to"),
    "syslog header": ("global", "log", 0, "syslog"),
    "x_forwarded header": ("defaults", "x_forwarded", 0),
    "format of ids": ("frontends", "web", "request_id", "format"),
    "severity": ("global", "log", 0, "severity"),
    "reuse": ("backends", "app", "http_reuse"),
    "connection mode": ("backends", "app", "http_connection"),
    "admin level": ("global", "admin", "level"),
}

FORMS = {"a mapping": {"app": 1}, "a list": ["app"], "a condition": "{ path_beg /a }"}


def document_with(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    made: Any = copy.deepcopy(DOCUMENT)
    place = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return made  # type: ignore[no-any-return]


def said(path: tuple[str | int, ...], value: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(document_with(path, value), {})
    (error,) = caught.value.errors
    return str(error)


def structs() -> dict[str, Any]:
    """Return every Struct of the model by name, as msgspec.inspect describes it."""
    found: dict[str, Any] = {}

    def visit(kind: Any) -> None:
        for choice in options(bare(kind)[0]):
            base = bare(choice)[0]
            for name in ("item_type", "value_type"):
                if hasattr(base, name):
                    visit(getattr(base, name))
            if hasattr(base, "fields") and base.cls.__name__ not in found:
                found[base.cls.__name__] = base
                for field in base.fields:
                    visit(field.type)

    visit(root_type())
    return found


def test_the_document_is_valid() -> None:
    assert load(DOCUMENT, {}).version == 1


@pytest.mark.parametrize(("section", "keyword"), [(section, word) for section in UNBUILT for word in UNBUILT[section]])
def test_a_keyword_that_is_not_built_is_refused_and_says_so(section: str, keyword: str) -> None:
    for spelled in {keyword, keyword.replace("_", "-")}:
        line = said((*PLACES[section], spelled), "x")
        assert f"'{spelled}'" in line
        assert line.endswith("is known but not built yet; remove it")


@pytest.mark.parametrize(("noun", "word"), [(noun, word) for noun in UNBUILT_WORDS for word in UNBUILT_WORDS[noun]])
def test_a_word_that_is_not_built_is_refused_and_says_so(noun: str, word: str) -> None:
    assert f"{noun} '{word}' is known but not built yet; built: " in said(WORDS[noun], word)


@pytest.mark.parametrize(("section", "keyword"), list(UNBUILT_FORMS))
def test_a_form_that_is_not_built_is_refused_and_says_so(section: str, keyword: str) -> None:
    form = UNBUILT_FORMS[section, keyword][0]
    value = next(value for start, value in FORMS.items() if form.startswith(start))
    assert f"with {form} is known but not built yet" in said((*PLACES[section], keyword), value)


@pytest.mark.parametrize(("section", "word"), [(section, word) for section in INSTEAD for word in INSTEAD[section]])
def test_a_word_that_people_try_gets_its_way_out(section: str, word: str) -> None:
    assert said((*PLACES[section], word), "x").endswith(f"; {INSTEAD[section][word]}")


@pytest.mark.parametrize(("noun", "word"), [(noun, word) for noun in INSTEAD_WORDS for word in INSTEAD_WORDS[noun]])
def test_a_value_that_people_try_gets_its_way_out(noun: str, word: str) -> None:
    assert said(WORDS[noun], word).endswith(f"unknown {noun} '{word}'; {INSTEAD_WORDS[noun][word]}")


def test_nothing_that_is_built_is_called_unbuilt() -> None:
    fields = {name: {each.encode_name for each in found.fields} for name, found in structs().items()}
    for table in (UNBUILT, INSTEAD):
        for section, words in table.items():
            assert not fields[section] & set(words)
    for section, keyword in UNBUILT_FORMS:
        assert keyword in fields[section]
    assert set(PLACES) == set(fields) - {"Debug"}


def test_a_word_has_a_chapter_and_one_answer() -> None:
    used = {chapter for words in [*UNBUILT.values(), *UNBUILT_WORDS.values()] for chapter in words.values()}
    used |= {chapter for _, chapter in UNBUILT_FORMS.values()}
    assert used <= set(CHAPTERS)
    for section in UNBUILT:
        assert not UNBUILT[section].keys() & INSTEAD.get(section, {}).keys()


def test_every_section_and_field_is_described() -> None:
    for name, found in structs().items():
        assert found.cls.__doc__
        for field in found.fields:
            said_of_it = getattr(field.type, "extra_json_schema", None) or {}
            assert str(said_of_it.get("description", "")).endswith("."), (name, field.name)


def test_no_pattern_stands_beside_a_mapping_or_list() -> None:
    # msgspec 0.22 keeps the pattern of a text and the types of a mapping or list in one place: it crashes when both
    # belong to one union, often not before the process ends.
    for name, found in structs().items():
        for field in found.fields:
            choices = [bare(each)[0] for each in options(bare(field.type)[0])]
            has_pattern = any(getattr(each, "pattern", None) for each in choices)
            assert not (
                has_pattern and any(hasattr(each, "value_type") or hasattr(each, "item_type") for each in choices)
            ), (
                name,
                field.name,
            )
