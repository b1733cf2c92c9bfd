"""A stage whose engine can be halted and asked: the plain transport, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.inprocess import InProcess, InProcessPlane
from kit.stage import Stage


class Still(Stage):
    """A stage that knows its proxy."""

    @property
    def proxy(self) -> InProcess:
        """The engine."""
        proxy = super().proxy
        assert isinstance(proxy, InProcess)
        return proxy


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Still]:
    """Return such a stage."""
    stage = Still(InProcessPlane(), tmp_path)
    yield stage
    stage.close()
