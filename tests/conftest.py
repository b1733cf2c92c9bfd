"""What holds for every test: `lb` comes from a built tree, never from the sources.

The sources have no compiled modules beside them, and half a package imported from there would hide a build
that is out of date. `make test` sets PYTHONPATH=build/<flavour>/lib and PYTHONSAFEPATH=1.

The suite tells the same each time: hypothesis takes its examples from the test's name. `make fuzz` sets
LB_FUZZ_SECONDS, and then it looks for new ones.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import lb

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # for `bench`; at the end, so that `lb` still comes from the built tree
HERE = Path(lb.__file__).resolve()
FLAVOURS = {ROOT / "build" / name / "lib": name for name in ("release", "debug", "sanitize")}
FLAVOUR = FLAVOURS.get(HERE.parent.parent, "")


settings.register_profile("suite", derandomize=True, database=None, deadline=None)
if not os.environ.get("LB_FUZZ_SECONDS"):
    settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what runs in its background with SIGINT ignored, and so would be what tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not FLAVOUR:
        raise pytest.UsageError(
            f"lb was imported from {HERE.parent}, expected {ROOT}/build/<flavour>/lib; run 'make test', or "
            "'LB_FLAVOUR=debug python setup.py build' and "
            "'PYTHONPATH=build/debug/lib python -P -m pytest tests/unit'"
        )


def pytest_report_header(config: pytest.Config) -> str:
    return f"lb {lb.__version__}, {FLAVOUR} build"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # `-m smoke` runs on the release build, where a file that needs `face/testing*`, directly or through the
    # kit, cannot even be imported. So only files that have a smoke test are.
    if config.getoption("markexpr") == "smoke" and collection_path.name.startswith("test_"):
        return True if "mark.smoke" not in collection_path.read_text() else None
    return None


@pytest.fixture(scope="session")
def flavour() -> str:
    """Name the build under test: release, debug or sanitize."""
    return FLAVOUR
