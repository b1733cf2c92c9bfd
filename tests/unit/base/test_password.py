"""Passwords: what is checked, by whom, what is remembered, and the bounds of all that."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest
from kit.deadline import DEADLINE

from lb._speedups.face.testing_password import Passwords
from lb._speedups.face.users import problem

# Settings of methods, cheap ones where there is a choice.
HASHES = {
    "md5": b"$1$abcdefgh$",
    "sha256": b"$5$rounds=1000$saltsalt$",
    "sha512": b"$6$rounds=1000$saltsalt$",
    "bcrypt": b"$2b$04$abcdefghijklmnopqrstuu",
    "yescrypt": b"$y$j75$saltsaltsalt$",
}
SECRET = b"correct horse"


def hashed(setting: bytes, password: bytes = SECRET) -> bytes:
    """Return what crypt(3) makes of a password: libcrypt's own word, by another door."""
    import ctypes

    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    made = library.crypt(password, setting)
    assert isinstance(made, bytes)
    assert not made.startswith(b"*")
    return made


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


def answers(passwords: Passwords, count: int) -> dict[int, str]:
    """Wait until so many have been told."""
    found: dict[int, str] = {}
    until = time.monotonic() + DEADLINE
    while len(found) < count:
        select.select([passwords.wakeup], [], [], max(0, until - time.monotonic()))
        found |= passwords.collect()
        assert time.monotonic() < until
    return found


@pytest.mark.parametrize("method", HASHES)
def test_every_method_of_libcrypt(passwords: Passwords, method: str) -> None:
    hash_ = hashed(HASHES[method])
    assert problem(hash_) == ""
    for waiter, (password, answer) in enumerate([(SECRET, "right"), (b"wrong", "wrong"), (b"", "wrong")]):
        assert passwords.known(hash_, password) == "unknown"
        assert passwords.ask(waiter) == "wait"
        assert answers(passwords, 1) == {waiter: answer}
        assert passwords.known(hash_, password) == answer  # from now on without asking


def test_who_was_told_needs_no_memory_of_others(passwords: Passwords) -> None:
    hash_ = hashed(HASHES["sha256"])
    assert passwords.known(hash_, SECRET) == "unknown"
    passwords.ask(3)
    assert passwords.known(hash_, SECRET, told=3) == "unknown"
    assert answers(passwords, 1) == {3: "right"}
    assert passwords.known(hash_, SECRET, told=3) == "right"
    assert passwords.known(hash_, b"other", told=3) == "unknown"  # it was told of another password


def test_the_same_question_is_asked_once(passwords: Passwords) -> None:
    hash_ = hashed(HASHES["sha512"])
    for waiter in range(20):
        assert passwords.known(hash_, SECRET) == "unknown"
        assert passwords.ask(waiter) == "wait"
    passwords.forget(7)
    assert set(answers(passwords, 19)) == set(range(20)) - {7}
    assert passwords.checked == 1


def test_whoever_asks_too_much_is_told_so(passwords: Passwords) -> None:
    slow = hashed(b"$6$rounds=200000$saltsalt$")
    asked = []
    for number in range(100):
        assert passwords.known(slow, b"guess %d" % number) == "unknown"
        asked.append(passwords.ask(number, who=number // 40))
    # Eight at a time of one address; the others still find room.
    assert [asked[i : i + 40].count("wait") for i in (0, 40, 80)] == [8, 8, 8]
    for number in range(100, 128):
        assert passwords.known(slow, b"guess %d" % number) == "unknown"
        passwords.ask(number, who=number)
    for number in range(100):
        passwords.forget(number)


def test_more_than_all_places_are_too_many(passwords: Passwords) -> None:
    slow = hashed(b"$6$rounds=200000$saltsalt$")
    asked = []
    for number in range(100):
        assert passwords.known(slow, b"guess %d" % number) == "unknown"
        asked.append(passwords.ask(number, who=number))
    assert asked.count("wait") <= 65  # the places, and one that was done meanwhile
    assert asked[-1] == "busy"


def test_what_is_known_starts_no_thread(passwords: Passwords) -> None:
    assert passwords.known(b"$6$x$y", b"a\0b") == "wrong"  # libcrypt would stop at the NUL
    assert passwords.known(b"$6$x$y", b"x" * 256) == "wrong"
    assert not passwords.running


def test_wrong_ones_do_not_push_right_ones_out(passwords: Passwords) -> None:
    hash_ = hashed(HASHES["md5"])
    assert passwords.known(hash_, SECRET) == "unknown"
    passwords.ask(0)
    answers(passwords, 1)
    for number in range(200):
        if passwords.known(b"$1$abcdefgh$x", b"guess %d" % number) == "unknown":
            passwords.ask(1)
            answers(passwords, 1)
    assert passwords.known(hash_, SECRET) == "right"


def test_what_is_no_hash() -> None:
    assert "is no hash that libcrypt knows" in problem(b"plain text")
    assert "is no hash" in problem(b"$9$abc$def")
    assert "is no hash" in problem(b"")
    assert problem(b"a\0b") == "holds a NUL"
    assert problem(b"$6$" + b"x" * 400) == "is too long"
