"""Samples of a log: `10%`, or HAProxy's `ranges:size`, as a bit for each record of a period."""

import re
from fractions import Fraction
from typing import NamedTuple

SIZE_MAX = 65_536  # LOG_SAMPLE_MAX


class SampleError(ValueError):
    """Raise for a text that is no sample; the argument says what is wrong and the way out."""


class Sample(NamedTuple):
    """A period of records and which of them are written."""

    size: int
    bits: bytes  # lowest first


def parse_sample(text: str) -> Sample:
    """Parse `10%` or `1-3,5:10`. Raise SampleError."""
    share = re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?)%", text)
    if share:
        return _spread(Fraction(share[1]) / 100)
    ranges, colon, size_text = text.partition(":")
    if not colon or not re.fullmatch(r"\d{1,6}", size_text) or not 1 <= int(size_text) <= SIZE_MAX:
        raise SampleError(f"is no sample; write '10%', or '1-3,5:10' with at most {SIZE_MAX} behind the colon")
    size = int(size_text)
    chosen: set[int] = set()
    last = 0
    for each in ranges.split(","):
        found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", each)
        if found is None:
            raise SampleError(f"has '{each}' where a number or a range such as '1-3' is expected")
        low, high = int(found[1]), int(found[2] or found[1])
        if not last < low <= high <= size:
            raise SampleError(f"has '{each}' out of order; ranges rise from 1 to the {size} behind the colon")
        last = high
        chosen.update(range(low - 1, high))
    return _sample(size, chosen)


def _spread(share: Fraction) -> Sample:
    """Choose a share of the records, as evenly as whole records allow."""
    if not 0 < share <= 1:
        raise SampleError("is no part of all records; write more than 0% and at most 100%")
    part, size = share.numerator, share.denominator
    return _sample(size, {at for at in range(size) if at * part % size < part})


def _sample(size: int, chosen: set[int]) -> Sample:
    bits = bytearray((size + 7) // 8)
    for at in chosen:
        bits[at >> 3] |= 1 << (at & 7)
    return Sample(size, bytes(bits))
