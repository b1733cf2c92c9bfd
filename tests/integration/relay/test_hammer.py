"""Random peers on both sides of the engine, some seconds of what `tests/soak` does for long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from kit.hammering import PLANES, hammer
from kit.stage import Stage

CONNECTIONS = {"tcp": 150, "twisted": 60, "chaos": 60, "scarce": 100}


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_stream_sees_another_whatever_peers_do(name: str, seed: int, tmp_path: Path) -> None:
    stage = Stage(PLANES[name](seed), tmp_path)
    try:
        asyncio.run(hammer(stage, seed, CONNECTIONS[name], scarce=name == "scarce"))
    finally:
        stage.close()


@pytest.mark.parametrize("name", PLANES)
def test_everything_at_once(name: str, tmp_path: Path) -> None:
    """Rules, forwarding, copies, PROXY headers, all ways to reuse, and reloads."""
    stage = Stage(PLANES[name](5), tmp_path)
    try:
        asyncio.run(
            hammer(stage, 5, CONNECTIONS[name], scarce=name == "scarce", reloads=True, mirror=True, judged=True)
        )
    finally:
        stage.close()


@pytest.mark.parametrize("name", ["tcp", "chaos"])
def test_reloads_cost_no_request_whatever_peers_do(name: str, tmp_path: Path) -> None:
    stage = Stage(PLANES[name](3), tmp_path)
    try:
        asyncio.run(hammer(stage, 3, CONNECTIONS[name], scarce=False, reloads=True))
    finally:
        stage.close()
