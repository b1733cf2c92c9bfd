"""Durations, sizes and percentages: strings with units, as people write them.

A duration is a whole number and one of ``ms s m h d``. A bare number is none: HAProxy reads it as milliseconds, nginx as
seconds, so it is refused. A size is a whole number of bytes, or one with ``k`` or ``m`` (1024, 1024 x 1024).
"""

import re

_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")

_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

DURATION_PATTERN = r"^[0-9]{1,12}(ms|s|m|h|d)$(?!\n)"

# The data plane keeps deadlines as 64-bit ms and timeouts as uint32: 24 days, HAProxy's own limit, fits both.
DURATION_MAX_MS = 24 * 86_400_000


# A share with `bound: 100%` would have to be exact, and every key would move with every connection.
PERCENT_MIN, PERCENT_MAX = 101, 10_000


_SIZE = re.compile(r"([0-9]{1,10})([km]?)")
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20}

SIZE_PATTERN = r"^[0-9]{1,10}[km]?$(?!\n)"


class UnitError(ValueError):
    """Raise for a text that is no such thing; the argument says what was expected."""


def duration_ms(text: str, most: int = DURATION_MAX_MS) -> int:
    """Return the milliseconds of a duration such as ``5s``; raise UnitError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        if text.isdecimal():
            raise UnitError(f"has no unit; write '{text}s' or '{text}ms'")
        raise UnitError("is not a duration; write a whole number and one of ms, s, m, h, d, such as '5s'")
    ms = int(found[1]) * _MS[found[2]]
    if ms > most:
        raise UnitError(f"is {ms // 86_400_000} days; at most {most // 86_400_000}d are possible")
    return ms


def size_bytes(text: str) -> int:
    """Return the bytes of a size such as ``64k``; raise UnitError."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UnitError("is not a size; write a whole number of bytes, or with k or m, such as '64k'")
    return int(found[1]) * _BYTES[found[2]]


def percent(text: str) -> int:
    """Return the number of a percentage above 100 such as ``125%``; raise UnitError."""
    found = re.fullmatch(r"([0-9]{1,6})%", text)
    if found is None:
        raise UnitError("is not a percentage; write a whole number and '%', such as '125%'")
    number = int(found[1])
    if not PERCENT_MIN <= number <= PERCENT_MAX:
        raise UnitError(f"is not within {PERCENT_MIN}% and {PERCENT_MAX}%")
    return number
