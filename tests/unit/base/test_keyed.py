"""The keyed table against a dict, and what makes it safe with keys that strangers choose."""

from __future__ import annotations

import random
from collections import OrderedDict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lb._speedups.face.testing_udp import Keyed

SECRET = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
MASK = (1 << 64) - 1


def siphash13(secret: tuple[int, int], words: list[int]) -> int:
    """Say it slowly (Aumasson and Bernstein, SipHash: a fast short-input PRF)."""

    def rotate(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & MASK

    v0, v1, v2, v3 = (
        secret[i & 1] ^ int.from_bytes(text, "big")
        for i, text in enumerate((b"somepseu", b"dorandom", b"lygenera", b"tedbytes"))
    )

    def mix() -> None:
        nonlocal v0, v1, v2, v3
        v0 = (v0 + v1) & MASK
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 = (v2 + v3) & MASK
        v3 = rotate(v3, 16) ^ v2
        v0 = (v0 + v3) & MASK
        v3 = rotate(v3, 21) ^ v0
        v2 = (v2 + v1) & MASK
        v1 = rotate(v1, 17) ^ v2
        v2 = rotate(v2, 32)

    for word in [*words, len(words) * 8 << 56]:
        v3 ^= word
        mix()
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(3):
        mix()
    return v0 ^ v1 ^ v2 ^ v3


def key_of(number: int) -> list[int]:
    return [number, 0, number >> 3, 0, 7, 0]


def test_the_hash_is_siphash() -> None:
    draw = random.Random(1)
    for _ in range(100):
        secret = (draw.getrandbits(64), draw.getrandbits(64))
        words = [draw.getrandbits(64) for _ in range(6)]
        assert Keyed(*secret).hash(words) == siphash13(secret, words)


def test_another_secret_is_another_hash() -> None:
    assert Keyed(1, 2).hash(key_of(1)) != Keyed(1, 3).hash(key_of(1)) != Keyed(2, 2).hash(key_of(1))


def test_every_word_of_the_key_counts() -> None:
    table = Keyed(*SECRET)
    keys = [[int(i == j) for j in range(6)] for i in range(6)]
    nodes = [table.add(key) for key in keys]
    assert [table.find(key) for key in keys] == nodes
    assert table.find([0] * 6) == 0


def test_chains_stay_short_while_it_grows() -> None:
    table = Keyed(*SECRET)
    nodes = {}
    for number in range(20_000):
        nodes[number] = table.add(key_of(number))
    counts = table.counts()
    assert counts["buckets"] >= counts["count"] == 20_000
    assert counts["capacity"] < 4 * counts["count"]
    assert table.longest() <= 12
    assert all(table.find(key_of(number)) == node for number, node in nodes.items())


class AgainstADict(RuleBasedStateMachine):
    """Random operations; the oracle is an OrderedDict, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Keyed(*SECRET)
        self.nodes: OrderedDict[int, int] = OrderedDict()

    @rule(numbers=st.lists(st.integers(0, 400), max_size=80))
    def add(self, numbers: list[int]) -> None:
        for number in numbers:
            if number in self.nodes:
                self.table.touch(self.nodes[number])
                self.nodes.move_to_end(number)
            else:
                self.nodes[number] = self.table.add(key_of(number))

    @rule(numbers=st.lists(st.integers(0, 400), max_size=40))
    def remove(self, numbers: list[int]) -> None:
        for number in numbers:
            if number in self.nodes:
                self.table.remove(self.nodes.pop(number))

    @rule(count=st.integers(0, 20))
    def evict(self, count: int) -> None:
        for _ in range(min(count, len(self.nodes))):
            _, node = self.nodes.popitem(last=False)
            assert self.table.ages_in_order()[0] == node
            self.table.remove(node)

    @rule(number=st.integers(0, 400))
    def find(self, number: int) -> None:
        assert self.table.find(key_of(number)) == self.nodes.get(number, 0)

    @invariant()
    def same_in_the_same_order(self) -> None:
        assert self.table.ages_in_order() == list(self.nodes.values())
        counts = self.table.counts()
        assert counts["count"] == counts["aged"] == len(self.nodes)


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
