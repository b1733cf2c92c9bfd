"""`lb install`: below a directory of the test's own, and what systemd says of the units."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kit.programs import need, own_environment

import lb.config
from lb.cli.installation import SERVICE, SOCKET

CONF = Path(__file__).parents[3] / "conf"
UNITS = "etc/systemd/system"


def install(*words: object, status: int = 0, umask: int = -1) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lb", "install", *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def found_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_everything_is_written_below_root(tmp_path: Path) -> None:
    said = install("--root", tmp_path, "--program", "/usr/bin/lb", umask=0o077).stdout
    assert found_in(tmp_path) == {f"{UNITS}/lb.service", "etc/sysusers.d/lb.conf", "etc/lb/lb.yaml"}
    assert f"writing: {tmp_path}/etc/lb/lb.yaml\n" in said
    assert said.endswith("  systemctl enable --now lb\n")
    # The service's user reads these.
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    lb.config.effective(lb.config.load(str(tmp_path / "etc/lb/lb.yaml")))


def test_with_a_socket_unit_the_example_takes_its_socket(tmp_path: Path) -> None:
    said = install("--root", tmp_path, "--program", "/usr/bin/lb", "--socket").stdout
    assert f"{UNITS}/lb.socket" in found_in(tmp_path)
    assert said.endswith("  systemctl enable --now lb.socket\n")
    configuration = lb.config.load(str(tmp_path / "etc/lb/lb.yaml"))
    lb.config.effective(configuration)
    assert configuration.frontends["web"].bind == ("fd@web",)
    assert "\nFileDescriptorName=web\n" in (tmp_path / UNITS / "lb.socket").read_text()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    said = install("--root", tmp_path, "--program", "/usr/bin/lb", "--dry-run").stdout.splitlines()
    assert said[0] == f"would write: {tmp_path}/{UNITS}/lb.service"
    assert list(tmp_path.iterdir()) == []


def test_again_changes_nothing_and_brings_what_is_missing(tmp_path: Path) -> None:
    words = ("--root", tmp_path, "--program", "/usr/bin/lb")
    install(*words)
    mine = tmp_path / "etc/lb/lb.yaml"
    mine.write_text("version: 1 # mine\n")
    (tmp_path / "etc/sysusers.d/lb.conf").unlink()
    said = install(*words).stdout
    assert f"there already: {mine}\n" in said
    assert f"writing: {tmp_path}/etc/sysusers.d/lb.conf\n" in said
    assert mine.read_text() == "version: 1 # mine\n"


def test_what_is_there_and_different_is_never_written_over(tmp_path: Path) -> None:
    unit = tmp_path / UNITS / "lb.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/usr/sbin/mine\n")
    done = install("--root", tmp_path, "--program", "/usr/bin/lb", status=1)
    assert done.stderr == (
        f"'{unit}': is there and is not what lb would write\n"
        "nothing was written; move it away, or change the service with: systemctl edit lb\n"
    )
    assert found_in(tmp_path) == {f"{UNITS}/lb.service"}


def test_no_link_is_followed(tmp_path: Path) -> None:
    aim = tmp_path / "precious"
    (tmp_path / "etc/lb").mkdir(parents=True)
    (tmp_path / "etc/lb/lb.yaml").symlink_to(aim)
    install("--root", tmp_path, "--program", "/usr/bin/lb", status=1)
    assert not aim.exists()
    assert found_in(tmp_path) == set()
    aim.write_text("version: 1 # elsewhere\n")
    install("--root", tmp_path, "--program", "/usr/bin/lb")
    assert aim.read_text() == "version: 1 # elsewhere\n"


def test_what_was_written_before_a_failure_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/lb").write_text("no directory")
    done = install("--root", tmp_path, "--program", "/usr/bin/lb", status=1)
    assert done.stderr.endswith("; nothing was installed\n")
    assert found_in(tmp_path) == {"etc/lb"}
    assert not (tmp_path / "etc/systemd").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--root", "/nowhere"], "--root '/nowhere': is not a directory; make it first"),
        (
            ["--root", "ROOT", "--program", "/home/me/bin/lb"],
            "program '/home/me/bin/lb': it is below /home, which the service does not see; ",
        ),
        (
            ["--root", "ROOT", "--program", "/opt/my lb/lb"],
            "program '/opt/my lb/lb': a unit takes it only without blanks",
        ),
    ],
)
def test_a_refusal_is_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    done = install(*(word.replace("ROOT", str(tmp_path)) for word in words), status=1)
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_units_in_conf_are_those_that_are_installed() -> None:
    assert (CONF / "lb.service").read_text() == SERVICE.substitute(program="/usr/bin/lb")
    assert (CONF / "lb.socket").read_text() == SOCKET


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = need("systemd-analyze")
    # It wants a program that is there.
    install("--root", tmp_path, "--socket", "--program", "/bin/true")
    units = [str(tmp_path / UNITS / name) for name in ("lb.service", "lb.socket")]
    done = subprocess.run(
        [analyze, "verify", *units],
        stdin=subprocess.DEVNULL,
        env=own_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
