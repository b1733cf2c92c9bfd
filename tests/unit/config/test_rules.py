"""Rules in a configuration: what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path
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
        ({"replace_path": ["(", "/x"]}, "'replace_path': '(' is no regular expression: missing closing parenthesis"),
        ({"replace_path": ["a", "/x\\"]}, "ends in a backslash"),
        ({"replace_header": ["a", "b", "\\xg0"]}, "needs two hexadecimal digits"),
        ({"replace_header": ["te", "b", "c"]}, "says how messages are framed"),
        ({"replace_header": ["a", "b"]}, "replace_header"),
        ({"set_uri": "x"}, "is no address"),
        ({"set_uri": "http://"}, "is no address"),
        ({"normalize_uri": "path-strip-dots"}, "unknown normalizer 'path-strip-dots'; did you mean 'path-strip-dot'?"),
        ({"normalize_uri": "path-strip-dotdot strict"}, "write 'path-strip-dotdot full' or 'path-strip-dotdot'"),
        ({"normalize_uri": "path-merge-slashes full"}, "nothing follows it"),
        ({"set_header": ["a", "%[path,regsub([,x)]"]}, "missing terminating ]"),
        ({"deny": 403, "if": "{ path_reg ^/( }"}, "missing closing parenthesis"),
        ({"capture": {"expression": "src"}}, "needs one of 'len' and 'id'"),
        ({"capture": {"expression": "src", "id": 0}}, "there is no slot 0; 0 are declared"),
        ({"set_var": ["x", "src"]}, "'x' is not the name of a variable"),
        ({"set_var": ["txn.x,ifnot", "src"]}, "unknown condition 'ifnot'"),
        ({"unset_var": "txn.x,ifset"}, "'unset_var' takes no condition"),
        ({"set_bandwidth_limit": "x"}, "known but not built yet"),
        ({"denny": 403}, "unknown keyword 'denny'"),
    ],
)
def test_a_wrong_rule_is_refused(rule: dict[str, Any], message: str) -> None:
    found = messages([rule])
    assert any(message in each for each in found), found


def test_every_mistake_is_told_in_one_run() -> None:
    found = messages([{"deny": 403, "if": "{ srk }"}, {"set_path": "x"}], acls={"a": "src 1.2.3.4/99"})
    assert len(found) == 3


def test_in_mode_tcp_rules_choose_backends_and_nothing_else() -> None:
    found = messages([{"deny": 403}], mode="tcp")
    assert any("in mode tcp 'rules' choose backends and do nothing else" in each for each in found)
    assert not messages([{"use_backend": "app", "if": "{ req.ssl_sni -i a.example }"}], mode="tcp")


@pytest.mark.parametrize(
    ("mode", "phase", "rule", "said"),
    [
        ("http", "connection_rules", {"reject": True, "if": "{ path / }"}, "looks at a request, and none is read yet"),
        (
            "tcp",
            "content_rules",
            {"reject": True, "if": "{ path / }"},
            "looks at a request, and there are none in mode tcp",
        ),
        ("tcp", "session_rules", {"reject": True, "if": "{ req.len 0 }"}, "and none is read yet"),
        ("http", "content_rules", {"reject": True, "if": "{ req.len 0 }"}, "and mode http has messages"),
        ("tcp", "content_rules", {"reject": True, "if": "{ res.len 0 }"}, "looks at bytes of the server"),
        ("tcp", "content_rules", {"deny": 403}, "'deny' belongs into 'rules'"),
        ("tcp", "content_rules", {"expect_proxy": "layer4"}, "'expect_proxy' belongs into 'connection_rules'"),
        ("http", "rules", {"accept": True}, "'accept' belongs into 'connection_rules'"),
        ("http", "content_rules", {"allow": True}, "'allow' belongs into 'rules'"),
        ("http", "after_response_rules", {"deny": 502}, "'deny' belongs into 'rules'"),
        ("http", "rules", {"wait_for_body": "0s"}, "'wait_for_body' needs a time above 0"),
        ("http", "rules", {"wait_for_body": {"time": "1s", "at_least": "64k"}}, "at most 15360 bytes"),
        ("tcp", "response_rules", {"deny": 502}, "'response_rules' needs mode http"),
        ("tcp", "after_response_rules", {"allow": True}, "'after_response_rules' needs mode http"),
        ("tcp", "content_rules", {"accept": True, "if": "{ req.payload_lv(0,9) -m found }"}, "9 is out of range"),
    ],
)
def test_phases_take_what_is_theirs(mode: str, phase: str, rule: dict[str, Any], said: str) -> None:
    found = messages(**{"rules": [], phase: [rule]}, mode=mode)
    assert any(said in each for each in found), found


def test_bytes_of_servers_are_for_backends_of_mode_tcp() -> None:
    rules = [{"reject": True, "if": "{ res.payload(0,1) -m found }"}]
    app = {"servers": ["10.0.0.1:80"], "response_content_rules": rules, "response_inspect_delay": "1s"}
    frontend = {"mode": "tcp", "bind": [":80"], "default_backend": "app"}
    compile({"version": 1, "frontends": {"web": frontend}, "backends": {"app": app}})
    with pytest.raises(ConfigError, match="'response_content_rules' needs mode tcp"):
        compile({"version": 1, "frontends": {"web": {**frontend, "mode": "http"}}, "backends": {"app": app}})


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


def filed(tmp_path: Path, condition: str) -> list[str]:
    """Return what is wrong with a configuration in this folder whose rule has this condition."""
    file = tmp_path / "lb.yaml"
    file.write_text(
        'version: 1\nfrontends: {web: {bind: [":80"], default_backend: app, rules: [{deny: 403, if: "CONDITION"}]}}\n'
        'backends: {app: {servers: ["10.0.0.1:80"]}}\n'.replace("CONDITION", condition)
    )
    try:
        compiled = compile(file)
    except ConfigError as error:
        return [str(each) for each in error.errors]
    assert compiled.rows.program is not None
    return [f"{each.name}: {len(each.entries or ())}" for each in compiled.references] + [
        word.decode() for found in compiled.rows.program.sets for word in found.words
    ]


def test_patterns_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "paths").write_text("# what is closed\n/a\n\n  /b c \r\n/ü\n")
    (tmp_path / "ports").write_text("1:9\n12\n")
    assert filed(tmp_path, "{ path_beg -f paths /z }") == ["paths: 3", "/z"]
    assert filed(tmp_path, f"{{ src_port -f {tmp_path}/ports }}") == [f"{tmp_path}/ports: 2"]
    assert filed(tmp_path, "{ path_beg -f paths } { path_end -i -f paths }") == ["paths: 3"]
    (tmp_path / "empty").write_text("# nothing yet\n")
    assert filed(tmp_path, "{ path -f empty }") == ["empty: 0"]
    assert filed(tmp_path, "{ path -u 7 /a /b }") == [": 2"]


def test_a_pattern_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("1.2.3.4\nnobody\n")
    assert "'nope' cannot be read: no such file" in filed(tmp_path, "{ path -f nope }")[0]
    assert "'bad', line 2: 'nobody' is not an address" in filed(tmp_path, "{ src -f bad }")[0]
    assert "'-M' belongs to a file" in filed(tmp_path, "{ path -M /a }")[0]
    assert "takes no pattern" in filed(tmp_path, "{ path -m found -f bad }")[0]
    assert "'-u' needs a number" in filed(tmp_path, "{ path -u x /a }")[0]
    assert "the id 7 is taken" in filed(tmp_path, "{ path -u 7 /a } { path -u 7 /b }")[0]


def test_a_rule_knows_its_line_when_somebody_may_ask(tmp_path: Path) -> None:
    file = tmp_path / "lb.yaml"
    text = """version: 1
frontends:
  web:
    bind: [":80"]
    rules:
      - deny: 403
        if: "{ path /a }"

      - {allow: true, if: "{ path /b }"}
    response_rules:
      - {set_header: [x, "%[status]"]}
    default_backend: app
backends: {app: {servers: ["10.0.0.1:80"]}}
"""
    file.write_text(text)
    program = compile(file).rows.program
    assert program is not None
    assert [row.line for row in program.rules] == [0, 0, 0]
    file.write_text(text.replace("%[status]", "%[last_rule_line]"))
    program = compile(file).rows.program
    assert program is not None
    assert [row.line for row in program.rules] == [6, 9, 11]


def test_a_map_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("/a 1\n/b x\n")
    (tmp_path / "acl").write_text("/a\n")
    assert filed(tmp_path, "{ path,map(m,none) x } { path,map_end(m) 1 } { path -M -f m }")[0] == "m: 2"
    assert "'m', line 2: 'x' is not a whole number" in filed(tmp_path, "{ path,map_str_int(m) 1 }")[0]
    assert "'m', line 1: '/a' is not a number or a range" in filed(tmp_path, "{ src_port,map_int(m) x }")[0]
    assert "'m', line 1: '1' is not an address" in filed(tmp_path, "{ path,map_str_ip(m) 1.2.3.4 }")[0]
    assert "'map_str_ip' needs an address, not 'none'" in filed(tmp_path, "{ path,map_str_ip(m,none) 1.2.3.4 }")[0]
    assert "'map_str_int' needs a number, not 'none'" in filed(tmp_path, "{ path,map_str_int(m,none) 1 }")[0]
    assert "'none' cannot be read" in filed(tmp_path, "{ path,map(none) x }")[0]
    assert "'m' is a map elsewhere" in filed(tmp_path, "{ path,map(m) x } { path -f m }")[0]
    assert "'acl' is an ACL file elsewhere" in filed(tmp_path, "{ path -f acl } { path,map(acl) x }")[0]


def test_a_rule_changes_only_what_some_rule_reads(tmp_path: Path) -> None:
    (tmp_path / "m.map").write_text("")
    file = tmp_path / "lb.yaml"

    def told(*rules: str) -> list[str]:
        file.write_text(
            'version: 1\nfrontends: {web: {bind: [":80"], default_backend: app, rules: [RULES]}}\n'
            'backends: {app: {servers: ["10.0.0.1:80"]}}\n'.replace("RULES", ", ".join(rules))
        )
        try:
            compile(file)
        except ConfigError as error:
            return [str(each) for each in error.errors]
        return []

    change = '{set_map: [m.map, "%[src]", "%[path]"]}'
    assert told(change, '{deny: 403, if: "{ src,map_ip(m.map) -m found }"}') == []
    assert "rules, rule 1: 'set_map': no map and no ACL reads 'm.map'" in told(change)[0]
    near = told('{del_map: [n.map, "%[src]"]}', '{deny: 403, if: "{ src,map_ip(m.map) -m found }"}')
    assert "did you mean 'm.map'?" in near[0]
    assert "set_map" in told('{set_map: [m.map, "%[src]"]}')[0]
