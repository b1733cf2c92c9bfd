from lb._speedups.face.mapping import Mapping

def spoil(mapping: Mapping, at: int) -> None:
    """Overwrite all that is derived, then make it anew, as after a death."""

def wind(mapping: Mapping, at: int, stamps: int) -> None:
    """Let so many touches have been: their number comes to its end, and entries are numbered anew."""

def check(mapping: Mapping, at: int) -> None:
    """Raise AssertionError unless index, free list and queue agree with the entries."""
