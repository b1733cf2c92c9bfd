from typing import Any, Literal

from _typeshed import WriteableBuffer

from lb._speedups.face.mapping import Mapping

RING_DATA: int
LINE_MIN: int
LINE_CAP: int

class Ring:
    """A log ring in all of `memory`, or the one of a mapping's slot."""

    def __init__(self, memory: WriteableBuffer | Mapping, slot: int = 0, init: bool = True) -> None:
        """`init` makes a ring in memory an empty one."""

    def adopt(self) -> None:
        """Go on in it as a new worker would (rings in memory only)."""

    def reserve(self, size: int) -> bool:
        """Reserve; False when the ring is full."""

    def fill(self, text: bytes) -> None:
        """Write into what was reserved, without committing."""

    def commit(self, size: int, target: int = 0, level: int = 0) -> None: ...
    def write(self, text: bytes, target: int = 0, level: int = 0) -> bool:
        """Reserve, fill and commit."""

    def repeat(self, text: bytes, count: int, target: int = 0) -> None:
        """Write the same text `count` times without Python between."""

    def peek(self) -> tuple[bytes, int, int] | None:
        """Return text, target and level of the oldest record."""

    def read(self) -> bytes | None:
        """Return the text of the oldest record and free it."""

    head: int
    size: int
    tail: int
    @property
    def dropped(self) -> int: ...
    @property
    def broken(self) -> int: ...

class Lines:
    """A `logline_t` of its own."""

    def line(self, form: Literal["http", "tcp", "json"], cap: int = ..., **fields: Any) -> bytes:
        """Format a `log_view_t` made of `fields`; the others have plain defaults."""

    def program(self, image: bytes, log: int = 0, **fields: Any) -> bytes:
        """The same by the program of this log in a plan image. Raises ValueError for a bad image."""

def width(kind: int) -> tuple[int, bool]:
    """Return the width of a LOGOP_*, and whether it shows the request target."""
