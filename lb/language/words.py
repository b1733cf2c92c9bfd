r"""Words of a condition, as HAProxy's configuration has them (manual 2.2).

Blanks separate words. A backslash takes a blank, backslash, quote, `#` or `$` as it is (`\n`, `\r`, `\t`, `\xHH` are what they
are elsewhere), and stays before anything else, as regular expressions want it. "Weak" and 'strong' quotes keep blanks; in
strong ones a backslash is a backslash. Variables of the environment were put in
before: a dollar is a character like any other.
"""

from dataclasses import dataclass

from lb.language.error import LanguageError

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", **{each: each for each in "\\ #$\"'"}}


@dataclass(frozen=True, slots=True)
class Word:
    """One word, and where it begins (from 1)."""

    text: str
    at: int
    is_quoted: bool = False  # a quoted `{` or `or` is not syntax


def split(text: str) -> list[Word]:
    """Return the words of a text; raise LanguageError for a quote or an escape that does not end."""
    words: list[Word] = []
    i, n = 0, len(text)
    while i < n:
        if text[i] in " \t\r\n":
            i += 1
            continue
        begin, made, quoted = i, [], False
        while i < n and text[i] not in " \t\r\n":
            char = text[i]
            if char == "\\":
                piece, i = _escape(text, i)
                made.append(piece)
                quoted = True
            elif char in "\"'":
                piece, i = _quoted(text, i)
                made.append(piece)
                quoted = True
            else:
                made.append(char)
                i += 1
        words.append(Word("".join(made), begin + 1, quoted))
    return words


def _escape(text: str, i: int) -> tuple[str, int]:
    if i + 1 >= len(text):
        raise LanguageError("ends in a backslash", i + 1, "write '\\\\' for a backslash")
    char = text[i + 1]
    if char == "x":
        digits = text[i + 2 : i + 4]
        if len(digits) < 2 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise LanguageError("'\\x' needs two hexadecimal digits", i + 1)
        byte = int(digits, 16)
        return chr(byte) if byte < 128 else chr(0xDC00 + byte), i + 4  # the byte itself, as `surrogateescape` has it
    return _ESCAPES.get(char, f"\\{char}"), i + 2


def _quoted(text: str, i: int) -> tuple[str, int]:
    quote, begin = text[i], i
    made: list[str] = []
    i += 1
    while i < len(text) and text[i] != quote:
        if text[i] == "\\" and quote == '"':
            piece, i = _escape(text, i)
            made.append(piece)
        else:
            made.append(text[i])
            i += 1
    if i >= len(text):
        raise LanguageError(f"the quote {quote} is not closed", begin + 1)
    return "".join(made), i + 1
