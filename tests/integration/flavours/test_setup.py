"""setup.py on a tree of three small modules: what is made, what is made again, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

LOW_PXD = """
cdef extern from "lb.h" nogil:
    const bint LB_DEBUG
cdef inline int low_twice(int x) noexcept nogil:
    return 2 * x
cdef int low_half(int x) noexcept nogil
"""
LOW = """
cdef int low_half(int x) noexcept nogil:
    return x // 2
"""
HIGH = """
from lb._speedups.base.low cimport low_half, low_twice
def answer(x):
    return low_half(low_twice(x))
"""
ALONE = "def nothing():\n    return None\n"
HINT = """
cdef void raises(int x) except * nogil:
    if x:
        with gil:
            raise ValueError(x)
cdef int calls(int x) noexcept nogil:
    raises(x)
    return x
"""


class Tree:
    def __init__(self, top: Path) -> None:
        self.top = top
        for name in ("setup.py", "pyproject.toml", "README.md", "lb/__init__.py", "lb/_speedups/lb.h"):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, top / name)
        for name in ("__init__.py", "base/__init__.py", "face/__init__.py"):
            self.write(name, "")
        self.write("base/low.pxd", LOW_PXD)
        self.write("base/low.pyx", LOW)
        self.write("face/high.pyx", HIGH)
        self.write("face/testing_alone.pyx", ALONE)

    def write(self, name: str, text: str) -> None:
        path = self.top / "lb/_speedups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def build(self, flavour: str = "debug") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "setup.py", "-q", "build"],
            cwd=self.top,
            env={key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ} | {"LB_FLAVOUR": flavour},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def translated(self, flavour: str = "debug") -> set[str]:
        """Build; return the modules that Cython read."""
        ended = self.build(flavour)
        assert ended.returncode == 0, ended.stderr
        return {Path(line.split()[1]).stem for line in ended.stdout.splitlines() if line.startswith("cython ")}

    def built(self, flavour: str = "debug") -> dict[str, int]:
        """Return the extensions of a flavour and when each was made."""
        found = (self.top / "build" / flavour / "lib").rglob("*.so")
        return {path.name.partition(".")[0]: path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    assert tree.translated() == {"low", "high", "testing_alone"}
    return tree


def test_a_built_tree_works_and_nothing_lies_beside_the_sources(tree: Tree) -> None:
    script = "from lb._speedups.face.high import answer; print(answer(21))"
    environment = {"PYTHONPATH": str(tree.top / "build/debug/lib")}
    answer = subprocess.run([sys.executable, "-P", "-c", script], env=environment, capture_output=True, check=True)
    assert answer.stdout == b"21\n"
    beside = {path.suffix for path in (tree.top / "lb").rglob("*.*")}
    assert beside == {".py", ".pyx", ".pxd", ".h"}


def test_nothing_is_made_twice(tree: Tree) -> None:
    tree.translated()
    before = tree.built()
    assert tree.translated() == set()
    assert tree.built() == before


def test_a_changed_header_is_read_again_by_those_who_cimport_it(tree: Tree) -> None:
    tree.write("base/low.pxd", LOW_PXD + "# changed\n")
    assert tree.translated() == {"low", "high"}


def test_a_changed_c_header_compiles_everything_and_translates_nothing(tree: Tree) -> None:
    before = tree.built()
    tree.write("lb.h", (ROOT / "lb/_speedups/lb.h").read_text() + "/* changed */\n")
    assert tree.translated() == set()
    after = tree.built()
    assert all(after[name] > before[name] for name in before)


def test_a_module_that_went_away_leaves_the_built_tree(tree: Tree) -> None:
    tree.write("face/gone.pyx", ALONE)
    tree.translated()
    assert "gone" in tree.built()
    (tree.top / "lb/_speedups/face/gone.pyx").unlink()
    tree.translated()
    assert "gone" not in tree.built()


def test_the_release_leaves_out_the_doors_for_tests(tree: Tree) -> None:
    assert tree.translated("release") == {"low", "high"}
    assert set(tree.built("release")) == {"low", "high"}


def test_a_nogil_function_that_takes_the_gil_fails_every_build(tree: Tree) -> None:
    tree.write("base/hint.pyx", HINT)
    for _ in range(2):
        ended = tree.build()
        assert ended.returncode != 0
        assert "performance hint: lb/_speedups/base/hint.pyx" in ended.stderr
        assert "lb/_speedups/base/hint.pyx" in ended.stderr.splitlines()[-1]
    (tree.top / "lb/_speedups/base/hint.pyx").unlink()
    assert tree.translated() == set()


def test_a_tree_without_modules_builds(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for path in tmp_path.rglob("*.pyx"):
        path.unlink()
    assert tree.translated() == set()
    assert (tmp_path / "build/debug/lib/lb/__init__.py").exists()


def test_an_unknown_flavour_is_one_clear_line(tree: Tree) -> None:
    ended = tree.build("fast")
    assert ended.returncode == 1
    assert ended.stderr == "LB_FLAVOUR: unknown flavour 'fast'; expected one of release, debug, sanitize\n"
