"""`lb check`, `lb config`, `lb schema`, `lb version`: what they print and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import lb
from lb.cli import main

VALID = (
    'version: 1\nfrontends: {web: {bind: [":80"], default_backend: app}}\nbackends: {app: {servers: ["10.0.0.1:80"]}}\n'
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lb.yaml"
    path.write_text(VALID)
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in words], catch_exceptions=False)


def test_a_valid_file_is_said_to_be_valid(file: Path) -> None:
    done = call("check", "-f", file)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{file}: configuration is valid (1 frontend, 1 backend, 1 server)\n"


def test_every_error_is_told_on_standard_error(file: Path) -> None:
    file.write_text(VALID + "global: {workers: 99}\ndefaults: {retries: -1}\n")
    done = call("check", "-f", file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"{file}:4: global: 'workers' is 99; 0 to 64 are possible\n"
        f"{file}:5: defaults: 'retries' is -1; 0 to 100 are possible\n"
    )


def test_a_host_name_that_nobody_knows_is_told_with_its_line(file: Path) -> None:
    file.write_text(VALID.replace("10.0.0.1", "no-such-host.invalid"))
    done = call("check", "-f", file)
    assert done.exit_code == 1
    assert done.stderr.startswith(
        f"{file}:3: server 'app/no-such-host.invalid:80': host name 'no-such-host.invalid' cannot be resolved: "
    )


def test_a_backend_that_nobody_uses_is_a_warning(file: Path) -> None:
    file.write_text(VALID.replace("backends: {", 'backends: {idle: {servers: ["10.0.0.2:80"]}, '))
    done = call("check", "-f", file)
    assert done.exit_code == 0
    assert done.stderr == f"{file}:3: backend 'idle': no frontend uses it (warning)\n"


@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["check", "-f"],
        ["check", "file.yaml"],
        ["run"],
        ["config"],
        ["nonsense"],
        ["check", "-f", "a", "--nonsense"],
        ["version", "more"],
    ],
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    assert call(*words).exit_code == 2


def test_config_prints_what_was_written_with_variables_put_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LB_TEST_PORT", "8081")
    file.write_text(VALID.replace(":80", ":${LB_TEST_PORT}", 1))
    done = call("config", "-f", file, "--json")
    assert json.loads(done.stdout)["frontends"] == {"web": {"bind": [":8081"], "default_backend": "app"}}


def test_config_effective_says_everything_in_both_forms(file: Path, tmp_path: Path) -> None:
    as_json = json.loads(call("config", "-f", file, "--effective", "--json").stdout)
    server = {
        "address": "10.0.0.1:80",
        "name": "10.0.0.1:80",
        "weight": 1,
        "backup": False,
        "disabled": False,
        "pool": {"idle_timeout": "60s"},
        "tfo": False,
        "tcp_keepalive": False,
    }
    server |= {"check": False, "observe": "layer4", "error_limit": 3, "on_error": "mark-down", "send_proxy": "off"}
    assert as_json["backends"]["app"]["servers"] == [server]
    timeouts = {"connect": "5s", "server": "30s", "tunnel": "1h", "tarpit": "5s"}
    assert as_json["backends"]["app"]["timeouts"] == timeouts
    again = tmp_path / "again.yaml"
    again.write_text(call("config", "-f", file, "--effective").stdout)
    assert json.loads(call("config", "-f", again, "--effective", "--json").stdout) == as_json


def test_config_of_a_broken_file_is_its_errors(file: Path) -> None:
    file.write_text("version: 2\n")
    done = call("config", "-f", file, "--effective")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "version" in done.stderr


def test_schema_is_a_json_schema_without_test_devices() -> None:
    schema = json.loads(call("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "Debug" not in schema["$defs"]
    assert '"debug":' not in json.dumps(schema)  # the word itself is also a severity of syslog


def test_every_value_in_the_schema_may_be_a_variable() -> None:
    parts = json.loads(call("schema").stdout)["$defs"]
    variable = {"$ref": "#/$defs/Variable"}
    assert parts["Timeouts"]["properties"]["client"]["anyOf"][1] == variable
    assert parts["Timeouts"]["properties"]["client"]["default"] == "30s"
    assert parts["Global"]["properties"]["workers"]["anyOf"][2] == variable
    assert variable in parts["Frontend"]["properties"]["log"]["anyOf"]
    assert parts["Server"]["properties"]["address"] == {
        "description": parts["Server"]["properties"]["address"]["description"],
        "examples": ["10.0.0.1:8080", "app.internal:8080"],
        "type": "string",
        "minLength": 1,
    }


def test_version_is_the_package_s() -> None:
    assert call("version").stdout == call("--version").stdout == call("-v").stdout == f"lb {lb.__version__}\n"


def test_help_names_every_command() -> None:
    said = call("--help").stdout
    assert all(word in said for word in main.commands)


@pytest.mark.parametrize("command", ["version", "check"])
def test_start_up_imports_nothing_it_does_not_need(command: str, file: Path) -> None:
    code = (
        "import sys; sys.argv = ['lb', *sys.argv[1:]]\n"
        "from lb.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(*sorted(sys.modules))"
    )
    words = [command, "-f", str(file)] if command == "check" else [command]
    done = subprocess.run([sys.executable, "-P", "-c", code, *words], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {
        "asyncio",
        "uvloop",
        "aiohttp",
        "rich",
        "orjson",
        "concurrent.futures",
        "lb._speedups.face.plan",
    }
    if command == "version":
        assert not loaded & {"msgspec", "yaml", "lb.config", "lb.model"}
