"""How `lb install` makes the user, and where it finds the program."""

from __future__ import annotations

import pwd
import sys
from pathlib import Path

import pytest

from lb.cli import installation


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def tool(directory: Path, name: str, status: int = 0) -> Path:
    """Make a program that notes its arguments; return where."""
    noted = directory / f"{name}.noted"
    program = directory / name
    program.write_text(f'#!/bin/sh\necho "$*" >{noted}\necho told why >&2\nexit {status}\n')
    program.chmod(0o755)
    return noted


def no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def getpwnam(name: str) -> object:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)


def test_a_user_that_is_there_is_left_alone(
    tools: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = tool(tools, "systemd-sysusers")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: object())
    installation._make_user()
    assert not noted.exists()
    assert capsys.readouterr().out == "there already: user lb\n"


def test_systemd_makes_the_user(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_user(monkeypatch)
    noted, other = tool(tools, "systemd-sysusers"), tool(tools, "useradd")
    installation._make_user()
    assert noted.read_text() == "/etc/sysusers.d/lb.conf\n"
    assert not other.exists()


def test_useradd_makes_it_where_systemd_cannot(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_user(monkeypatch)
    noted = tool(tools, "useradd")
    installation._make_user()
    assert noted.read_text().startswith("--system --user-group ")


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (1, "user 'lb' cannot be made: useradd: told why; the files are written\n"),
        (None, "user 'lb' cannot be made: neither systemd-sysusers nor useradd is here; the files are written\n"),
    ],
)
def test_a_user_that_cannot_be_made_is_told(
    tools: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int | None,
    line: str,
) -> None:
    no_user(monkeypatch)
    if status is not None:
        tool(tools, "useradd", status)
    with pytest.raises(SystemExit):
        installation._make_user()
    assert capsys.readouterr().err == line


def test_the_program_is_the_one_that_was_called(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools, "lb")
    monkeypatch.setattr(sys, "argv", ["lb"])
    monkeypatch.setattr(installation, "HIDDEN", ())
    assert installation._program(None) == str(tools / "lb")


def test_without_a_program_it_is_asked_for(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(tools / "__main__.py")])
    with pytest.raises(SystemExit):
        installation._program(None)


def test_a_program_whose_python_is_hidden_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/python3").touch()
    (tmp_path / "python3").symlink_to(tmp_path / "hidden/python3")
    program = tmp_path / "lb"
    program.write_text(f"#!{tmp_path}/python3 -P\n")
    program.chmod(0o755)
    monkeypatch.setattr(installation, "HIDDEN", ())
    assert installation._program(str(program)) == str(program)
    monkeypatch.setattr(installation, "HIDDEN", (f"{tmp_path}/hidden",))
    with pytest.raises(SystemExit):
        installation._program(str(program))
    assert f"its Python {tmp_path}/hidden/python3 is below {tmp_path}/hidden, " in capsys.readouterr().err
