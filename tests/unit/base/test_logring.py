from __future__ import annotations

import mmap
import os
import random
import signal
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb._speedups.face.testing_log import RING_DATA, Ring

SMALL = RING_DATA + 128


def in_child(body: Callable[[], object]) -> int:
    """Run `body` in a forked process; return its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def test_a_record_comes_out_as_it_went_in() -> None:
    ring = Ring(bytearray(SMALL))
    assert ring.peek() is None
    assert ring.write(b"hello", 3, 5)
    assert ring.peek() == (b"hello", 3, 5)
    assert ring.peek() == (b"hello", 3, 5)
    assert ring.read() == b"hello"
    assert ring.read() is None


def test_a_record_may_be_empty() -> None:
    ring = Ring(bytearray(SMALL))
    assert ring.write(b"")
    assert ring.read() == b""
    assert ring.head == 8


def test_less_than_what_was_reserved_may_be_committed() -> None:
    ring = Ring(bytearray(SMALL))
    assert ring.reserve(60)
    ring.fill(b"abc")
    ring.commit(3)
    assert ring.read() == b"abc"
    assert ring.head == 16


def test_what_is_not_committed_has_not_happened() -> None:
    ring = Ring(bytearray(SMALL))
    assert ring.reserve(10)
    ring.fill(b"0123456789")
    assert ring.read() is None
    assert ring.write(b"x")
    assert ring.read() == b"x"


def test_a_full_ring_refuses_and_counts() -> None:
    ring = Ring(bytearray(SMALL))
    assert ring.size == 128
    assert [ring.write(bytes([48 + i]) * 24) for i in range(6)] == [True] * 4 + [False] * 2
    assert ring.dropped == 2
    assert ring.read() == b"0" * 24
    assert ring.write(b"again")
    assert ring.dropped == 2
    assert [ring.read() for _ in range(5)] == [b"1" * 24, b"2" * 24, b"3" * 24, b"again", None]


def test_a_record_that_meets_the_end_starts_at_the_front() -> None:
    ring = Ring(bytearray(SMALL))
    assert ring.write(b"a" * 80)
    assert ring.read() == b"a" * 80
    # 40 bytes are left before the end: a filler takes them.
    assert ring.write(b"b" * 40)
    assert (ring.head, ring.tail) == (128 + 48, 88)
    assert ring.read() == b"b" * 40
    assert ring.tail == 128 + 48


def test_half_a_ring_always_fits_into_an_empty_one() -> None:
    ring = Ring(bytearray(SMALL))
    for step in range(0, 56, 8):
        assert ring.write(b"s" * step)
        assert ring.read() == b"s" * step
        assert ring.write(b"h" * 56)
        assert ring.read() == b"h" * 56
    assert ring.dropped == 0


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(64, 600),
    steps=st.lists(st.one_of(st.none(), st.integers(0, 90)), max_size=120),
)
def test_it_is_a_queue(size: int, steps: list[int | None]) -> None:
    """Compare with a deque: a number writes a record of that many bytes, None reads one."""
    ring = Ring(bytearray(RING_DATA + size))
    oracle: deque[bytes] = deque()
    refused = 0
    for number, step in enumerate(steps):
        if step is None:
            assert ring.read() == (oracle.popleft() if oracle else None)
            continue
        text = bytes([number & 255]) * step
        used = ring.head - ring.tail
        if ring.write(text):
            oracle.append(text)
        else:
            refused += 1
            need = 8 + (step + 7) // 8 * 8
            rest = ring.size - ring.head % ring.size
            assert used + need + (rest if rest < need else 0) > ring.size
        assert ring.head - ring.tail <= ring.size
    assert ring.dropped == refused
    assert [ring.read() for _ in oracle] == list(oracle)
    assert ring.read() is None
    assert ring.broken == 0


def test_two_processes_agree() -> None:
    memory = mmap.mmap(-1, 8192)
    ring = Ring(memory)
    count = 100_000

    def produce() -> None:
        random.seed(1)
        for number in range(count):
            text = b"%d:" % number + b"." * random.randrange(200)
            while not ring.write(text):
                os.sched_yield()

    pid = os.fork()
    if pid == 0:
        try:
            produce()
        finally:
            os._exit(0)
    random.seed(1)
    for number in range(count):
        while (text := ring.read()) is None:
            os.sched_yield()
        assert text == b"%d:" % number + b"." * random.randrange(200)
    assert os.waitpid(pid, 0)[1] == 0
    assert ring.read() is None


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_producer_that_dies_before_its_commit_leaves_the_ring_readable(before: int) -> None:
    memory = mmap.mmap(-1, SMALL)
    ring = Ring(memory)

    def die_inside() -> None:
        for number in range(before):
            ring.write(b"whole %d" % number)
        # With three records before it, the reservation also publishes a filler.
        ring.reserve(72)
        ring.fill(b"\xff" * 72)
        os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_child(die_inside)) == signal.SIGKILL
    assert [ring.read() for _ in range(before + 1)] == [*(b"whole %d" % n for n in range(before)), None]

    # The next worker of the slot goes on in the same ring.
    assert in_child(lambda: None if Ring(memory, init=False).write(b"next") else os._exit(1)) == 0
    assert ring.read() == b"next"
    assert ring.broken == 0


@pytest.mark.parametrize("point", ["log.reserved", "log.written"])
def test_a_producer_that_dies_inside_its_commit_leaves_the_ring_readable(
    point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = mmap.mmap(-1, SMALL)
    ring = Ring(memory)
    ring.write(b"before")
    monkeypatch.setenv("LB_KILL_AT", point)
    assert os.WTERMSIG(in_child(lambda: ring.write(b"never"))) == signal.SIGKILL
    monkeypatch.delenv("LB_KILL_AT")
    assert ring.write(b"after")
    assert [ring.read() for _ in range(3)] == [b"before", b"after", None]
    assert ring.broken == 0


@pytest.mark.parametrize(
    ("at", "garbage"),
    [
        (0, b"\xf0\xff\xff\xff"),  # a record longer than the ring
        (0, b"\x40\x00\x00\x00"),  # one that ends behind `head`
        (0, b"\xff\xff\xff\xff"),  # a filler that ends behind `head`
        (24, b"\x80\x00\x00\x00"),
    ],
)
def test_a_ring_full_of_garbage_is_skipped(at: int, garbage: bytes) -> None:
    memory = bytearray(SMALL)
    ring = Ring(memory)
    assert ring.write(b"a" * 16)
    assert ring.write(b"b" * 16)
    memory[RING_DATA + at : RING_DATA + at + 4] = garbage
    if at:
        assert ring.read() == b"a" * 16
    assert ring.peek() is None
    assert ring.broken == 1
    assert ring.write(b"after")
    assert ring.read() == b"after"


def test_the_next_worker_keeps_what_the_last_one_wrote() -> None:
    ring = Ring(bytearray(SMALL))
    for _ in range(3):
        ring.write(b"a" * 40)
        ring.read()
    ring.write(b"b" * 40)
    ring.adopt()
    ring.write(b"c" * 40)
    assert [ring.read() for _ in range(3)] == [b"b" * 40, b"c" * 40, None]
    assert ring.broken == 0


@settings(max_examples=300)
@given(
    records=st.integers(0, 3),
    name=st.sampled_from(["head", "tail", "size"]),
    value=st.one_of(st.integers(0, 400), st.integers(0, 2**64 - 1)),
)
def test_the_next_worker_mends_a_ring_that_was_written_over(records: int, name: str, value: int) -> None:
    ring = Ring(bytearray(SMALL))
    for _ in range(records):
        ring.write(b"x" * 20)
    setattr(ring, name, value)
    ring.adopt()
    # The consumer may need a look for each of the two counts; what it reads then is anything.
    for _ in range(20):
        if ring.read() is None and ring.read() is None:
            break
    assert ring.write(b"hello")
    assert ring.read() == b"hello"
    assert (ring.size, ring.read()) == (128, None)


def test_memory_that_was_never_a_ring_becomes_one() -> None:
    ring = Ring(bytearray(SMALL), init=False)
    ring.adopt()
    assert ring.write(b"hello")
    assert ring.read() == b"hello"


def test_a_wild_head_is_never_followed() -> None:
    ring = Ring(bytearray(SMALL))
    ring.head = 1 << 40
    assert ring.peek() is None
    assert ring.broken == 1
    ring.head = ring.head + 3
    assert ring.peek() is None
    ring.head = ring.head + 5
    assert ring.write(b"after")
    assert ring.read() == b""
    assert ring.read() == b"after"
