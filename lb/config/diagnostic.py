"""What is wrong with a configuration, and where.

A *finding* points into the tree by a path of keys and indexes; a *diagnostic* is the same for people: file, line, subject.
"""

from dataclasses import dataclass

Step = str | int
Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong at `path`; `at_key` when the key itself is wrong rather than its value."""

    path: Path
    subject: str
    message: str
    hint: str = ""
    at_key: bool = False


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong: place, subject, what is wrong, way out. `line` is 0 where there are no lines."""

    file: str
    line: int
    subject: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{place}: {self.subject}: {self.message}" + (f"; {self.hint}" if self.hint else "")
        return escaped(text)


class ConfigError(Exception):
    """Raise when a configuration cannot be used; `errors` holds every diagnostic in the order of the file."""

    def __init__(self, errors: list[Diagnostic]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


def escaped(text: str) -> str:
    """Return a text with what would move a terminal's cursor, or worse, spelled out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def line_text(text: str) -> str:
    """Return a text of the user fit for one line: control characters escaped, long ones cut."""
    shown = escaped(text[:200])
    return shown if len(shown) <= 80 else shown[:77] + "..."
