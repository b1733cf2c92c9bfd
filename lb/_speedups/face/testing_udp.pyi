from collections.abc import Sequence

class Keyed:
    """A keyed table (base/keyed.pxd) whose nodes also stand in one list by age; nodes are addresses."""

    def __init__(self, secret0: int, secret1: int) -> None: ...
    def hash(self, key: Sequence[int]) -> int: ...
    def find(self, key: Sequence[int]) -> int:
        """Return the node, 0 = none."""

    def add(self, key: Sequence[int]) -> int:
        """Add a key that is not there, as the youngest."""

    def touch(self, node: int) -> None: ...
    def remove(self, node: int) -> None: ...
    def ages_in_order(self) -> list[int]:
        """Return all nodes, oldest first."""

    def counts(self) -> dict[str, int]: ...
    def longest(self) -> int:
        """Return the length of the longest chain."""
