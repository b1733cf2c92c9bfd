"""What a check has found."""

from __future__ import annotations

from typing import NamedTuple

from lb.checks.status import Status


class Finding(NamedTuple):
    """One result."""

    status: Status
    info: str = ""  # in words, such as `Connection refused`
    code: int = 0  # of layer 7
    duration_ms: int = -1  # -1 = nothing was measured
    is_ours: bool = False  # something is short here; it says nothing of the server
