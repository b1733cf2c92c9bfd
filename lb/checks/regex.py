"""Regular expressions of checks: those of rules (`lb/_speedups/policy/regex.pxd`), so that no answer can hold the supervisor."""

from functools import lru_cache

from lb._speedups.face.regex import Regex, RegexLimit


def is_found(pattern: bytes, text: bytes | bytearray) -> bool:
    """Return whether the pattern matches somewhere; one that reaches a limit does not."""
    try:
        return _compiled(pattern).search(text) is not None
    except RegexLimit:
        return False


@lru_cache(4096)
def _compiled(pattern: bytes) -> Regex:
    return Regex(pattern)
