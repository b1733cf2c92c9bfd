"""JSON: text to plain data, and to marks.

The standard reader decodes; keys given twice, which it would let pass, and lines are found by a scanner of our own that
runs only when something is wrong.
"""

import json
import re

from lb.config.marks import DEPTH_MAX, Mark, Problem, ReadError, duplicate

_TOKEN = re.compile(r'[ \t\r\n]*(?:("(?:[^"\\]|\\.)*")|([\[\]{},:])|([^\s\[\]{},:"]+))', re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _DuplicateKeyError(Exception):
    """A key stands twice; the scanner finds out where."""


class _ConstantError(Exception):
    """NaN or Infinity, which Python's reader would take."""


def read(text: str) -> tuple[object, Mark]:
    """Return the data of a JSON text and its marks; raise ReadError."""
    data = decode(text)
    return data, marks(text)


def decode(text: str) -> object:
    """Return the data of a JSON text; raise ReadError."""
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        line = min(error.lineno, text.rstrip().count("\n") + 1)
        raise ReadError(
            [Problem(line, f"column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}", _hint(error, text))]
        ) from None
    except _DuplicateKeyError:
        problems: list[Problem] = []
        marks(text, problems)
        raise ReadError(problems) from None
    except RecursionError:
        raise ReadError([Problem(1, f"is nested deeper than {DEPTH_MAX} levels")]) from None
    except _ConstantError as error:
        line = text.count("\n", 0, text.find(str(error))) + 1
        raise ReadError([Problem(line, f"'{error}' is not JSON", "write a number")]) from None
    except ValueError as error:
        # A number of more digits than int() takes.
        raise ReadError([Problem(1, str(error).partition(";")[0])]) from None
    if _SURROGATE.search(text):
        _refuse_halves(text)
    return data


def _refuse_halves(text: str) -> None:
    """Refuse an escape that is half a character: no encoding has it."""
    for found in _STRING.finditer(text):
        try:
            json.loads(found[0]).encode()
        except UnicodeEncodeError:
            line = text.count("\n", 0, found.start()) + 1
            raise ReadError(
                [Problem(line, "'\\u' with half of a surrogate pair is no character", "write both")]
            ) from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _DuplicateKeyError
    return made


def _constant(word: str) -> object:
    raise _ConstantError(word)


def _hint(error: json.JSONDecodeError, text: str) -> str:
    rest = text[error.pos : error.pos + 2]
    if rest.startswith(("//", "/*", "#")):
        return "JSON has no comments; YAML and TOML have"
    if rest.startswith(("}", "]")):
        return "remove the comma before the closing bracket"
    if rest.startswith("'"):
        return "JSON takes double quotes only"
    return ""


def marks(text: str, problems: list[Problem] | None = None) -> Mark:
    """Return the marks of a JSON text that decodes; add keys that stand twice to `problems`."""
    root = Mark(1, 1)
    stack: list[tuple[Mark, bool]] = []
    key: str | None = None
    expects_value = True
    line = 1
    key_line = 1
    at = 0
    while (found := _TOKEN.match(text, at)) is not None:
        begin = found.start(found.lastindex or 0)
        line += text.count("\n", at, begin)
        text_token, sign, _ = found.groups()
        at = found.end()
        if sign in (",", ":"):
            expects_value = sign == ":"
        elif sign in ("]", "}"):
            stack.pop()
        elif text_token is not None and stack and stack[-1][1] and not expects_value:
            key = json.loads(text_token)
            key_line = line
            if problems is not None and key in stack[-1][0].inside:
                problems.append(duplicate(key, line, stack[-1][0].inside[key].key_line))
        else:
            mark = Mark(line, line)
            if not stack:
                root = mark
            elif stack[-1][1] and key is not None:
                mark.key_line = key_line
                stack[-1][0].inside[key] = mark
            else:
                stack[-1][0].inside[len(stack[-1][0].inside)] = mark
            if sign in ("{", "["):
                stack.append((mark, sign == "{"))
                expects_value = False
        line += text.count("\n", begin, at)
    return root
