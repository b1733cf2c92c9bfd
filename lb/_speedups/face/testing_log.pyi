from typing import Any, Literal

from _typeshed import WriteableBuffer

RING_DATA: int
LINE_MIN: int
LINE_CAP: int

class Ring:
    """A log ring in `memory[offset:offset+size]`, which may be shared with a forked process."""

    def __init__(self, memory: WriteableBuffer, offset: int = 0, size: int = -1, init: bool = True) -> None: ...
    @property
    def address(self) -> int: ...
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
    @property
    def tail(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def broken(self) -> int: ...

class Lines:
    """A `logline_t` of its own."""

    def line(self, form: Literal["http", "tcp", "json"], cap: int = ..., **fields: Any) -> bytes:
        """Format a `log_view_t` made of `fields`; the others have plain defaults."""
