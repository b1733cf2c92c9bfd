"""TOML: text to plain data, and to marks.

`tomllib` decodes and refuses keys given twice; lines are found by a scanner of our own that relies on the text being right and
runs only when something is wrong with the configuration in it.
"""

import re
import tomllib

from lb.config.marks import DEPTH_MAX, Mark, Problem, ReadError

_AT_LINE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}\n#]+")


def read(text: str) -> tuple[object, Mark]:
    """Return the data of a TOML text and its marks; raise ReadError."""
    data = decode(text)
    return data, marks(text)


def decode(text: str) -> object:
    """Return the data of a TOML text; raise ReadError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        found = _AT_LINE.search(said)
        line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
        message = _AT_LINE.sub("", said)
        raise ReadError([Problem(line, message[:1].lower() + message[1:], _hint(message))]) from None
    except RecursionError:
        raise ReadError([Problem(1, f"is nested deeper than {DEPTH_MAX} levels")]) from None


def _hint(message: str) -> str:
    if "Cannot overwrite" in message or "twice" in message:
        return "a key or table is given twice; keep one"
    if "Invalid value" in message:
        return "quote strings"
    return ""


def marks(text: str) -> Mark:
    """Return the marks of a TOML text that decodes."""
    return _Scanner(text).document()


class _Scanner:
    """A walk over a TOML text that is known to be right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.counted = 0
        self.line = 1

    def document(self) -> Mark:
        """Return the marks of the whole text."""
        root = Mark(1, 1)
        table = root
        while self.skip():
            if self.text.startswith("[[", self.at):
                table = self.header(root, 2)
            elif self.text[self.at] == "[":
                table = self.header(root, 1)
            else:
                self.pair(table)
        return root

    def here(self) -> int:
        """Return the line of the current position."""
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def skip(self, pattern: re.Pattern[str] = _SPACE) -> bool:
        """Pass over white space and comments; tell whether something is left."""
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at < len(self.text)

    def header(self, root: Mark, brackets: int) -> Mark:
        """Read `[a.b]` or `[[a.b]]` and return the mark of its table."""
        line = self.here()
        self.at += brackets
        keys = self.keys()
        self.skip(_BLANK)
        self.at += brackets
        mark = root
        for key in keys[:-1]:
            mark = _last_item(mark.inside.setdefault(key, Mark(line, line)))
        if brackets == 1:
            # A table may have been mentioned by a deeper one before; its own header is where it stands.
            made = mark.inside.setdefault(keys[-1], Mark(line, line))
            made.key_line = made.line = line
            return made
        array = mark.inside.setdefault(keys[-1], Mark(line, line))
        item = Mark(line, line)
        array.inside[len(array.inside)] = item
        return item

    def pair(self, table: Mark) -> None:
        """Read `key = value` into a table."""
        line = self.here()
        keys = self.keys()
        self.skip(_BLANK)
        self.at += 1
        self.skip(_BLANK)
        mark = table
        for key in keys[:-1]:
            mark = mark.inside.setdefault(key, Mark(line, line))
        value = self.value()
        value.key_line = line
        mark.inside[keys[-1]] = value

    def keys(self) -> list[str]:
        """Read a dotted key."""
        parts: list[str] = []
        while True:
            self.skip(_BLANK)
            quoted = _STRING.match(self.text, self.at)
            found = quoted or _BARE_KEY.match(self.text, self.at)
            if found is None:
                return parts
            self.at = found.end()
            parts.append(str(next(iter(tomllib.loads(f"{found[0]} = 1")))) if quoted else found[0])
            self.skip(_BLANK)
            if self.text[self.at : self.at + 1] != ".":
                return parts
            self.at += 1

    def value(self) -> Mark:
        """Read one value of any type."""
        mark = Mark(self.here(), self.here())
        sign = self.text[self.at]
        if sign == "[":
            self.at += 1
            while self.skip() and self.text[self.at] != "]":
                mark.inside[len(mark.inside)] = self.value()
                self.skip()
                self.at += self.text[self.at] == ","
            self.at += 1
        elif sign == "{":
            self.at += 1
            while self.skip() and self.text[self.at] != "}":
                self.pair(mark)
                self.skip()
                self.at += self.text[self.at] == ","
            self.at += 1
        else:
            found = _STRING.match(self.text, self.at) or _OTHER.match(self.text, self.at)
            self.at = found.end() if found else len(self.text)
        return mark


def _last_item(mark: Mark) -> Mark:
    last = len(mark.inside) - 1
    return mark.inside[last] if last >= 0 and last in mark.inside else mark
