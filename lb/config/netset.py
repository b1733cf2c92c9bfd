"""Sets of networks for the plan image: sorted ranges that neither touch nor overlap (netset_t of policy/plan.pxd)."""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from lb.model.network import parse_network, takes_unix

NETSET_UNIX = 1 << 0

_LOW = (1 << 64) - 1


class NetsetRow(NamedTuple):
    """One netset_t and the arrays it leads to, as bytes."""

    v4: bytes = b""  # net4_t
    v6: bytes = b""  # net6_t
    flags: int = 0


def netset(entries: Iterable[str]) -> NetsetRow:
    """Return the set of these entries; raise lb.model.network.NetworkError."""
    spans: dict[int, list[tuple[int, int]]] = {32: [], 128: []}
    flags = 0
    for entry in entries:
        flags |= NETSET_UNIX if takes_unix(entry) else 0
        for bits, first, last in parse_network(entry):
            spans[bits].append((first, last))
    v4 = array("I", [each for span in merged(spans[32]) for each in span])
    v6 = array("Q")
    for span in merged(spans[128]):
        for each in span:
            v6.extend((each >> 64, each & _LOW))
    return NetsetRow(v4.tobytes(), v6.tobytes(), flags)


def merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the same numbers in order, in as few spans as possible."""
    made: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if made and first <= made[-1][1] + 1:
            made[-1] = (made[-1][0], max(made[-1][1], last))
        else:
            made.append((first, last))
    return made
