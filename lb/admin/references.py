"""Maps and ACL files on the admin socket: HAProxy's commands, with its words and errors (`src/map.c`)."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import NamedTuple

from lb._speedups.face import references as face
from lb._speedups.face.mapping import Mapping
from lb.admin.process import Process
from lb.language.catalog import Match
from lb.language.reference import ADDRESSES, INTEGERS, SET_IGNORE_CASE
from lb.language.reference import MAP as HAS_VALUES
from lb.supervisor.generation import NoRoom
from lb.supervisor.references import Kept

PIECE = 16 * 1024
TREES = (Match.STR, Match.BEG, Match.IP)
_SERIALS = 0x10000  # what entries are called begins here: HAProxy's are addresses


class Kind(NamedTuple):
    """How the commands for maps and those for ACLs differ."""

    word: str  # "map", "acl"
    name: str  # in messages


MAP, ACL = Kind("map", "map"), Kind("acl", "ACL")
Answer = AsyncIterator[str]


def _kept(process: Process) -> Sequence[Kept]:
    assert process.generation is not None
    return process.generation.references


def _find(process: Process, word: str) -> Kept | None:
    if word.startswith("#"):
        found = [each for each in _kept(process) if str(each.part.number) == word[1:]]
    else:
        found = [each for each in _kept(process) if each.part.name == word and word]
    return found[0] if found else None


def _unknown(kind: Kind) -> str:
    return f"Unknown {kind.name} identifier. Please use #<id> or <file>.\n"


def _known(process: Process, kept: Kept) -> dict[str, int]:
    known = face.information(process.mapping, kept.place)
    assert known is not None  # it is in force
    return known


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _version(words: Sequence[str]) -> tuple[int | None, Sequence[str]]:
    """Split `@<version>` off; as strtoul reads it, what is no number is 0."""
    if words and words[0].startswith("@"):
        digits = words[0][1:]
        end = next((at for at, each in enumerate(digits) if not each.isdecimal()), len(digits))
        return int(digits[:end] or 0) & 0xFFFFFFFF, words[1:]
    return None, words


def _is_shown(kind: Kind, kept: Kept) -> bool:
    return kept.part.is_map if kind is MAP else "acl" in kept.part.users


def _description(kept: Kept) -> str:
    part = kept.part
    if not part.name:
        return "patterns that stand in the configuration"
    return f"pattern loaded from file '{part.name}' used by {part.users}"


async def show(kind: Kind, process: Process, words: Sequence[str]) -> Answer:
    """`show map|acl [[@<ver>] <id>]`."""
    version, words = _version(words)
    if not words:
        yield "# id (file) description\n"
        for each in sorted(_kept(process), key=lambda kept: kept.part.number):
            if _is_shown(kind, each):
                known = _known(process, each)
                yield (
                    f"{each.part.number} ({each.part.name}) {_description(each)}. curr_ver={known['version']} "
                    f"next_ver={known['next_version']} entry_cnt={known['entries']}\n"
                )
        return
    kept = _find(process, words[0])
    if kept is None or not _is_shown(kind, kept):
        yield _unknown(kind)
        return
    piece = ""
    with process.references.reading():
        number = _known(process, kept)["version"] if version is None else version
        for serial, key, value in face.rows(process.mapping, kept.place, number):
            piece += f"0x{_SERIALS + serial:x} {_text(key)}{'' if value is None else f' {_text(value)}'}\n"
            if len(piece) >= PIECE:
                yield piece
                piece = ""
    yield piece


async def get(kind: Kind, process: Process, words: Sequence[str]) -> Answer:
    """`get map|acl <id> <sample>`: what each way to look things up finds."""
    if len(words) < 2:
        yield f"Missing {kind.name} identifier and/or key.\n"
        return
    kept = _find(process, words[0])
    if kept is None:
        yield _unknown(kind)
        return
    flags = _known(process, kept)["flags"]
    for use, (method, how) in enumerate(face.uses(process.mapping, kept.place)):
        case = "insensitive" if how & SET_IGNORE_CASE else "sensitive"
        said = f"type={Match(method).name.lower()}, case={case}"
        found = face.find(process.mapping, kept.place, use, _bytes(words[1]))
        verb = "found" if kind is MAP else "match"
        if found is None:
            yield f"{said}, {verb}=no\n"
            continue
        key, value = found
        is_tree = method in TREES and not how & SET_IGNORE_CASE
        said += f", {verb}=yes, idx={'tree' if is_tree else 'list'}"
        if kind is ACL:
            yield f'{said}, pattern="{_text(key)}"\n'
        elif value is None:
            yield f'{said}, key="{_text(key)}", value=none\n'
        else:
            yield f'{said}, key="{_text(key)}", value="{_shown(value, flags)}", type="{_type(value, flags)}"\n'


def _shown(value: bytes, flags: int) -> str:
    text = _text(value)
    return str(int(text or 0)) if flags & INTEGERS else text


def _type(value: bytes, flags: int) -> str:
    if flags & INTEGERS:
        return "sint"
    if flags & ADDRESSES:
        return f"ipv{ipaddress.ip_address(_text(value)).version}"
    return "str"


def _refusal(process: Process, kept: Kept, answer: int, key: str, value: str | None) -> str:
    """Return HAProxy's words for what cannot be done."""
    if answer == face.REFERENCE_BAD_VALUE:
        return f"unable to parse '{value}'.\n"
    if answer == face.REFERENCE_BAD_KEY:
        methods = {method for method, _ in face.uses(process.mapping, kept.place)}
        if Match.IP in methods:
            return f"'{key}' is not a valid IPv4 or IPv6 address.\n"
        if methods & {Match.INT, Match.LEN}:
            is_range = ":" in key or "-" in key
            return f"'{key}' is not {'a valid number range' if is_range else 'a number'}.\n"
        return f"'{key}' cannot be a pattern of this file.\n"
    return "Out of memory error.\n"


async def _done(process: Process, kept: Kept, change: Callable[[Mapping], int]) -> int:
    """Make a change; more room first, if there is none. Raise NoRoom."""
    while True:
        async with kept.changing:
            answer = change(process.mapping)
        if answer != face.REFERENCE_FULL:
            return answer
        await process.references.fold(kept)


async def add(kind: Kind, process: Process, words: Sequence[str], payload: str) -> Answer:
    """`add map [@<ver>] <id> <key> <value>`, `add map [@<ver>] <id> <<` with lines, `add acl [@<ver>] <id> <pattern>`."""
    version, words = _version(words)
    if kind is MAP and not (len(words) >= 3 or (len(words) == 1 and payload)):
        yield (
            "'add map' expects three parameters (map identifier, key and value) or one parameter (map identifier) and a "
            "payload\n"
        )
        return
    if kind is ACL and len(words) < 2 and not (len(words) == 1 and payload):
        yield "'add acl' expects two parameters: ACL identifier and pattern.\n"
        return
    kept = _find(process, words[0])
    if kept is None:
        yield _unknown(kind)
        return
    known = _known(process, kept)
    number = known["version"] if version is None else version
    if _ahead(number, known["next_version"]) > 0:
        yield f"Version number in the future, please use 'prepare {kind.word}' before.\n"
        return
    if _ahead(number, known["version"]) < 0:
        yield "Version number in the past.\n"
        return
    if not payload:
        pairs: list[tuple[str, str | None]] = [(words[1], words[2] if kind is MAP else None)]
    elif kind is MAP:
        pairs = []
        for line in payload.split("\n"):
            name, said = _split(line)
            if not name or not said:
                yield f"Missing value for key '{name}'.\n" if name else "Missing key.\n"
                return
            pairs.append((name, said))
    else:
        pairs = [(line.strip(" \t"), None) for line in payload.split("\n")]
    for key, value in pairs:
        refused = await _append(process, kept, key, value, number)
        if refused:
            yield refused
            return
    yield ""


def _split(line: str) -> tuple[str, str]:
    """Split a line of a payload into key and value, as HAProxy does."""
    end = next((at for at, each in enumerate(line) if each in " \t"), len(line))
    return line[:end], line[end:].lstrip(" \t")


async def _append(process: Process, kept: Kept, key: str, value: str | None, version: int) -> str:
    raw = None if value is None else _bytes(value)
    try:
        answer = await _done(
            process, kept, lambda mapping: face.append_entry(mapping, kept.place, _bytes(key), raw, version)
        )
    except NoRoom as error:
        return f"{error}\n"
    return "" if answer == face.REFERENCE_DONE else _refusal(process, kept, answer, key, value)


async def put(kind: Kind, process: Process, words: Sequence[str]) -> Answer:
    """`set map <id> <key>|#<entry> <value>`."""
    if len(words) < 3:
        yield "'set map' expects three parameters: map identifier, key and value.\n"
        return
    yield await _change(kind, process, words[0], words[1], words[2], "entry not found.\n")


async def delete(kind: Kind, process: Process, words: Sequence[str]) -> Answer:
    """`del map|acl <id> <key>|#<entry>`."""
    if len(words) < 2:
        yield f"This command expects two parameters: {kind.name} identifier and key.\n"
        return
    yield await _change(kind, process, words[0], words[1], None, "Key not found.\n")


async def _change(kind: Kind, process: Process, name: str, key: str, value: str | None, missing: str) -> str:
    kept = _find(process, name)
    if kept is None:
        return _unknown(kind)
    if value is not None and not _known(process, kept)["flags"] & HAS_VALUES:
        return missing
    try:
        if key.startswith("#"):
            serial = int(key[1:], 16) - _SERIALS
        else:
            serial = None
    except ValueError:
        return "Malformed identifier. Please use #<id> or <file>.\n"
    place = kept.place

    def change(mapping: Mapping) -> int:
        if serial is None:
            if not face.has_key(mapping, place, _bytes(key)):
                return face.REFERENCE_NONE
            if value is None:
                return face.delete_entry(mapping, place, _bytes(key))
            return face.set_entry(mapping, place, _bytes(key), _bytes(value))
        if not 0 < serial < 1 << 32:
            return face.REFERENCE_NONE
        if value is None:
            return face.delete_serial(mapping, place, serial)
        return face.set_serial(mapping, place, serial, _bytes(value))

    try:
        answer = await _done(process, kept, change)
    except NoRoom as error:
        return f"{error}\n"
    if answer == face.REFERENCE_NONE:
        return missing
    return "" if answer == face.REFERENCE_DONE else _refusal(process, kept, answer, key, value)


async def clear(kind: Kind, process: Process, words: Sequence[str]) -> Answer:
    """`clear map|acl [@<ver>] <id>`: the entries of a version go, all at once."""
    version, words = _version(words)
    if not words:
        yield f"Missing {kind.name} identifier.\n"
        return
    kept = _find(process, words[0])
    if kept is None:
        yield _unknown(kind)
        return
    try:
        if version is None or version == _known(process, kept)["version"]:
            await process.references.fold(kept, keeps=False)
        else:
            for serial in [row[0] for row in face.rows(process.mapping, kept.place, version)]:
                await _done(process, kept, partial(_forget, kept.place, serial))
    except NoRoom as error:
        yield f"{error}\n"
        return
    yield ""


def _forget(place: int, serial: int, mapping: Mapping) -> int:
    return face.delete_serial(mapping, place, serial)


async def prepare(kind: Kind, process: Process, words: Sequence[str]) -> Answer:
    """`prepare map|acl <id>`: a new version, which nobody sees until it is committed."""
    kept = _find(process, words[0]) if words else None
    if kept is None:
        yield _unknown(kind)
        return
    yield f"New version created: {face.prepare(process.mapping, kept.place)}\n"


async def commit(kind: Kind, process: Process, words: Sequence[str]) -> Answer:
    """`commit map|acl @<ver> <id>`: this version is what is looked up, for all workers at once."""
    version, words = _version(words)
    if version is None:
        yield "Missing version number.\n"
        return
    kept = _find(process, words[0]) if words else None
    if kept is None:
        yield _unknown(kind)
        return
    known = _known(process, kept)
    if _ahead(version, known["version"]) <= 0 or _ahead(version, known["next_version"]) > 0:
        yield "Version number out of range.\n"
        return
    try:
        await process.references.fold(kept, version)
    except NoRoom as error:
        yield f"{error}\n"
        return
    yield ""


def _ahead(version: int, of: int) -> int:
    """Return by how much a version is later; versions are 32 bits that wrap."""
    ahead = (version - of) & 0xFFFFFFFF
    return ahead - (1 << 32) if ahead >= 1 << 31 else ahead
