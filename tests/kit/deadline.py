"""Bounds for waits. A deadline that passes is a failure with words, never a hang."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

# Generous: it is only ever waited for when something is broken. Sanitizers are several times slower.
DEADLINE = 15.0 * float(os.environ.get("LB_TEST_SLOWNESS", "1"))
POLL = 0.005


class Late(AssertionError):
    """Say that what a test waited for did not come."""


class Words:
    """A description that is made when it is needed."""

    def __init__(self, say: Callable[[], str]) -> None:
        self._say = say

    def __str__(self) -> str:
        return self._say()


def eventually(holds: Callable[[], object], what: object, seconds: float = DEADLINE) -> None:
    """Wait for something that can only be looked at (a file, /proc), and raise Late after `seconds`.

    `what` is turned to text only then.
    """
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        if time.monotonic() > end:
            raise Late(f"not within {seconds:g} s: {what}")
        pause.wait(POLL)


def wait_for(event: threading.Event, what: str, seconds: float = DEADLINE) -> None:
    """Wait for an event of another thread, and raise Late after `seconds`."""
    if not event.wait(seconds):
        raise Late(f"not within {seconds:g} s: {what}")
