"""Maps and ACL files in a mapping of their own, and a slow and obvious model of them."""

from __future__ import annotations

import ipaddress
import os
import re
import select
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import lb.config  # noqa: F401 - before lb.language, which it imports and which imports it
from lb._speedups.face import references as face
from lb._speedups.face.mapping import Mapping
from lb.language.catalog import Match

IGNORE_CASE = 1
FLAGS = {
    Match.IP: face.REFERENCE_NETS,
    Match.INT: face.REFERENCE_NUMBERS,
    Match.LEN: face.REFERENCE_NUMBERS,
    Match.BIN: face.REFERENCE_DIGITS,
    Match.SUB: face.REFERENCE_SHORT,
    Match.DIR: face.REFERENCE_SHORT,
    Match.DOM: face.REFERENCE_SHORT,
}
_SPACE = 64 << 20  # between references: more than any of a test takes


class Stored:
    """One reference in the store of a mapping, as the supervisor and the compiler make it."""

    def __init__(
        self,
        content: bytes,
        *uses: tuple[Match, int],
        is_map: bool = True,
        flags: int = 0,
        slack: int = 64,
        entries_max: int = 1 << 20,
        mapping: Mapping | None = None,
    ) -> None:
        self.mapping = mapping or Mapping.create()
        self.place = face.STORE_AT
        self.slack = slack
        for method, _ in uses:
            flags |= FLAGS.get(method, 0)
        if is_map:
            flags |= face.REFERENCE_MAP
        entries = face.Entries(content, is_map)
        self.wrong = entries.judge(flags)
        if self.wrong is None:
            size = _pages(entries.size(flags, len(uses), slack))
            face.reserve(self.mapping, self.place, size)
            entries.build(self.mapping, self.place, flags, [(int(m), f) for m, f in uses], slack, entries_max, 1)
        self._next = self.place + _SPACE

    @property
    def known(self) -> dict[str, int]:
        known = face.information(self.mapping, self.place)
        assert known is not None
        return known

    def find(self, text: str | bytes, use: int = 0) -> tuple[bytes, bytes | None] | None:
        return face.find(self.mapping, self.place, use, text.encode() if isinstance(text, str) else text)

    def value(self, text: str, use: int = 0) -> str | None:
        found = self.find(text, use)
        return None if found is None or found[1] is None else found[1].decode()

    def set(self, key: str, value: str | None) -> int:
        return face.set_entry(self.mapping, self.place, key.encode(), None if value is None else value.encode())

    def delete(self, key: str) -> int:
        return face.delete_entry(self.mapping, self.place, key.encode())

    def append(self, key: str, value: str | None, version: int | None = None) -> int:
        number = self.known["version"] if version is None else version
        return face.append_entry(
            self.mapping, self.place, key.encode(), None if value is None else value.encode(), number
        )

    def rows(self, version: int | None = None) -> list[tuple[bytes, bytes | None]]:
        number = self.known["version"] if version is None else version
        return [row[1:] for row in face.rows(self.mapping, self.place, number)]

    def fold(self, version: int | None = None, *, keeps: bool = True, slack: int | None = None) -> int:
        number = self.known["version"] if version is None else version
        size, *room = face.fold_room(self.mapping, self.place, number, keeps, self.slack if slack is None else slack)
        place = self._next
        self._next += max(_SPACE, _pages(size))
        # Whoever died in a fold has left something there.
        face.release(self.mapping, place, _pages(size))
        face.reserve(self.mapping, place, _pages(size))
        return face.fold(self.mapping, self.place, place, number, keeps, *room)


def _pages(size: int) -> int:
    return (size + face.STORE_PAGE - 1) // face.STORE_PAGE * face.STORE_PAGE


def killed(work: Callable[[], object], at: str) -> bool:
    """Do something in a child that dies at a kill point; whether it did."""
    pid = os.fork()
    if pid == 0:
        os.environ["LB_KILL_AT"] = at
        try:
            work()
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def beside(work: Callable[[int], None]) -> tuple[int, int]:
    """Do something in a child until the returned descriptor is closed; (pid, descriptor)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        try:
            turn = 0
            while not select.select([reader], [], [], 0)[0]:
                work(turn)
                turn += 1
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(reader)
    return pid, writer


# ---- the model -------------------------------------------------------------------------------------------------


@dataclass
class Entry:
    key: str
    value: str | None


@dataclass
class Model:
    """A list of entries, and HAProxy's rules of what is found in it."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, key: str, value: str | None) -> None:
        self.entries.append(Entry(key, value))

    def set(self, key: str, value: str | None) -> None:
        same = [each for each in self.entries if each.key == key]
        if not same:
            self.entries.append(Entry(key, value))
        elif value is not None:
            for each in same:
                each.value = value

    def delete(self, key: str) -> bool:
        before = len(self.entries)
        self.entries = [each for each in self.entries if each.key != key]
        return len(self.entries) != before

    def find(self, text: str, method: Match, flags: int) -> Entry | None:
        fits = [each for each in self.entries if _fits(each.key, text, method, flags)]
        if method is Match.BEG and not flags & IGNORE_CASE:
            return max(fits, key=lambda each: len(each.key), default=None)
        if method is Match.IP:
            return _best_net(fits, text)
        return fits[0] if fits else None


def _fits(key: str, text: str, method: Match, flags: int) -> bool:
    if flags & IGNORE_CASE:
        key, text = key.lower(), text.lower()
    match method:
        case Match.STR:
            return key == text
        case Match.BEG:
            return text.startswith(key)
        case Match.END:
            return text.endswith(key)
        case Match.SUB:
            return key in text
        case Match.DIR | Match.DOM:
            delimiters = "/?" if method is Match.DIR else "/?.:"
            word = key.strip(delimiters)
            return bool(word) and _stands(word, text, delimiters)
        case Match.INT:
            return _in_range(key, int(text))
        case Match.LEN:
            return _in_range(key, len(text))
        case _:
            return any(address in _net(key) for address in _addresses(text))


def _stands(word: str, text: str, delimiters: str) -> bool:
    """Whether a word stands between delimiters or ends; it begins where one may begin, as HAProxy's match_word has it."""
    for at in range(len(text) - len(word) + 1):
        before, behind = text[at - 1 : at] if at else "", text[at + len(word) : at + len(word) + 1]
        if text.startswith(word, at) and before in delimiters and behind in delimiters:
            return True
    return False


def _in_range(key: str, number: int) -> bool:
    found = re.fullmatch(r"([0-9]*)(?:([:-])(-?[0-9]*))?", key)
    assert found is not None
    if found[2] is None:
        return int(key) == number
    return (not found[1] or int(found[1]) <= number) and (not found[3] or number <= int(found[3]))


def _net(key: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(key, strict=False)


def _addresses(text: str) -> Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    address = ipaddress.ip_address(text)
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        yield ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    elif address.packed[:12] in (b"\0" * 12, b"\0" * 10 + b"\xff\xff"):
        yield ipaddress.IPv4Address(address.packed[12:])
    elif address.sixtofour is not None:
        yield address.sixtofour


def _best_net(fits: list[Entry], text: str) -> Entry | None:
    for address in _addresses(text):
        same = [each for each in fits if address in _net(each.key)]
        if same:
            return max(same, key=lambda each: _net(each.key).prefixlen)
    return None
