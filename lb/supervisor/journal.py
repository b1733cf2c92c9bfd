"""What the program says about itself: lines on stderr, and the lines of the latest start or reload for `show startup-logs`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import TextIO

LINES = 1000  # of a configuration with more faults than that, nobody reads the rest


ERROR, WARNING, NOTICE = 3, 4, 5  # syslog's severities

Sink = Callable[[str, int], None]


class Journal:
    """Write each line to `stream`, or to a sink that never waits, and remember those of the latest chapter."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._sink: Sink | None = None
        self._lines: deque[str] = deque(maxlen=LINES)
        self._listeners: list[Sink] = []

    def use(self, sink: Sink | None) -> None:
        """Write by this (line, severity) from now on; None is the stream again."""
        self._sink = sink

    def listen(self, listener: Sink) -> None:
        """Tell each line also to this one, who must not wait."""
        self._listeners.append(listener)

    def unlisten(self, listener: Sink) -> None:
        """Tell it no more."""
        self._listeners.remove(listener)

    def begin(self) -> None:
        """Begin a new chapter: a start or a reload."""
        self._lines.clear()

    def note(self, line: str) -> None:
        """Say what happens."""
        self._write(f"lb: {line}", NOTICE)

    def warn(self, line: str) -> None:
        """Say what is wrong and does not stop anything."""
        self._write(f"lb: warning: {line}", WARNING)

    def error(self, line: str) -> None:
        """Say what failed."""
        self._write(f"lb: error: {line}", ERROR)

    def diagnose(self, line: str) -> None:
        """Pass on a diagnostic, which names its own place."""
        self._write(line, ERROR)

    def _write(self, line: str, severity: int) -> None:
        self._lines.append(line)
        for listener in self._listeners:
            listener(line, severity)
        if self._sink is not None:
            self._sink(line, severity)
        else:
            print(line, file=self._stream, flush=True)

    def text(self) -> str:
        """Return the latest chapter, a line each."""
        return "".join(f"{line}\n" for line in self._lines)
