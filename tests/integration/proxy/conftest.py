"""A stage on the plain transport alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.inprocess import InProcessPlane
from kit.stage import Stage


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Stage]:
    """Return a stage that sends what it is told in as few pieces as the kernel takes.

    HAProxy and nginx want a header in one piece, as the specification lets them; a transport that cuts it shows nothing.
    """
    stage = Stage(InProcessPlane(), tmp_path)
    yield stage
    stage.close()
