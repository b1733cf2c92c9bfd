"""The door for bench/micro: log lines and rings repeated in compiled code. Also in the release build."""

from typing import Literal

from lb._speedups.face.mapping import Mapping

class Line:
    """The log line of one ordinary request."""

    def __init__(self, form: Literal["http", "tcp", "json", "program"], image: bytes = b"") -> None: ...
    def text(self) -> bytes: ...
    def write(self, n: int) -> None:
        """Format it n times, each 1 ms after the one before."""

class Producer:
    """The log ring of a slot and a text to write into it."""

    def __init__(self, mapping: Mapping, slot: int, text: bytes) -> None: ...
    def write(self, n: int) -> None: ...
    def pass_through(self, n: int) -> None:
        """Write and read n records, one after the other."""
