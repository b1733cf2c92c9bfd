"""Reading: formats agree, the fast way and the careful way agree, everything is found at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from lb.config import ConfigError, Diagnostic, effective, load
from lb.config.yamltext import write
from lb.model import Bind, Configuration, Pool, Server

LEAST = {
    "version": 1,
    "frontends": {"web": {"bind": [":80"], "default_backend": "app"}},
    "backends": {"app": {"servers": ["10.0.0.1:80"]}},
}


def said(given: object, environ: dict[str, str] | None = None) -> list[Diagnostic]:
    with pytest.raises(ConfigError) as caught:
        load(given, environ or {})  # type: ignore[arg-type]
    return caught.value.errors


def test_every_format_gives_the_same_configuration(tmp_path: Path) -> None:
    yaml = tmp_path / "a.yaml"
    yaml.write_text(write(LEAST))
    as_json = tmp_path / "a.json"
    as_json.write_text(json.dumps(LEAST))
    toml = tmp_path / "a.toml"
    toml.write_text(
        'version=1\n[frontends.web]\nbind=[":80"]\ndefault_backend="app"\n[backends.app]\nservers=["10.0.0.1:80"]'
    )
    bare = tmp_path / "lb.conf"
    bare.write_text(write(LEAST))
    assert load(yaml) == load(as_json) == load(toml) == load(bare) == load(LEAST)


def test_a_mapping_is_told_without_lines() -> None:
    errors = said({**LEAST, "global": {"workers": 99}})
    assert [str(each) for each in errors] == ["configuration: global: 'workers' is 99; 0 to 64 are possible"]


def test_a_mapping_is_not_changed() -> None:
    given = {**LEAST, "global": {"workers": "${N}"}}
    assert load(given, {"N": "3"}).global_.workers == 3
    assert given["global"] == {"workers": "${N}"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({**LEAST, 5: 1}, "unknown keyword '5'"),
        ({**LEAST, "backends": {7: {"servers": ["10.0.0.1:80"]}}}, "name '7' is not a text"),
        ({**LEAST, "global": {"workers": object()}}, "not a value of type object"),
        ({**LEAST, "global": {"grace": b"5s"}}, "not a value of type bytes"),
    ],
)
def test_a_mapping_of_strange_values_is_refused_in_words(given: dict[str, object], message: str) -> None:
    assert any(message in each.message for each in said(given))


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (error,) = said(tmp_path / "none.yaml")
    assert (
        str(error)
        == f"{tmp_path}/none.yaml: file: cannot be read: no such file or directory; give the path of a readable file"
    )


def test_a_directory_is_one_line(tmp_path: Path) -> None:
    (error,) = said(tmp_path)
    assert (error.message, error.hint) == ("is a directory", "give one file")


def test_a_haproxy_cfg_is_known_but_not_built(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text("global\n")
    (error,) = said(file)
    assert error.message == "a haproxy.cfg is known but not built yet"


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"version: 1\nglobal: {grace: \xff}\n")
    (error,) = said(file)
    assert (error.line, error.message) == (2, "byte 0xff is not UTF-8")


def test_a_control_character_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"version: 1\nglobal: {grace: \x01}\n")
    (error,) = said(file)
    assert error.line == 2
    assert "control character" in error.message


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + write(LEAST).encode())
    assert load(file) == load(LEAST)


@pytest.mark.parametrize("ending", ["yaml", "json", "toml"])
def test_dos_line_ends_do_not_move_lines(ending: str, tmp_path: Path) -> None:
    text = {
        "yaml": "version: 1\r\nglobal:\r\n  workers: 99\r\n",
        "json": '{"version": 1,\r\n "global":\r\n {"workers": 99}}',
        "toml": "version = 1\r\n[global]\r\nworkers = 99\r\n",
    }[ending]
    file = tmp_path / f"a.{ending}"
    file.write_bytes(text.encode())
    assert {each.line for each in said(file) if "workers" in each.message} == {3}


def test_nothing_a_user_writes_reaches_the_terminal_raw(tmp_path: Path) -> None:
    errors = said({**LEAST, "\x1b[31mred": 1, "backends": {"a\nb": {"servers": ["x\r:\x00"]}}})
    assert errors
    assert all(str(each).isprintable() for each in errors)


def test_a_long_text_is_cut() -> None:
    (error,) = said({**LEAST, "global": {"grace": "x" * 5000}})
    assert len(str(error)) < 250


def test_deep_nesting_is_refused_and_not_followed(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"version": ' + "[" * 500 + '"${X}"' + "]" * 500 + "}")
    assert said(file)
    file.write_text('{"version": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert [each.message for each in said(file)] == ["is nested deeper than 64 levels"]


def test_debug_is_taken_only_with_leave() -> None:
    given = {
        "version": 1,
        "frontends": {
            "web": {"bind": [{"address": ":80", "debug": {"transport": "twisted"}}], "default_backend": "app"}
        },
        "backends": {"app": {"servers": [{"address": "10.0.0.1:80", "debug": {"codec": "mux"}}]}},
    }
    assert len(said(given)) == 2
    loaded = load(given, {"LB_DEBUG_CONFIG": "1"})
    bind = loaded.frontends["web"].bind[0]
    assert isinstance(bind, Bind)
    assert bind.debug
    assert sum("debug" in str(each) for each in said({**given, "global": {"workers": 99}})) == 2
    only = said({**given, "global": {"workers": 99}}, {"LB_DEBUG_CONFIG": "1"})
    assert ["workers" in str(each) for each in only] == [True]


def test_the_effective_form_says_everything_and_is_stable() -> None:
    configuration = load(
        {
            "version": 1,
            "defaults": {
                "timeouts": {"client": "7s", "connect": "8s"},
                "retries": 9,
                "http_connection": "close",
            },
            "frontends": {
                "web": {"bind": [":80"], "default_backend": "app", "timeouts": {"http_request": "1s"}},
                "raw": {"mode": "tcp", "bind": ["unix@/run/raw.sock"], "default_backend": "db"},
            },
            "backends": {
                "app": {
                    "servers": ["10.0.0.1:80", {"address": "[0:0::1]:80", "weight": 5}],
                    "timeouts": {"server": "2s"},
                },
                "db": {"servers": ["/run/db.sock"], "retries": 1},
            },
        }
    )
    whole = effective(configuration)
    assert whole.frontends["web"].timeouts.client == "7s"
    assert whole.frontends["web"].timeouts.http_request == "1s"
    assert whole.frontends["web"].bind == (Bind(address="0.0.0.0:80", name=":80"),)
    assert whole.frontends["raw"].bind == (Bind(address="unix@/run/raw.sock", name="raw.sock"),)
    assert whole.backends["app"].mode == "http"
    assert whole.backends["db"].mode == "tcp"
    assert whole.backends["app"].servers[1] == Server(
        address="[::1]:80",
        name="::1:80",
        weight=5,
        check=False,
        observe="layer4",
        error_limit=3,
        on_error="mark-down",
        pool=Pool(idle_timeout="60s"),
        tfo=False,
        tcp_keepalive=False,
        send_proxy="off",
    )
    assert (whole.frontends["web"].http_connection, whole.frontends["raw"].http_connection) == ("close", UNSET)
    app, db = whole.backends["app"], whole.backends["db"]
    assert (app.http_reuse, app.http_connection, app.pool) == ("safe", "server-close", Pool(idle_timeout="60s"))
    assert (db.http_reuse, db.http_connection, db.pool) == (UNSET, UNSET, Pool())
    assert (whole.backends["app"].timeouts.connect, whole.backends["app"].timeouts.server) == ("8s", "2s")
    assert (whole.backends["app"].retries, whole.backends["db"].retries) == (9, 1)
    assert effective(whole) == whole


def test_the_effective_form_is_a_valid_document(tmp_path: Path) -> None:
    import msgspec

    whole = effective(load(LEAST))
    file = tmp_path / "whole.yaml"
    file.write_text(write(msgspec.to_builtins(whole)))
    assert load(file) == whole
    assert isinstance(load(file), Configuration)


def test_more_objects_than_there_are_ids_for_are_refused() -> None:
    servers = [f"10.{n // 65536}.{n // 256 % 256}.{n % 256}:80" for n in range(65_533)]
    many = {**LEAST, "backends": {"app": {"servers": servers}}}
    (error,) = said(many)
    assert error.message == "65536 frontends, binds, backends and servers are given; at most 65535 are possible"
    servers.pop()
    load(many)


CONF = Path(__file__).resolve().parents[3] / "conf"


def test_the_complete_example_uses_every_keyword() -> None:
    from msgspec.inspect import type_info

    from lb.config.shape import bare, options
    from lb.config.yamltext import decode

    known: set[tuple[str, str]] = set()
    used: set[tuple[str, str]] = set()

    def look(kind: Any, value: Any) -> None:
        for choice in options(bare(kind)[0]):
            base = bare(choice)[0]
            if hasattr(base, "fields") and isinstance(value, dict):
                names = {each.encode_name: each for each in base.fields if not bare(each.type)[1].hidden}
                known.update((base.cls.__name__, name) for name in names)
                used.update((base.cls.__name__, name) for name in names if name in value)
                for name, each in names.items():
                    look(each.type, value.get(name))
            elif hasattr(base, "value_type") and isinstance(value, dict):
                for inner in value.values():
                    look(base.value_type, inner)
            elif hasattr(base, "item_type") and isinstance(value, list):
                for inner in value:
                    look(base.item_type, inner)

    document = decode((CONF / "complete.yaml").read_text())
    look(type_info(Configuration), document)
    assert ("Reply", "headers") in used
    assert known - used == set()


def test_the_three_minimal_examples_are_one_configuration() -> None:
    assert load(CONF / "minimal.yaml") == load(CONF / "minimal.toml") == load(CONF / "minimal.json")


def test_a_document_that_is_one_variable_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text('"${X}"')
    with pytest.raises(ConfigError, match="must be a mapping, not '5'"):
        load(file, {"X": "5"})


def test_variables_behind_strange_keys_do_not_matter() -> None:
    errors = said({**LEAST, "frontends": {1.5: {"mode": "${X}"}, 2: {"mode": "${X}"}}}, {"X": "http"})
    assert {each.message for each in errors} >= {"name '1.5' is not a text", "name '2' is not a text"}


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"version": 1,\n"frontends": {"web": {"rules": [{"deny": true, "if": "{ path \\ud83d }"}]}}}')
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert "a.json:2: json: '\\u' with half of a surrogate pair" in str(caught.value)
    file.write_text(file.read_text().replace("ud83d", "ud83d\\ude00"))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert "surrogate" not in str(caught.value)
