"""Regular expressions as they are written: compiled once here, so that a mistake is found when the configuration is read.

Workers compile them again (`lb/_speedups/policy/regexes.pxd`): compiled code cannot be handed on.
"""

from functools import lru_cache

from lb.language.error import LanguageError

IGNORE_CASE = 1  # REGEX_IGNORE_CASE
PATTERN_MAX = 8192  # REGEX_PATTERN_MAX
WITHOUT = "regular expressions need PCRE2, which this lb was built without"


def check_regex(text: str, at: int, flags: int = 0) -> bytes:
    """Return the bytes of a pattern; raise LanguageError where it cannot be compiled. `at` is where it begins."""
    pattern = text.encode("utf-8", "surrogateescape")
    if len(pattern) > PATTERN_MAX:
        raise LanguageError(f"the regular expression is {len(pattern)} bytes; at most {PATTERN_MAX} are possible", at)
    problem, place = _problem(pattern, flags)
    if problem == WITHOUT:
        raise LanguageError(problem, at, "install libpcre2-dev and build lb again")
    if problem:
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise LanguageError(f"'{shown}' is no regular expression: {problem}, behind its byte {place}", at)
    return pattern


def check_references(text: str, at: int) -> bytes:
    r"""Return the bytes of what replaces a match (`\0` to `\9`, `\xHH`); raise LanguageError for an escape that does not end."""
    i = 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
            if i == len(text):
                raise LanguageError(f"'{text}' ends in a backslash", at, r"write '\\' for one")
            if text[i] == "x":
                digits = text[i + 1 : i + 3]
                if len(digits) < 2 or any(each not in "0123456789abcdefABCDEF" for each in digits):
                    raise LanguageError(f"'{text}': '\\x' needs two hexadecimal digits", at)
                i += 2
        i += 1
    return text.encode("utf-8", "surrogateescape")


@lru_cache(65536)
def _problem(pattern: bytes, flags: int) -> tuple[str, int]:
    try:
        # Not at the top: a configuration without regular expressions can be read where nothing is compiled.
        from lb._speedups.face.regex import Regex, RegexError, is_available
    except ImportError:
        return "", 0
    if not is_available():
        return WITHOUT, -1
    try:
        Regex(pattern, bool(flags & IGNORE_CASE))
    except RegexError as error:
        return str(error), error.at
    return "", 0
