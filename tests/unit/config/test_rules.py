"""Rules in a configuration: what is refused, and how it is said."""

from __future__ import annotations

from typing import Any

import pytest

from lb.config import ConfigError, compile  # noqa: A004


def messages(rules: list[Any], **frontend: Any) -> list[str]:
    document = {
        "version": 1,
        "frontends": {"web": {"bind": [":80"], "rules": rules, "default_backend": "app", **frontend}},
        "backends": {"app": {"servers": ["10.0.0.1:80"]}},
    }
    try:
        compile(document)
    except ConfigError as error:
        return [str(each) for each in error.errors]
    return []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "rules, rule 1: has no action"),
        ({"deny": 403, "allow": True}, "has two actions: 'allow' and 'deny'"),
        ({"deny": 403, "if": "TRUE", "unless": "TRUE"}, "has 'if' and 'unless'"),
        ({"deny": 200}, "200 is not an error"),
        ({"deny": False}, "'deny' takes 'true'"),
        ({"allow": False}, "'allow' takes 'true'"),
        (
            {"deny": 403, "if": "{ mehtod GET }"},
            "'if': unknown fetch 'mehtod' (at character 3); did you mean 'method'?",
        ),
        ({"deny": 403, "if": "{ status 200 }"}, "looks at a response"),
        ({"set_status": 500}, "'set_status' belongs into 'response_rules'"),
        ({"set_header": ["content-length", "1"]}, "says how messages are framed"),
        ({"set_header": ["a b", "1"]}, "cannot be the name of a header"),
        ({"set_header": ["a", "1\n2"]}, "control character"),
        ({"set_header": ["a", "%[srk]"]}, "unknown fetch 'srk'"),
        ({"set_path": "x"}, "does not begin with '/'"),
        ({"set_path": "/x?y"}, "write 'set_pathq'"),
        ({"set_query": "a b"}, "percent-encoded"),
        ({"set_method": "HEAD"}, "changes how answers are framed"),
        ({"use_backend": "ap"}, "unknown backend 'ap'; did you mean 'app'?"),
        ({"tarpit": 302}, "302 is not an error"),
        ({"capture": True}, "known but not built yet"),
        ({"denny": 403}, "unknown keyword 'denny'"),
    ],
)
def test_a_wrong_rule_is_refused(rule: dict[str, Any], message: str) -> None:
    found = messages([rule])
    assert any(message in each for each in found), found


def test_every_mistake_is_told_in_one_run() -> None:
    found = messages([{"deny": 403, "if": "{ srk }"}, {"set_path": "x"}], acls={"a": "src 1.2.3.4/99"})
    assert len(found) == 3


def test_rules_need_mode_http() -> None:
    found = messages([{"deny": 403}], mode="tcp")
    assert any("'rules' needs mode http" in each for each in found)


def test_a_frontend_that_answers_by_rules_alone_leads_somewhere() -> None:
    document = {"version": 1, "frontends": {"web": {"bind": [":80"], "rules": [{"deny": 403}]}}, "backends": {}}
    assert compile(document).rows.program is not None


def test_a_backend_that_only_a_rule_uses_is_used() -> None:
    document = {
        "version": 1,
        "frontends": {"web": {"bind": [":80"], "rules": [{"use_backend": "app"}]}},
        "backends": {"app": {"servers": ["10.0.0.1:80"]}},
    }
    assert compile(document).warnings == []
