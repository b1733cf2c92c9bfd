from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys

import pytest

import lb
import lb._speedups

DOOR = "lb._speedups.face.testing"


@pytest.mark.smoke
def test_every_compiled_module_imports() -> None:
    found = [module.name for module in pkgutil.walk_packages(lb._speedups.__path__, "lb._speedups.")]
    assert "lb._speedups.base.clock" in found
    for name in found:
        importlib.import_module(name)


@pytest.mark.smoke
def test_the_release_has_no_door_for_tests(flavour: str) -> None:
    door = importlib.util.find_spec(DOOR)
    assert (door is None) == (flavour == "release")


def test_a_broken_invariant_names_its_place_and_aborts(flavour: str) -> None:
    if flavour == "release":
        pytest.skip("LB_ASSERT is compiled out")
    script = f"from {DOOR} import check_invariant as c; c(True); c(False)"
    ended = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == -6
    (line,) = [line for line in ended.stderr.splitlines() if "invariant failed" in line]
    assert line.startswith("lb/_speedups/face/testing.pyx:")
