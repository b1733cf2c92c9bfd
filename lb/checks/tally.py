"""How results in a row add up, exactly as HAProxy counts.

    health  0 ......... rise - 1 | rise ....... rise + fall - 1
            down, on its way up  | up, on its way down, or well

A success adds one; the first one that reaches `rise` makes the server well at once. A failure takes one; the first one
that falls below `rise` makes it ill at once. So `rise` successes in a row bring a server up, `fall` failures in a row take
it down, and a single one of the other kind starts the count anew.
"""

from __future__ import annotations


class Tally:
    """The health of one server, 0 to rise + fall - 1."""

    __slots__ = ("fall", "health", "rise")

    def __init__(self, rise: int, fall: int, health: int) -> None:
        self.rise = rise
        self.fall = fall
        self.health = health

    @property
    def most(self) -> int:
        """The health of a server that is well."""
        return self.rise + self.fall - 1

    @property
    def is_up(self) -> bool:
        """Whether results so far speak for the server."""
        return self.health >= self.rise

    def passed(self) -> None:
        """Count a success."""
        if self.health < self.most:
            self.health += 1
            if self.health >= self.rise:
                self.health = self.most

    def failed(self) -> bool:
        """Count a failure; return whether there was something to lose."""
        if self.health == 0:
            return False
        self.health -= 1
        if self.health < self.rise:
            self.health = 0
        return True

    def shown(self) -> str:
        """Return how far the server is on its way: `1/3`."""
        if self.is_up:
            return f"{self.health - self.rise + 1}/{self.fall}"
        return f"{self.health}/{self.rise}"
