"""Format strings: text with `%[expression]` and variables of log formats such as `%ci` in it (manual 8.2.6).

`%%` is a percent sign. `%{+Q}[expression]` puts the value in quotes, `%{+E}` a backslash before quotes, backslashes and `]`;
`%{+X}` is for variables that HAProxy writes in hexadecimal digits. `%{+Q}o` gives flags to all that follows.
"""

from dataclasses import dataclass

from lb.config.logformat import HEX, HEXED, HTTP_ONLY, OPS
from lb.config.suggestion import nearest
from lb.language.catalog import CASTS, FETCHES, LOG_VARIABLE, Needs, Type
from lb.language.error import LanguageError
from lb.language.expression import ARG_INT, Arg, Expression, Names, Op, parse, parse_from

PART_TEXT, PART_EXPR = 1, 2
PART_QUOTE, PART_ESCAPE = 1, 2

# Variables that an expression says: what they need is asked for only then.
_SAME = {"ID": "unique-id", "fi": "dst", "fp": "dst_port"}
# Known only when a record is written.
_LATE = ("bi", "bp")


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
    general = 0
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
        flags, i = _flags(text, i + 1, general)
        if text[i : i + 1] != "[":
            name, i = _name(text, i, at)
            if name == "o":
                general = flags
                continue
            expression = _variable(name, flags, at)
        else:
            expression, i = parse_from(text, i + 1, names)
            if text[i : i + 1] != "]":
                raise LanguageError("'%[' is not closed", at, "an expression ends with ']'")
            if Type.STR not in CASTS[expression.type]:
                raise LanguageError(f"{expression.type} values cannot be written as text", at)
            i += 1
        if plain:
            parts.append(Part(PART_TEXT, 0, "".join(plain).encode("utf-8", "surrogateescape")))
            plain = []
        parts.append(Part(PART_EXPR, flags & (PART_QUOTE | PART_ESCAPE), b"", expression))
        needs = max(needs, expression.needs)
    if plain:
        parts.append(Part(PART_TEXT, 0, "".join(plain).encode("utf-8", "surrogateescape")))
    return Format(tuple(parts), needs)


_HEX = 4  # a flag of variables alone
_FLAGS = {"Q": PART_QUOTE, "E": PART_ESCAPE, "X": _HEX, "M": 0}


def _flags(text: str, i: int, flags: int) -> tuple[int, int]:
    if text[i : i + 1] != "{":
        return flags, i
    end = text.find("}", i)
    if end < 0:
        raise LanguageError("'%{' is not closed", i)
    for word in text[i + 1 : end].split(","):
        if word[:1] not in ("+", "-") or word[1:] not in _FLAGS:
            raise LanguageError(f"unknown flag '{word}'", i + 1, "known: +Q, +E, +X, +M, each also with '-' to end it")
        flags = flags | _FLAGS[word[1:]] if word[0] == "+" else flags & ~_FLAGS[word[1:]]
    return flags, end + 1


def _name(text: str, i: int, at: int) -> tuple[str, int]:
    """Return the name of the variable that begins here, and where it ends."""
    end = i
    while end < len(text) and text[end].isascii() and text[end].isalnum():
        end += 1
    name = text[i:end]
    if name in _LATE:
        raise LanguageError(f"'%{name}' is known only when a record is written", at, "it belongs into log formats")
    if name != "o" and name not in _VARIABLES:
        if name in ("hr", "hrl", "hs", "hsl"):
            side = "req" if name.startswith("hr") else "res"
            raise LanguageError(f"'%{name}' belongs into log formats", at, f"write '%[capture.{side}.hdr(0)]'")
        near = nearest(name, _VARIABLES)
        hint = f"did you mean '%{near}'?" if near else "write '%[expression]', or '%%' for a percent sign"
        raise LanguageError(f"'%{name or text[i : i + 1]}' is not a variable", at, hint)
    return name, end


def _variable(name: str, flags: int, at: int) -> Expression:
    """Return the expression that a variable of log formats is."""
    if flags & _HEX and name not in HEXED:
        raise LanguageError(
            f"'%{name}' is not written in hexadecimal digits", at, "the flag +X is for addresses, ports and numbers"
        )
    if name in _SAME and not flags & _HEX:
        return parse(_SAME[name], _NOBODY)
    needs = Needs.REQUEST if name in HTTP_ONLY else Needs.CONNECTION
    args = (Arg(ARG_INT, OPS[name]), Arg(ARG_INT, HEX if flags & _HEX else 0))
    return Expression((Op(FETCHES[LOG_VARIABLE].code, 0, args),), Type.STR, needs)


_NOBODY = Names({}, {}, {})
_VARIABLES = frozenset(name for name, number in OPS.items() if 0 < number <= OPS["lc"]) - frozenset(_LATE)
