"""YAML 1.2, core schema: text to plain data, and to marks.

libyaml scans, this module builds: one loop over its events instead of PyYAML's composer and constructor, which take four
times as long and follow YAML 1.1 (docs/decisions/0002-yaml-from-events.md). Differences that people meet: `on`, `yes` and
`22:22` are strings, `0660` is 660, keys are always strings, merge keys do not exist, and a key given twice is an error.
What aliases expand to is bounded, since a few lines of them can stand for a billion values.
"""

import re
from typing import Any

from yaml import CSafeLoader, YAMLError
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from lb.config.diagnostic import line_text
from lb.config.marks import DEPTH_MAX, Mark, Problem, ReadError, duplicate

# Values that aliases may add to a document, on top of what is written out.
ALIASED_MAX = 100_000


_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, object] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_SPECIAL_FLOATS = {".inf", ".Inf", ".INF", "+.inf", "-.inf", "+.Inf", "-.Inf", "+.INF", "-.INF", ".nan", ".NaN", ".NAN"}
# First characters of plain scalars that may be something else than a string.
_MAYBE_NOT_TEXT = frozenset("0123456789+-.~nNtTfF")


def plain(text: str) -> object:
    """Return what an unquoted scalar means in the core schema (YAML 1.2.2, 10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAYBE_NOT_TEXT:
        return text
    if len(text) <= 4300:  # the longest integer that int() takes from text
        if _INT.fullmatch(text):
            return int(text)
        if _OCTAL.fullmatch(text):
            return int(text[2:], 8)
        if _HEX.fullmatch(text):
            return int(text, 16)
        if _FLOAT.fullmatch(text):
            return float(text)
    if text in _SPECIAL_FLOATS:
        return float(text.replace(".", "", 1))
    return text


# The mark of everything when nobody asks for lines.
_NOWHERE = Mark(0, 0)


class _Open:
    """A collection being filled."""

    __slots__ = ("anchor", "data", "key", "key_line", "mark", "values")

    def __init__(self, data: "dict[str, object] | list[object]", mark: Mark, anchor: str | None, values: int) -> None:
        self.data = data
        self.mark = mark
        self.anchor = anchor
        self.key: str | None = None
        self.key_line = 0
        self.values = values  # count of values when it was opened: what it holds is the difference


class _DuplicateKeyError(Exception):
    """A key stands twice; reading again with marks tells where."""


def read(text: str) -> tuple[object, Mark]:
    """Return the data of a YAML text and its marks; raise ReadError with every key that stands twice, or the syntax error."""
    return _read(text, marked=True)


def decode(text: str) -> object:
    """Return the data of a YAML text; raise ReadError."""
    try:
        return _read(text, marked=False)[0]
    except _DuplicateKeyError:
        return _read(text, marked=True)[0]


def _read(text: str, marked: bool) -> tuple[object, Mark]:
    try:
        builder = _Builder(text, marked)
        builder.build()
        if builder.problems:
            raise ReadError(builder.problems)
        return builder.root, builder.root_mark
    except MarkedYAMLError as error:
        raise ReadError([_syntax(error, text)]) from None
    except YAMLError as error:
        raise ReadError(
            [
                Problem(
                    _control_line(text),
                    "holds a control character that YAML does not permit: " + str(error).split("\n")[0],
                )
            ]
        ) from None


class _Builder:
    """Data and marks out of the events of one document."""

    def __init__(self, text: str, marked: bool) -> None:
        self.parser = CSafeLoader(text)
        self.marked = marked
        self.stack: list[_Open] = []
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[object, Mark, int]] = {}
        self.unfinished: set[str] = set()
        self.root: object = None
        self.root_mark = Mark(1, 1)
        self.documents = 0
        self.values = 0
        self.aliased = 0

    def build(self) -> None:
        """Take every event."""
        parser = self.parser
        while parser.check_event():
            # Exact types: a loop over a million events feels isinstance.
            event: Any = parser.get_event()
            kind = type(event)
            line = event.start_mark.line + 1
            if kind is ScalarEvent:
                self.scalar(event, line)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self.open(event, line)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self.close()
            elif kind is AliasEvent:
                self.alias(event.anchor, line)
            elif kind is DocumentStartEvent:
                self.documents += 1
                if self.documents > 1:
                    raise _stop(line, "begins a second document", "a configuration is one document; remove '---'")

    def expects_key(self) -> bool:
        """Tell whether the next value is a key of the mapping being filled."""
        return bool(self.stack) and type(self.stack[-1].data) is dict and self.stack[-1].key is None

    def scalar(self, event: ScalarEvent, line: int) -> None:
        """Take a key or a single value."""
        self.values += 1
        if self.expects_key():
            self.key(self.stack[-1], event.value, line)
            return
        value = _scalar(event, line)
        mark = Mark(line, line) if self.marked else _NOWHERE
        if event.anchor:
            self.anchors[event.anchor] = (value, mark, 1)
        self.put(value, mark)

    def key(self, top: _Open, key: str, line: int) -> None:
        """Take a key; one given twice is an error, but not the last."""
        if key in top.data:
            if not self.marked:
                raise _DuplicateKeyError
            self.problems.append(duplicate(key, line, top.mark.inside[key].key_line))
        top.key = key
        top.key_line = line

    def open(self, event: MappingStartEvent | SequenceStartEvent, line: int) -> None:
        """Begin a collection."""
        self.values += 1
        if len(self.stack) >= DEPTH_MAX:
            raise _stop(line, f"is nested deeper than {DEPTH_MAX} levels")
        if self.expects_key():
            raise _stop(line, "has a list or mapping as a key", "quote a key that begins with '[' or '{'")
        _check_tag(event, line)
        if event.anchor:
            self.unfinished.add(event.anchor)
        data: dict[str, object] | list[object] = {} if type(event) is MappingStartEvent else []
        mark = Mark(line, line) if self.marked else _NOWHERE
        self.stack.append(_Open(data, mark, event.anchor, self.values))

    def close(self) -> None:
        """End a collection and put it where it belongs."""
        done = self.stack.pop()
        if done.anchor:
            self.anchors[done.anchor] = (done.data, done.mark, self.values - done.values + 1)
            self.unfinished.discard(done.anchor)
        self.put(done.data, done.mark)

    def alias(self, anchor: str, line: int) -> None:
        """Put what an anchor named, within bounds."""
        if anchor in self.unfinished:
            raise _stop(line, f"alias '*{anchor}' stands inside what it names")
        if anchor not in self.anchors:
            raise _stop(line, f"alias '*{anchor}' names no anchor above it", f"write '&{anchor}' where the value is")
        if self.expects_key():
            raise _stop(line, f"alias '*{anchor}' is used as a key", "write the key out")
        value, mark, size = self.anchors[anchor]
        self.aliased += size
        self.values += size
        if self.aliased > ALIASED_MAX:
            raise _stop(line, f"aliases expand to more than {ALIASED_MAX} values", "write the values out")
        self.put(value, Mark(line, line, mark.inside) if self.marked else _NOWHERE)

    def put(self, value: object, mark: Mark) -> None:
        """Put a value into the collection being filled, or make it the document."""
        if not self.stack:
            self.root, self.root_mark = value, mark
            return
        top = self.stack[-1]
        if isinstance(top.data, list):
            if self.marked:
                top.mark.inside[len(top.data)] = mark
            top.data.append(value)
        elif top.key is not None:
            if self.marked:
                mark.key_line = top.key_line
                top.mark.inside[top.key] = mark
            top.data[top.key] = value
            top.key = None


def _stop(line: int, message: str, hint: str = "") -> ReadError:
    return ReadError([Problem(line, message, hint)])


def _scalar(event: ScalarEvent, line: int) -> object:
    if event.implicit[0]:
        return plain(event.value)
    if event.implicit[1] or event.tag in ("!", "tag:yaml.org,2002:str"):
        return event.value
    _check_tag(event, line)
    return event.value


def _check_tag(event: MappingStartEvent | SequenceStartEvent | ScalarEvent, line: int) -> None:
    tag = event.tag
    own = "tag:yaml.org,2002:map" if type(event) is MappingStartEvent else "tag:yaml.org,2002:seq"
    if tag is None or tag == "!" or event.implicit is True or (tag == own and type(event) is not ScalarEvent):
        return
    shown = tag.replace("tag:yaml.org,2002:", "!!")
    raise _stop(line, f"has the tag '{line_text(shown)}', which a configuration does not take", "remove it")


def _syntax(error: MarkedYAMLError, text: str) -> Problem:
    at = error.problem_mark or error.context_mark
    line = at.line + 1 if at is not None else 1
    # libyaml reports what it met; the end of the text counts as the last line.
    line = min(line, text.rstrip("\n").count("\n") + 1)
    message = " ".join(part for part in (error.context, error.problem) if part)
    hint = ""
    lines = text.split("\n")
    if "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())] or (
        "cannot start any token" in message and "\t" in lines[line - 1]
    ):
        hint = "indent with spaces; YAML does not take tabs"
    elif "did not find expected alphabetic" in message or "did not find expected node content" in message:
        hint = "quote a value that begins with ':', '[', '{', '*', '&' or '@', such as \":8080\""
    elif "did not find expected ',' or" in message:
        hint = "close every '{' and '['; quote a value that holds one of '{}[],' or begins with ':', such as \":8080\""
    elif "did not find expected key" in message or "did not find expected '-' indicator" in message:
        hint = "what belongs together is indented alike; compare this line with those above it"
    elif "mapping values are not allowed" in message:
        hint = "quote a value that holds ': '"
    elif "cannot start any token" in message:
        hint = "quote a value that begins with '@', '`' or '%'"
    return Problem(line, message, hint)


def _control_line(text: str) -> int:
    found = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]", text)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def write(data: object) -> str:
    """Return data as YAML 1.2 that reads back the same."""
    from yaml import CSafeDumper, dump
    from yaml.nodes import ScalarNode

    class Dumper(CSafeDumper):
        """A dumper that quotes every string that either version of YAML would take for something else."""

        def ignore_aliases(self, data: object) -> bool:
            """Write out what occurs twice."""
            return True

    def represent(dumper: CSafeDumper, text: str) -> ScalarNode:
        style = None if plain(text) is text else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent)
    Dumper.add_multi_representer(tuple, lambda dumper, items: dumper.represent_list(items))
    text: str = dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
