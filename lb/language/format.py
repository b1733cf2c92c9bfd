"""Format strings: text with `%[expression]` in it (manual 8.2.6).

`%%` is a percent sign. `%{+Q}[expression]` puts the value in quotes. Variables of the log formats (`%ci`) are refused: each has an
expression that says the same.
"""

from dataclasses import dataclass

from lb.language.catalog import CASTS, Needs, Type
from lb.language.error import LanguageError
from lb.language.expression import Expression, Names, parse_from

PART_TEXT, PART_EXPR = 1, 2
PART_QUOTE = 1

_INSTEAD = {
    "ci": "%[src]",
    "cp": "%[src_port]",
    "fi": "%[dst]",
    "fp": "%[dst_port]",
    "f": "%[fe_name]",
    "b": "%[be_name]",
    "s": "%[srv_name]",
    "HM": "%[method]",
    "HP": "%[path]",
    "HQ": "?%[query]",
    "HU": "%[pathq]",
    "ID": "%[unique-id]",
    "H": "%[hostname]",
    "ST": "%[status]",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a format: a `part_t`."""

    kind: int
    flags: int
    text: bytes = b""
    expression: Expression | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A `format_t`."""

    parts: tuple[Part, ...]
    needs: Needs

    @property
    def constant(self) -> bytes | None:
        """Return the text of a format without expressions."""
        if any(part.expression is not None for part in self.parts):
            return None
        return b"".join(part.text for part in self.parts)


def parse_format(text: str, names: Names) -> Format:
    """Compile a format string; raise LanguageError."""
    parts: list[Part] = []
    plain: list[str] = []
    needs = Needs.NOTHING
    i = 0
    while i < len(text):
        if text[i] != "%":
            plain.append(text[i])
            i += 1
            continue
        at = i + 1
        if text[i + 1 : i + 2] == "%":
            plain.append("%")
            i += 2
            continue
        flags, i = _flags(text, i + 1)
        if text[i : i + 1] != "[":
            raise _variable(text, i, at)
        expression, i = parse_from(text, i + 1, names)
        if text[i : i + 1] != "]":
            raise LanguageError("'%[' is not closed", at, "an expression ends with ']'")
        if Type.STR not in CASTS[expression.type]:
            raise LanguageError(f"{expression.type} values cannot be written as text", at)
        i += 1
        if plain:
            parts.append(Part(PART_TEXT, 0, "".join(plain).encode("utf-8", "surrogateescape")))
            plain = []
        parts.append(Part(PART_EXPR, flags, b"", expression))
        needs = max(needs, expression.needs)
    if plain:
        parts.append(Part(PART_TEXT, 0, "".join(plain).encode("utf-8", "surrogateescape")))
    return Format(tuple(parts), needs)


def _flags(text: str, i: int) -> tuple[int, int]:
    if text[i : i + 1] != "{":
        return 0, i
    end = text.find("}", i)
    if end < 0:
        raise LanguageError("'%{' is not closed", i)
    flags = 0
    for word in text[i + 1 : end].split(","):
        if word == "+Q":
            flags |= PART_QUOTE
        elif word == "-Q":
            flags &= ~PART_QUOTE
        else:
            raise LanguageError(f"unknown flag '{word}'", i + 1, "known: +Q, -Q")
    return flags, end + 1


def _variable(text: str, i: int, at: int) -> LanguageError:
    end = i
    while end < len(text) and text[end].isalnum():
        end += 1
    name = text[i:end]
    hint = f"write '{_INSTEAD[name]}'" if name in _INSTEAD else "write '%[expression]', or '%%' for a percent sign"
    return LanguageError(f"'%{name or text[i : i + 1]}' is not an expression", at, hint)
