"""The door to the PROXY protocol's parser. Not in the release build."""

from typing import Any

def reasons() -> dict[int, str]:
    """Return all reasons: number -> text."""

class Reader:
    """Looks for PROXY headers in bytes that end at a page nobody may touch."""

    def read(self, data: bytes, limit: int = 16384) -> tuple[int, dict[str, Any] | None]:
        """Return the size of the header and what it says; else 0 for more, or minus a proxy_reason, and None."""

    def read_many(self, data: bytes, times: int) -> float:
        """Return the ns that one reading takes, over `times` of them."""
