"""Pages are what the model says, and every example can be loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import lb.config

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```yaml\n(version:.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, text in enumerate(FENCED.findall(page.read_text()))
]


def test_generated_pages_are_current() -> None:
    command = [sys.executable, "-P", str(ROOT / "docs/generate.py"), "--check"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_a_page_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(text)
    lb.config.load(str(path))


@pytest.mark.parametrize("path", sorted((ROOT / "conf").iterdir()), ids=lambda path: path.name)
def test_a_configuration_in_conf_is_valid(path: Path) -> None:
    lb.config.load(str(path))


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken
