"""Golden documents: small configurations and the exact lines that lb says about them.

Each file under golden/ holds cases:

    === title [section]
    the document, or a fragment of it
    ---
    3: backend 'api': unknown balance algorithm 'leastcon'; did you mean 'leastconn'?

Nothing behind `---` means that the document is valid. A fragment is put into a frame that makes a whole document of it;
line 1 is then the first line of the fragment. `python tests/unit/config/test_golden.py FILE...` writes what lb says now, for
reading the difference.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from lb.config import ConfigError, load

HERE = Path(__file__).resolve().parent / "golden"
ENVIRON = {"PORT": "8080", "HOST": "10.0.0.9", "EMPTY": "", "COUNT": "7", "WORD": "word", "FLAG": "true"}

_FRONTENDS = 'frontends:\n  web:\n    bind: [":80"]\n    default_backend: app\n'
_BACKENDS = 'backends:\n  app:\n    servers: ["10.0.0.1:80"]\n  api:\n    servers: ["10.0.0.2:80"]\n'
_HEAD = "version: 1\n"

# section: (what stands before, how far the fragment is indented, what stands behind)
FRAMES = {
    "whole": ("", 0, ""),
    "top": (_HEAD, 0, _FRONTENDS + _BACKENDS),
    "global": (_HEAD + "global:\n", 2, _FRONTENDS + _BACKENDS),
    "defaults": (_HEAD + "defaults:\n", 2, _FRONTENDS + _BACKENDS),
    "frontend": (_HEAD + _BACKENDS + "frontends:\n  web:\n", 4, ""),
    "http": (_HEAD + _BACKENDS + _FRONTENDS, 4, ""),
    "binds": (_HEAD + _BACKENDS + "frontends:\n  web:\n    default_backend: app\n    bind:\n", 6, ""),
    "routes": (_HEAD + _BACKENDS + 'frontends:\n  web:\n    bind: [":80"]\n    routes:\n', 6, ""),
    "backend": (_HEAD + _FRONTENDS + "backends:\n  app:\n", 4, ""),
    "served": (_HEAD + _FRONTENDS + 'backends:\n  app:\n    servers: ["10.0.0.1:80"]\n', 4, ""),
    "servers": (_HEAD + _FRONTENDS + "backends:\n  app:\n    servers:\n", 6, ""),
}


@dataclass
class Case:
    """One document and what is said about it."""

    file: str
    title: str
    section: str
    fragment: str
    expected: list[str]

    @property
    def before(self) -> int:
        """Lines of the frame before the fragment."""
        return FRAMES[self.section][0].count("\n")

    def document(self) -> str:
        """Return the whole document."""
        head, indent, tail = FRAMES[self.section]
        if not indent:
            return head + self.fragment + tail
        inside = "".join(
            " " * indent + line if line.strip() else line for line in self.fragment.splitlines(keepends=True)
        )
        return head + inside + tail

    def said(self, directory: Path) -> list[str]:
        """Return what lb says about it."""
        file = directory / f"case{Path(self.file).suffixes[0]}"
        file.write_text(self.document(), newline="")
        try:
            load(file, ENVIRON)
        except ConfigError as error:
            return [self._line(str(each), file) for each in error.errors]
        return []

    def _line(self, text: str, file: Path) -> str:
        place, _, rest = text.removeprefix(f"{file}:").partition(": ")
        return f"{int(place) - self.before}: {rest}" if place.isdecimal() else f"{place}: {rest}"


def cases(file: Path) -> list[Case]:
    """Return the cases of one file."""
    found: list[Case] = []
    for block in file.read_text().split("\n=== ")[1:]:
        heading, _, body = block.partition("\n")
        title, _, section = heading.partition(" [")
        fragment, _, expected = ("\n" + body).partition("\n---\n")
        found.append(
            Case(
                file.name,
                title,
                section.rstrip("]"),
                fragment.removeprefix("\n") + "\n",
                [line for line in expected.splitlines() if line],
            )
        )
    return found


def files() -> list[Path]:
    """Return every file of cases; its name ends in the format, such as binds.yaml.txt."""
    return sorted(HERE.glob("*.txt"))


CASES = [case for file in files() for case in cases(file)]


@pytest.mark.parametrize(
    "case", [pytest.param(each, id=f"{each.file.partition('.')[0]}: {each.title}") for each in CASES]
)
def test_a_golden_document_is_told_what_stands_under_it(case: Case, tmp_path: Path) -> None:
    assert case.said(tmp_path) == case.expected


def test_every_case_has_a_title_of_its_own() -> None:
    titles = [(each.file, each.title) for each in CASES]
    assert len(titles) == len(set(titles))
    assert len(titles) > 400


def main() -> None:
    """Write what lb says now into the files named."""
    with tempfile.TemporaryDirectory() as directory:
        for name in sys.argv[1:]:
            file = Path(name)
            text = [file.read_text().split("\n=== ")[0].rstrip("\n") + "\n"]
            for case in cases(file):
                said = "".join(f"{line}\n" for line in case.said(Path(directory)))
                text.append(f"\n=== {case.title} [{case.section}]\n{case.fragment}---\n{said}")
            file.write_text("".join(text))


if __name__ == "__main__":
    main()
