"""The door to the reader of TLS hellos. Not in the release build."""

from typing import Any

class Reader:
    """Looks for TLS hellos in bytes that end at a page nobody may touch. Answers begin with HELLO_NONE, FOUND or PART."""

    def read(self, data: bytes) -> tuple[int, dict[str, Any] | None]:
        """Return what a hello says."""

    def type(self, data: bytes) -> tuple[int, int | None]:
        """Return the type of the first handshake message."""

    def version(self, data: bytes, most: int = 16384) -> tuple[int, int | None]:
        """Return the version that a hello offers."""

    def read_ns(self, data: bytes, times: int) -> float:
        """Return the ns that one reading takes, over `times` of them."""
