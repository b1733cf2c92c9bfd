"""`lb doctor`: one line for each thing, with the consequence of what is missing."""

from __future__ import annotations

import ctypes.util

import pytest
from click.testing import CliRunner

from lb.cli import machine, main


def test_doctor_names_everything_it_looked_at() -> None:
    done = CliRunner().invoke(main, ["doctor"], catch_exceptions=False)
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if not line.startswith("data plane")}
    wanted = {
        "kernel",
        "python",
        "uvloop",
        "cores",
        "descriptors",
        "pcre2",
        "libcrypto",
        *(each.name for each in machine.LIBRARIES),
    }
    assert set(lines) == wanted
    assert all(line.split()[1] in ("ok", "missing") for line in lines.values())


def test_a_library_that_is_missing_has_its_consequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    lines = CliRunner().invoke(main, ["doctor"], catch_exceptions=False).stdout.splitlines()
    (openssl,) = [line for line in lines if line.startswith("openssl")]
    assert openssl.split(maxsplit=2)[1:] == ["missing", "not installed; TLS cannot be built"]


def test_a_kernel_that_is_too_old_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "release", lambda: "3.10.0-1160.el7.x86_64")
    done = CliRunner().invoke(main, ["doctor"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "Linux 4.14 or newer is needed" in done.stdout
