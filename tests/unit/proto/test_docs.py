"""docs/http1.md speaks of every reason by the words of the log."""

from __future__ import annotations

from pathlib import Path

from kit.h1 import REASONS

from lb._speedups.face.testing_h1 import reason_text

ROOT = Path(__file__).resolve().parents[3]


def test_every_reason_is_in_the_documentation() -> None:
    text = (ROOT / "docs/http1.md").read_text()
    for number in range(1, len(REASONS)):
        words = reason_text(number)
        assert f"`{words}`" in text or f"`{words.split(',')[0]}, repeated, ...`" in text, words
