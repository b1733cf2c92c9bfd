"""Maps under random changes by several processes, beside a list that is searched from the beginning."""

from __future__ import annotations

import os
import random
import signal
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.references import IGNORE_CASE, Model, Stored, beside

from lb._speedups.face import references as face
from lb.language.catalog import Match

WAYS = [
    (Match.STR, 0), (Match.STR, IGNORE_CASE), (Match.BEG, 0), (Match.BEG, IGNORE_CASE), (Match.END, 0), (Match.SUB, 0),
    (Match.SUB, IGNORE_CASE), (Match.DIR, 0), (Match.DOM, 0),
]  # fmt: skip
WORDS = st.text(alphabet="abA/.:?", min_size=1, max_size=6)
NETS = st.one_of(
    st.builds(lambda a, b, bits: f"10.{a}.{b}.0/{bits}", st.integers(0, 3), st.integers(0, 3), st.integers(0, 32)),
    st.builds(lambda a, bits: f"2001:db8:{a}::/{bits}", st.integers(0, 3), st.integers(0, 128)),
    st.builds(lambda a, bits: f"::ffff:10.{a}.0.0/{bits}", st.integers(0, 3), st.integers(90, 128)),
)
ADDRESSES = st.one_of(
    st.builds(lambda a, b, c: f"10.{a}.{b}.{c}", st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)),
    st.builds(lambda a, b: f"2001:db8:{a}::{b}", st.integers(0, 4), st.integers(0, 3)),
    st.builds(lambda a: f"::ffff:10.{a}.0.1", st.integers(0, 4)),
)
SPANS = st.one_of(
    st.integers(0, 40).map(str),
    st.builds(lambda low, n: f"{low}:{low + n}", st.integers(0, 40), st.integers(0, 9)),
    st.integers(0, 40).map(lambda n: f"{n}:"),
    st.integers(0, 40).map(lambda n: f":{n}"),
)
KINDS = {
    "words": (WAYS, WORDS, st.text(alphabet="abA/.:?", max_size=12)),
    "networks": ([(Match.IP, 0)], NETS, ADDRESSES),
    "numbers": ([(Match.INT, 0)], SPANS, st.integers(-3, 60).map(str)),
    "lengths": ([(Match.LEN, 0)], SPANS, st.integers(0, 45).map(lambda n: "x" * n)),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_found_is_what_the_list_says(kind: str, data: st.DataObject) -> None:
    ways, keys, texts = KINDS[kind]
    first = data.draw(st.lists(keys, max_size=12), label="file")
    stored = Stored("\n".join(f"{key} {number}" for number, key in enumerate(first)).encode(), *ways, slack=8)
    model = Model()
    for number, key in enumerate(first):
        model.add(key, str(number))
    pending: dict[int, Model] = {}
    for step in range(data.draw(st.integers(0, 14), label="steps")):
        what = data.draw(
            st.sampled_from(["set", "set", "delete", "append", "fold", "prepare", "later", "commit", "clear"])
        )
        key, value = data.draw(keys), f"s{step}"
        if what == "set":
            if stored.set(key, value) == face.REFERENCE_FULL:
                assert stored.fold() == face.REFERENCE_DONE
                assert stored.set(key, value) == face.REFERENCE_DONE
            model.set(key, value)
        elif what == "delete":
            known = [each.key for each in model.entries]
            key = data.draw(st.sampled_from(known)) if known and data.draw(st.booleans()) else key
            answer = stored.delete(key)
            if answer == face.REFERENCE_FULL:
                assert stored.fold() == face.REFERENCE_DONE
                answer = stored.delete(key)
            assert answer == (face.REFERENCE_DONE if model.delete(key) else face.REFERENCE_NONE)
        elif what == "append":
            if stored.append(key, value) == face.REFERENCE_FULL:
                assert stored.fold() == face.REFERENCE_DONE
                assert stored.append(key, value) == face.REFERENCE_DONE
            model.add(key, value)
        elif what == "fold":
            assert stored.fold() == face.REFERENCE_DONE
        elif what == "prepare":
            pending[face.prepare(stored.mapping, stored.place)] = Model()
        elif what == "later" and pending:
            version = data.draw(st.sampled_from(sorted(pending)))
            if stored.append(key, value, version) == face.REFERENCE_FULL:
                assert stored.fold() == face.REFERENCE_DONE
                assert stored.append(key, value, version) == face.REFERENCE_DONE
            pending[version].add(key, value)
        elif what == "commit" and pending:
            version = data.draw(st.sampled_from(sorted(pending)))
            assert stored.fold(version) == face.REFERENCE_DONE
            model = pending[version]
            pending = {number: each for number, each in pending.items() if number > version}
        elif what == "clear":
            assert stored.fold(keeps=False) == face.REFERENCE_DONE
            model = Model()
        assert stored.rows() == [(each.key.encode(), (each.value or "").encode()) for each in model.entries]
        assert stored.known["entries"] == len(model.entries) + sum(len(each.entries) for each in pending.values())
        for text in data.draw(st.lists(texts, min_size=1, max_size=4)):
            for use, (method, flags) in enumerate(ways):
                found = model.find(text, method, flags)
                expected = None if found is None else (found.key.encode(), (found.value or "").encode())
                assert stored.find(text, use) == expected, (text, method, flags)


@pytest.mark.parametrize("method", [Match.STR, Match.IP, Match.INT])
def test_processes_change_one_map_at_a_time_while_it_is_folded(method: Match) -> None:
    """Each has keys of its own and knows what they must be; the rest must not move."""
    name = {Match.IP: "10.0.{}.{}", Match.INT: "{}0{:03}"}.get(method, "k{}-{}")
    fixed = [name.format(9, number) for number in range(40)]
    stored = Stored("\n".join(f"{key} fixed" for key in fixed).encode(), (method, 0), slack=4096)
    workers = 3

    def work(worker: int, turn: int) -> None:
        dice = random.Random(worker << 32 | turn)
        key = name.format(worker, dice.randrange(30))
        if stored.set(key, f"v{turn}") == face.REFERENCE_DONE:
            assert stored.value(key) == f"v{turn}"
            if dice.random() < 0.5:
                answer = stored.delete(key)
                assert answer in (face.REFERENCE_DONE, face.REFERENCE_FULL)
                assert (stored.value(key) is None) == (answer == face.REFERENCE_DONE)
        assert stored.value(fixed[turn % 40]) == "fixed"

    with ExitStack() as stack:
        started = [beside(lambda turn, worker=worker: work(worker, turn)) for worker in range(workers)]  # type: ignore[misc]
        for pid, _ in started:
            stack.callback(lambda pid=pid: _end(pid))
        for _ in range(25):
            assert stored.fold() == face.REFERENCE_DONE
            assert {stored.value(key) for key in fixed} == {"fixed"}
        for _, writer in started:  # all of them first: later children have copies of earlier ones' descriptors
            os.close(writer)
        for pid, _ in started:
            assert os.waitpid(pid, 0)[1] == 0
        stack.pop_all()
    keys = [key for key, _ in stored.rows()]
    assert len(keys) == len(set(keys)) == stored.known["entries"]
    for key, value in stored.rows():
        assert stored.find(key) == (key, value)


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
