"""Stages for datagrams: the engine inside this process, undisturbed and under chaos, and `lb run`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.daemon import DaemonPlane
from kit.inprocess import InProcessPlane
from kit.stage import Stage

import lb

SEED = int(os.environ.get("LB_TEST_CHAOS_SEED", "1"))
PLANES = ["tcp"] if "release" in Path(lb.__file__).parts else ["tcp", "chaos"]


@pytest.fixture(params=PLANES)
def net(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """What one test uses, on every plane that carries datagrams inside this process."""
    stage = Stage(InProcessPlane(request.param, chaos=SEED if request.param == "chaos" else 0), tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Stage]:
    """What one test of real processes uses."""
    stage = Stage(DaemonPlane(), tmp_path)
    yield stage
    stage.close()
