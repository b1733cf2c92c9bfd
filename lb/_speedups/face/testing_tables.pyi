from lb._speedups.face.mapping import Mapping

def spoil(mapping: Mapping, at: int) -> None:
    """Overwrite all that is derived, then make it anew, as after a death."""

def check(mapping: Mapping, at: int) -> None:
    """Raise AssertionError unless chains, free list and age agree with the entries."""
