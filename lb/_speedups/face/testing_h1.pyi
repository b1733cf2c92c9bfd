"""The door to messages, the HTTP/1 codec and the chunked coding. Not in the release build."""

from typing import Any

def byte_class(byte: int) -> int:
    """Bits of proto/h1_tables.h: 1 token, 2 value, 4 target, 8 hex, 16 registered name."""

def name_id(name: bytes) -> int:
    """The known_name of message.pxd, 0 = none."""

def is_authority(text: bytes) -> bool: ...
def reason_text(reason: int) -> str: ...
def write_size(n: int) -> bytes: ...
def work() -> int:
    """Bytes the head reader has looked at so far, in this process."""

class Head:
    """A message whose received bytes end at a guard page."""

    def __init__(self, kind: int, method: int = 1, poison: int = 0) -> None:
        """`kind`: 1 request, 2 response to `method`; `poison` stands behind what was fed."""

    def feed(self, data: bytes) -> int:
        """Append and read: bytes of the head, 0 for more, minus a status. ValueError beyond 15 KiB."""

    def dump(self) -> dict[str, Any]: ...
    def fields(self) -> list[tuple[bytes, bytes, int, int]]:
        """(name, value, known_name, FIELD_* flags) of every field, deleted ones too."""

    def make(self, status: int, method: int, framing: int, length: int) -> None:
        """Be a reply made here, without a phrase."""

    def add(self, id: int, name: bytes, value: bytes) -> int: ...
    def delete(self, i: int) -> None: ...
    def strip_hop(self) -> None: ...
    def find(self, name: bytes, start: int = 0) -> int: ...
    def write(self, flags: int = 0, cap: int = 20000) -> bytes | None:
        """The head in exactly `cap` bytes of room, or None if they do not suffice."""

class Chunked:
    """A `chunked_t` fed from in front of a guard page."""

    def feed(self, data: bytes) -> tuple[bytes, int, str]:
        """Feed all of `data`. Answer (data, bytes not used, "more", "end" or "bad")."""

    @property
    def reason(self) -> int: ...
    @property
    def is_last(self) -> bool: ...
