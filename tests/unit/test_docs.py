"""Pages are what the model says, and every example can be loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

import lb.config
from lb.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
COMMAND = re.compile(r"^ *`?(?:\S*/)?lb ([a-z]+)((?: +(?!#)[^`\s]+)*)", re.MULTILINE)
# What a fragment leaves out.
FRAME = {
    "version": "1",
    "frontends": '{web: {bind: [":8080"], default_backend: app}}',
    "backends": '{app: {servers: ["127.0.0.1:9001"]}}',
}


def fences(*kinds: str) -> list[ParameterSet]:
    """Return the fenced blocks of these kinds on all pages."""
    return [
        pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, (kind, text) in enumerate(FENCED.findall(page.read_text()))
        if kind in kinds
    ]


def anchor(heading: str) -> str:
    """Return what a heading is called in a link, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_generated_pages_are_current() -> None:
    command = [sys.executable, "-P", str(ROOT / "docs/generate.py"), "--check"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("text", fences("yaml"))
def test_an_example_of_a_page_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    missing = {key: value for key, value in FRAME.items() if not re.search(rf"^{key}:", text, re.MULTILINE)}
    path.write_text("".join(f"{key}: {value}\n" for key, value in missing.items()) + text)
    lb.config.effective(lb.config.load(str(path)))


@pytest.mark.parametrize("text", fences("python"))
def test_a_program_of_a_page_has_a_valid_configuration(text: str) -> None:
    names: dict[str, object] = {}
    exec(compile(text, "example", "exec"), names)
    lb.config.load(names["config"])


def test_every_kind_of_block_is_looked_at() -> None:
    kinds = {kind for page in PAGES for kind, _ in FENCED.findall(page.read_text())}
    assert kinds <= {"yaml", "python", ""}


def test_every_command_on_a_page_is_one_that_lb_has() -> None:
    """In code, `lb word`: the word is a command, and its options are the command's."""
    wrong = []
    for page in PAGES:
        text = page.read_text()
        code = [block for _, block in FENCED.findall(text)] + INDENTED.findall(text) + re.findall(r"`[^`\n]+`", text)
        for name, rest in COMMAND.findall("\n".join(code)):
            command = main.commands.get(name)
            if command is None:
                wrong.append(f"{page.relative_to(ROOT)}: lb {name}")
                continue
            known = {option for each in command.params for option in each.opts}
            wrong += [
                f"{page.relative_to(ROOT)}: lb {name} {word}"
                for word in rest.split()
                if word.startswith("-") and word not in known
            ]
    assert not wrong


CONFIGURATIONS = [
    path for path in sorted((ROOT / "conf").iterdir()) if path.is_file() and path.suffix not in (".service", ".socket")
]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_a_configuration_in_conf_is_valid(path: Path) -> None:
    lb.config.effective(lb.config.load(str(path)))


def test_every_example_in_conf_is_driven() -> None:
    """By an integration test that names it; not those that say the same in other formats, and all keywords at once."""
    tests = "".join(path.read_text() for path in (ROOT / "tests/integration").rglob("test_*.py"))
    loaded_only = {"complete.yaml", "minimal.toml", "minimal.json"}
    assert [path.name for path in CONFIGURATIONS if path.name not in loaded_only and path.name not in tests] == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_links_into_pages_lead_to_a_heading() -> None:
    broken = []
    for page in PAGES:
        for target, part in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            aim = page.parent / target if target else page
            if part not in {anchor(heading) for heading in re.findall(r"^#+ (.+)$", aim.read_text(), re.MULTILINE)}:
                broken.append(f"{page.relative_to(ROOT)}: {target}#{part}")
    assert not broken


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"]({page.name})" not in index] == ["README.md"]
