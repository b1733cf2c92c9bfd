"""Files that rules look things up in: maps and ACL files (manual 2.7), read once however many rules name them.

What changes at run time is a *reference* (`policy/reference.pxd`): a file, or the patterns of an ACL that has an id (`-u`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lb.config.suggestion import nearest
from lb.language.catalog import Match
from lb.language.error import LanguageError
from lb.language.words import Word

if TYPE_CHECKING:
    from lb._speedups.face.references import Entries

SET_IGNORE_CASE = 1
FILE_MAX = 1 << 30  # bytes
USES_MAX = 16
KEY_MAX = 16384
ANYWHERE_MAX = 255

# Flags of reference_t.
MAP, INTEGERS, ADDRESSES, NETS, NUMBERS, DIGITS, SHORT = (1 << bit for bit in range(7))
_BAD_KEY = -2
_VALUES = {"": 0, "int": INTEGERS, "ip": ADDRESSES, "key": 0}
_KEYS = {
    Match.IP: NETS, Match.INT: NUMBERS, Match.LEN: NUMBERS, Match.BIN: DIGITS, Match.SUB: SHORT, Match.DIR: SHORT,
    Match.DOM: SHORT,
}  # fmt: skip
_WRONG_KEY = {
    NETS: "is not an address or a network",
    NUMBERS: "is not a number or a range",
    DIGITS: "is not pairs of hexadecimal digits",
    SHORT: f"is longer than {ANYWHERE_MAX} bytes, and may stand anywhere in a value",
}
_WRONG_VALUE = {INTEGERS: "is not a whole number", ADDRESSES: "is not an address"}


@dataclass(eq=False)
class Reference:
    """One reference, as far as it is known."""

    name: str  # as written; '' for patterns that stand in the configuration
    identity: int | None = None  # asked for
    entries: Entries | None = None  # None: nobody has read it yet
    flags: int = 0
    uses: list[tuple[int, int]] = field(default_factory=list)  # (match_method, SET_* flags)
    users: set[str] = field(default_factory=set)  # "map", "acl"
    changes: list[Callable[[str, str], None]] = field(
        default_factory=list
    )  # what reports for each rule that changes it


class Files:
    """All references of a configuration. Without a folder none is read, and whatever is asked is right."""

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self.found: list[Reference] = []
        self._by_name: dict[str, int] = {}

    def use(
        self, name: Word, method: Match, *, is_map: bool, ignore_case: bool = False, values: str = "", user: str
    ) -> int:
        """Look things up in a file by this method; return the number of ARG_REFERENCE. Raise LanguageError."""
        index = self._named(name.text)
        reference = self.found[index]
        if self.folder is None:
            return index << 6
        reference.users.add(user)
        if reference.entries is None:
            reference.entries = _read(name, self.folder, is_map)
            reference.flags = MAP if is_map else 0
        elif bool(reference.flags & MAP) != is_map:
            was, now = ("an ACL file", "a map") if is_map else ("a map", "an ACL file")
            raise LanguageError(
                f"'{name.text}' is {was} elsewhere, and cannot be {now} here",
                name.at,
                "write '-M' where it is an ACL file: then that looks at the keys"
                if is_map
                else "write '-M' before '-f'",
            )
        return index << 6 | self._add(reference, name, method, ignore_case, values, user)

    def patterns(self, name: Word) -> list[Word]:
        """Read the patterns of a file that does not change at run time. Raise LanguageError."""
        content = _content(name, self.folder or "").decode("utf-8", "surrogateescape")
        lines = [line.strip(" \t\r") for line in content.split("\n")]
        return [Word(line, name.at, True) for line in lines if line and not line.startswith("#")]

    def inline(self, patterns: Sequence[Word], identity: Word, method: Match, ignore_case: bool) -> int:
        """Make a reference of patterns that have an id; return the number of ARG_REFERENCE. Raise LanguageError."""
        from lb._speedups.face.references import Entries

        if not identity.text.isdecimal() or int(identity.text[:10]) > 2**31 - 1:
            raise LanguageError(f"'-u' needs a number, not '{identity.text}'", identity.at)
        number = int(identity.text)
        if any(each.identity == number for each in self.found):
            raise LanguageError(f"the id {number} is taken", identity.at, "each reference has its own")
        content = "\n".join(each.text for each in patterns).encode("utf-8", "surrogateescape")
        if content.count(b"\n") + 1 != max(1, len(patterns)):
            raise LanguageError("a pattern of an ACL with an id is one line", identity.at)
        reference = Reference("", number)
        if self.folder is not None:
            reference.entries = Entries(content, False, True)
        self.found.append(reference)
        if self.folder is None:
            return (len(self.found) - 1) << 6
        return (len(self.found) - 1) << 6 | self._add(reference, identity, method, ignore_case, "", "acl")

    def change(self, name: str, report: Callable[[str, str], None]) -> int:
        """Have a rule change a file; `report` is told at the end if nobody reads it. Return the number of ARG_REFERENCE."""
        index = self._named(name)
        self.found[index].changes.append(report)
        return index << 6

    def finish(self) -> None:
        """Report what rules change and nobody looks at."""
        if self.folder is None:
            return
        for each in self.found:
            if not each.users:
                near = nearest(each.name, [other.name for other in self.found if other.users])
                for report in each.changes:
                    report(
                        f"no map and no ACL reads '{each.name}'",
                        f"did you mean '{near}'?" if near else "write the name as the converter or '-f' has it",
                    )

    def _named(self, name: str) -> int:
        if name not in self._by_name:
            self._by_name[name] = len(self.found)
            self.found.append(Reference(name))
        return self._by_name[name]

    def _add(self, reference: Reference, name: Word, method: Match, ignore_case: bool, values: str, user: str) -> int:
        assert reference.entries is not None
        flags = _VALUES[values] | _KEYS.get(method, 0)
        wrong = reference.entries.judge(flags & ~reference.flags)
        if wrong is not None:
            line, what, key, value = wrong
            raise LanguageError(_told(reference, flags & ~reference.flags, line, what, key, value), name.at)
        reference.flags |= flags
        reference.users.add(user)
        use = (int(method), SET_IGNORE_CASE if ignore_case else 0)
        if use not in reference.uses:
            if len(reference.uses) == USES_MAX:
                raise LanguageError(f"'{name.text}' is looked up in more than {USES_MAX} ways", name.at)
            reference.uses.append(use)
        return reference.uses.index(use)


def _told(reference: Reference, flags: int, line: int, what: int, key: bytes, value: bytes) -> str:
    text, kinds = (key, _WRONG_KEY) if what == _BAD_KEY else (value, _WRONG_VALUE)
    shown = text.decode("utf-8", "replace")[:100]
    if len(text) > KEY_MAX or b"\0" in text:
        why = f"is longer than {KEY_MAX} bytes" if len(text) > KEY_MAX else "holds a NUL"
    else:
        why = next(said for flag, said in kinds.items() if flags & flag)
    where = f"'{reference.name}', line {line}: " if reference.name else ""
    return f"{where}'{shown}' {why}"


def _content(name: Word, folder: str) -> bytes:
    path = os.path.join(folder, name.text)
    try:
        if not os.path.isfile(path) and os.path.exists(path):
            raise OSError(0, "not a regular file")  # a pipe or device would have no end, or none in time
        if os.path.getsize(path) > FILE_MAX:
            raise OSError(0, f"it is larger than {FILE_MAX >> 20} MiB")
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise LanguageError(f"'{name.text}' cannot be read: {reason}", name.at) from None


def _read(name: Word, folder: str, is_map: bool) -> Entries:
    from lb._speedups.face.references import Entries

    entries = Entries(_content(name, folder), is_map)
    wrong = entries.judge(0)
    if wrong is not None:
        raise LanguageError(_told(Reference(name.text), 0, *wrong), name.at)
    return entries
