"""The door for bench/micro: log lines and rings repeated in compiled code. Also in the release build."""

from typing import Literal

from _typeshed import WriteableBuffer

class Line:
    """The log line of one ordinary request."""

    def __init__(self, form: Literal["http", "tcp", "json"]) -> None: ...
    def text(self) -> bytes: ...
    def write(self, n: int) -> None:
        """Format it n times, each 1 ms after the one before."""

class Producer:
    """A log ring in `memory` and a text to write into it."""

    def __init__(self, memory: WriteableBuffer, text: bytes) -> None: ...
    @property
    def place(self) -> tuple[int, int, int]:
        """Address, bytes and number of rings, as LogDrain takes them."""

    def write(self, n: int) -> None: ...
    def pass_through(self, n: int) -> None:
        """Write and read n records, one after the other."""
