"""Lines of a document: for each key, item and value, where it stands.

The tree of marks mirrors the tree of data. It is built only when something is wrong.
"""

from dataclasses import dataclass, field

from lb.config.diagnostic import Path, Step


@dataclass(slots=True)
class Mark:
    """Where one value stands: the line of its key (or of itself, for an item), the line it begins, and what is inside."""

    key_line: int
    line: int
    inside: "dict[Step, Mark]" = field(default_factory=dict)

    def line_of(self, path: Path, at_key: bool = False) -> int:
        """Return the line of what a path leads to, or of the nearest thing around it that has one."""
        mark = self
        for step in path:
            below = mark.inside.get(step)
            if below is None:
                return mark.key_line
            mark = below
        # What holds others is known by its key; a bare value stands where it stands.
        return mark.key_line if at_key or mark.inside else mark.line


@dataclass(frozen=True, slots=True)
class Problem:
    """One place where a text does not follow its own format."""

    line: int
    message: str
    hint: str = ""


class ReadError(Exception):
    """Raise when a text cannot be read at all."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


# Deeper than any configuration, shallow enough for every recursive reader.
DEPTH_MAX = 64


def duplicate(key: str, line: int, first: int) -> Problem:
    """Say that a key stands twice in one mapping."""
    return Problem(line, f"'{key}' is given twice, first on line {first}", "keep one")
