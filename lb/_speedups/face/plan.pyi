"""The plan image: written once by the compiler process, mapped by every worker."""

from lb.config.plan import Rows

def build(generation: int, rows: Rows, oids: list[int], offsets: list[int]) -> bytes:
    """Return the image of these rows.

    `oids` are object ids by the index that rows name objects with, the process first; `offsets` are arena offsets by backend.
    Raises ValueError for rows that do not fit together, OverflowError for numbers that do not fit.
    """

def write(generation: int, rows: Rows, oids: list[int], offsets: list[int]) -> int:
    """Return a sealed memfd with the image. Raises OSError, and what build() raises."""
