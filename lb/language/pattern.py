"""Patterns of a test: the set that a sample is looked up in (manual 7.1.1 to 7.1.6)."""

import ipaddress
import re
from dataclasses import dataclass

from lb.language.catalog import MATCH_TAKES, Match
from lb.language.error import LanguageError
from lb.language.regex import IGNORE_CASE, check_regex
from lb.language.words import Word

SET_IGNORE_CASE = 1
ANYWHERE_MAX = 255
"""Bytes of a pattern that may stand anywhere in a value (WORD_ROLLED)."""
_LEAST, _MOST = -(2**63), 2**63 - 1
_NUMBER = re.compile(r"-?[0-9]{1,99}")
_RANGE = re.compile(r"(-?[0-9]{0,99}):(-?[0-9]{0,99})")


@dataclass(frozen=True, slots=True)
class Set:
    """One `set_t`."""

    method: int
    flags: int
    cast: int
    words: tuple[bytes, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()
    nets4: tuple[tuple[bytes, bytes], ...] = ()
    nets6: tuple[tuple[bytes, bytes], ...] = ()
    regexes: tuple[tuple[bytes, int], ...] = ()  # pattern, flags; in the order in which they are tried
    reference: int = -1  # as ARG_REFERENCE: what is looked up is there, and nothing here


def compile_set(method: Match, ignore_case: bool, patterns: list[Word]) -> Set:
    """Compile patterns; raise LanguageError where one does not fit the method."""
    flags = SET_IGNORE_CASE if ignore_case else 0
    cast = MATCH_TAKES[method]
    if method in (Match.FOUND, Match.BOOL):
        if patterns:
            raise LanguageError(f"'-m {method.name.lower()}' takes no pattern", patterns[0].at)
        return Set(method, 0, cast)
    if not patterns:
        raise LanguageError("no pattern is given, so this would never match", 0, "write what to compare with")
    if method in (Match.INT, Match.LEN):
        return Set(method, 0, cast, ranges=_ranges(patterns))
    if method is Match.IP:
        nets = [_network(each) for each in patterns]
        return Set(
            method,
            0,
            cast,
            nets4=_merge([each for each in nets if len(each[0]) == 4]),
            nets6=_merge([each for each in nets if len(each[0]) == 16]),
        )
    if method is Match.REG:
        how = IGNORE_CASE if ignore_case else 0
        found = [(check_regex(each.text, each.at, how), how) for each in patterns]
        return Set(method, flags, cast, regexes=tuple(dict.fromkeys(found)))
    if method is Match.BIN:
        return Set(method, 0, cast, words=tuple(sorted({_binary(each) for each in patterns})))
    return Set(method, flags, cast, words=tuple(sorted({_word(method, ignore_case, each) for each in patterns})))


def _word(method: Match, ignore_case: bool, pattern: Word) -> bytes:
    word = pattern.text.encode("utf-8", "surrogateescape")
    if ignore_case:
        word = bytes(each | 0x20 if 65 <= each <= 90 else each for each in word)
    if method in (Match.DIR, Match.DOM):
        # Delimiters around the pattern are no part of it.
        word = word.strip(b"/?" if method is Match.DIR else b"/?.:")
    if method in (Match.SUB, Match.DIR, Match.DOM) and len(word) > ANYWHERE_MAX:
        raise LanguageError(
            f"a pattern of '-m {method.name.lower()}' has at most {ANYWHERE_MAX} bytes",
            pattern.at,
            "use 'str', 'beg' or 'end'",
        )
    return word


def _binary(pattern: Word) -> bytes:
    try:
        return bytes.fromhex(pattern.text)
    except ValueError:
        raise LanguageError(f"'{pattern.text}' is not pairs of hexadecimal digits", pattern.at) from None


def _ranges(patterns: list[Word]) -> tuple[tuple[int, int], ...]:
    """Read `5`, `1:9`, `:9`, `1:` and operators, each of which holds for what follows it."""
    operator, waits = "eq", False
    found: list[tuple[int, int]] = []
    last = patterns[-1]
    for each in patterns:
        if each.text in ("eq", "ge", "gt", "le", "lt"):
            operator, waits = each.text, True
            continue
        waits = False
        low, high = _number(each)
        if low != high and operator != "eq":
            raise LanguageError(f"'{operator}' takes a number, not the range '{each.text}'", each.at)
        if operator == "gt":
            low, high = low + 1, _MOST
        elif operator == "ge":
            high = _MOST
        elif operator == "lt":
            low, high = _LEAST, high - 1
        elif operator == "le":
            low = _LEAST
        if low <= high:
            found.append((low, high))
    if waits:
        raise LanguageError(f"a number is missing behind '{last.text}'", last.at)
    merged: list[tuple[int, int]] = []
    for low, high in sorted(found):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _number(pattern: Word) -> tuple[int, int]:
    if _NUMBER.fullmatch(pattern.text):
        low = high = int(pattern.text)
    else:
        found = _RANGE.fullmatch(pattern.text)
        if found is None or "-" in (found[1], found[2]) or not (found[1] or found[2]):
            raise LanguageError(
                f"'{pattern.text}' is not a number",
                pattern.at,
                "write a number, a range 'low:high', or eq ge gt le lt and one",
            )
        low = int(found[1]) if found[1] else _LEAST
        high = int(found[2]) if found[2] else _MOST
        if low > high:
            raise LanguageError(f"the range '{pattern.text}' is empty", pattern.at)
    if low < _LEAST or high > _MOST:
        raise LanguageError(f"'{pattern.text}' does not fit 64 bits", pattern.at)
    return low, high


def _network(pattern: Word) -> tuple[bytes, bytes]:
    try:
        net = ipaddress.ip_network(pattern.text, strict=False)
    except ValueError:
        raise LanguageError(
            f"'{pattern.text}' is not an address or a network", pattern.at, "such as 10.0.0.0/8 or 2001:db8::/32"
        ) from None
    return net.network_address.packed, net.broadcast_address.packed


def _merge(nets: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    merged: list[tuple[bytes, bytes]] = []
    for low, high in sorted(nets):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)
