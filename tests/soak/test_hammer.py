"""The random peers of tests/integration/relay/test_hammer.py, seed after seed for LB_SOAK_SECONDS on every plane."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from kit.hammering import PLANES, hammer
from kit.stage import Stage

SECONDS = float(os.environ.get("LB_SOAK_SECONDS", "60"))
FIRST_SEED = int(os.environ.get("LB_SOAK_SEED", "1000"))


@pytest.mark.parametrize("name", PLANES)
def test_no_stream_sees_another_for_long(name: str, tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS
    seed = FIRST_SEED
    while time.monotonic() < end:
        directory = tmp_path / str(seed)
        directory.mkdir()
        stage = Stage(PLANES[name](seed), directory)
        try:
            asyncio.run(hammer(stage, seed, 200, scarce=name == "scarce", reloads=seed % 2 == 1))
        except BaseException as e:
            e.add_note(f"seed {seed}, plane {name}")
            raise
        finally:
            stage.close()
        seed += 1
