"""Random peers on both sides of the engine while every request is copied."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from kit.hammering import PLANES, hammer
from kit.stage import Stage

pytestmark = pytest.mark.ours

CONNECTIONS = {"tcp": 150, "twisted": 60, "chaos": 60, "scarce": 100}


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("seed", [11, 12])
def test_copies_are_whole_and_their_originals_as_without_them(name: str, seed: int, tmp_path: Path) -> None:
    stage = Stage(PLANES[name](seed), tmp_path)
    try:
        asyncio.run(hammer(stage, seed, CONNECTIONS[name], scarce=name == "scarce", mirror=True))
    finally:
        stage.close()


@pytest.mark.parametrize("name", ["tcp", "chaos"])
def test_reloads_do_not_cut_copies(name: str, tmp_path: Path) -> None:
    stage = Stage(PLANES[name](13), tmp_path)
    try:
        asyncio.run(hammer(stage, 13, CONNECTIONS[name], scarce=False, reloads=True, mirror=True))
    finally:
        stage.close()
