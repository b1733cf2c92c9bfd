"""Nanoseconds a lookup in a map costs, and what loading a large one takes: `python -m bench.micro.maps`.

Keys are asked for in a random order, so a large file shows its cache misses too. Ten entries against a million of the same kind.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable

import lb.config  # noqa: F401 - before lb.language, which it imports and which imports it
from bench.micro.timing import report
from lb._speedups.face import references as face
from lb._speedups.face.mapping import Mapping
from lb.language.catalog import Match

ASKED = 4096  # keys
MANY = 1_000_000
_DICE = random.Random(1)


def hosts(count: int) -> list[bytes]:
    """Return names of hosts."""
    return [b"host-%d.example.com" % number for number in range(count)]


def networks4(count: int) -> list[bytes]:
    """Return networks of IPv4, /16 to /32."""
    return [_dotted(_DICE.getrandbits(32)) + b"/%d" % _DICE.randint(16, 32) for _ in range(count)]


def networks6(count: int) -> list[bytes]:
    """Return networks of IPv6, /32 to /64, below 2000::/12."""
    return [
        b"%x:%x:%x:%x::/%d"
        % (0x2000 | _DICE.getrandbits(4), *(_DICE.getrandbits(16) for _ in range(3)), _DICE.randint(32, 64))
        for _ in range(count)
    ]


def numbers(count: int) -> list[bytes]:
    """Return numbers and short ranges."""
    return [b"%d" % (7 * number) if number % 2 else b"%d:%d" % (7 * number, 7 * number + 3) for number in range(count)]


def _dotted(number: int) -> bytes:
    return b"%d.%d.%d.%d" % tuple(number.to_bytes(4, "big"))


def main() -> None:
    """Print the table."""
    mapping = Mapping.create()
    place = face.STORE_AT
    kinds: list[tuple[str, Match, int, Callable[[int], list[bytes]]]] = [
        ("str", Match.STR, 0, hosts),
        ("beg", Match.BEG, 0, hosts),
        ("ip, IPv4", Match.IP, face.REFERENCE_NETS, networks4),
        ("ip, IPv6", Match.IP, face.REFERENCE_NETS, networks6),
        ("int", Match.INT, face.REFERENCE_NUMBERS, numbers),
    ]
    for name, method, flags, make in kinds:
        for count in (10, MANY):
            keys = make(count)
            content = b"\n".join(key + b" value%d" % number for number, key in enumerate(keys))
            began = time.perf_counter()
            entries = face.Entries(content, True)
            entries.judge(flags | face.REFERENCE_MAP)
            size = (entries.size(flags | face.REFERENCE_MAP, 1, 512) + 4095) & ~4095
            face.reserve(mapping, place, size)
            entries.build(mapping, place, flags | face.REFERENCE_MAP, [(int(method), 0)], 512, 1 << 20, 1)
            took = time.perf_counter() - began
            asked = [_DICE.choice(keys).partition(b"/")[0].partition(b":")[0] if method is Match.INT else
                     _DICE.choice(keys).partition(b"/")[0] for _ in range(ASKED)]  # fmt: skip
            report(
                f"{name}, {count} entries",
                lambda n, asked=asked: face.lookup_ns(mapping, place, 0, asked, max(1, n // ASKED)),  # type: ignore[misc]
            )
            if count == MANY:
                print(f"  built in {took:.2f} s, {size / count:.0f} bytes an entry")
            face.release(mapping, place, size)
    print(f"most memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
