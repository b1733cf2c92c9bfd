"""From cookies and stick rules of the model to rows of the plan; every mistake a finding."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from lb.config.diagnostic import Finding, Path, line_text
from lb.config.suggestion import nearest
from lb.language.catalog import CASTS, Needs, Type
from lb.language.condition import Test, parse_condition
from lb.language.error import LanguageError
from lb.language.expression import Names, parse
from lb.language.program import Program
from lb.model import Backend, PersistenceCookie, Stick, Table
from lb.model.hashkey import TOKEN
from lb.model.naming import server_of
from lb.model.persistence import DOMAINS_MAX, STICKS_MAX, Condition
from lb.model.units import UnitError, duration_ms

# Numbers of policy/persistence.pxd.
MODES = {"insert": 1 << 0, "rewrite": 1 << 1, "prefix": 1 << 2, "passive": 0}
FLAGS = {"indirect": 1 << 3, "nocache": 1 << 4, "preserve": 1 << 5, "postonly": 1 << 6}
PERSIST_DOWN = 1 << 7
PERSIST_NO_REDISPATCH = 1 << 8
STICK_WORDS = {"on": 1 | 2, "match": 1, "store_request": 2, "store_response": 4}
STICK_STORE_RESPONSE = 4
STICK_UNLESS = 8

TAIL_MAX = 500
AGE_MAX_MS = 10 * 365 * 86_400_000
_REMOVAL = b"=; Expires=Thu, 01-Jan-1970 00:00:01 GMT"
# What a cookie's value may hold (RFC 6265 4.1.1); `~` and `|` end a server's part of it.
_VALUE = re.compile(r"[!#-+\--:<-\[\]-{}]{1,200}")
_ATTRIBUTE = re.compile(r"[ -:<-~]+")

_KEYS = {"ip": Type.IPV4, "ipv6": Type.IPV6, "integer": Type.SINT, "string": Type.STR, "binary": Type.BIN}
Report = Callable[[Finding], None]


class StickRow(NamedTuple):
    """One stick_t."""

    table: int  # index among all tables, -1 = none
    flags: int
    expr: int
    cond: int  # index + 1, 0 = always


class PersistenceRow(NamedTuple):
    """One persistence_t."""

    name: bytes
    tail: bytes
    removal: bytes
    flags: int
    max_idle_s: int
    max_life_s: int
    sticks: tuple[StickRow, ...]
    exceptions: tuple[StickRow, ...]
    forces: int


class PersistenceCompiler:
    """Compiles what backends say."""

    def __init__(self, tables: Mapping[str, Table], program: Program, report: Report) -> None:
        self.tables = tables
        self.program = program
        self._report = report

    def compile(
        self, name: str, backend: Backend, names: Names, acls: Mapping[str, tuple[Test, ...]]
    ) -> PersistenceRow | None:
        """Compile a backend of mode http, with what its expressions may name; None when it has none. Mistakes are reported."""
        self._path: Path = ("backends", name)
        self._subject = f"backend '{name}'"
        self.names = names
        self._acls = acls
        cookie = backend.cookie
        sticks = [row for index, each in enumerate(backend.stick) for row in self._stick(index, each)]
        if len(backend.stick) > STICKS_MAX:
            self._wrong(("stick",), f"{len(backend.stick)} rules are given; at most {STICKS_MAX} are possible")
        forces = self._conditions("force_persist", backend.force_persist)
        ignores = self._conditions("ignore_persist", backend.ignore_persist)
        if len(forces) + len(ignores) > STICKS_MAX:
            self._wrong((), f"more than {STICKS_MAX} conditions of 'force_persist' and 'ignore_persist'")
        self._servers(backend)
        if cookie is UNSET and not backend.stick:
            for word in ("persist", "force_persist", "ignore_persist"):
                if getattr(backend, word):
                    self._wrong((word,), f"'{word}' needs a 'cookie' or 'stick'", "remove it", at_key=True)
            return None
        flags = (PERSIST_DOWN if backend.persist else 0) | (0 if backend.redispatch else PERSIST_NO_REDISPATCH)
        named = (b"", b"", b"", 0, 0, 0) if cookie is UNSET else self._cookie(cookie)
        return PersistenceRow(
            *named[:3], flags | named[3], named[4], named[5], tuple(sticks), (*forces, *ignores), len(forces)
        )

    def _wrong(self, path: Path, message: str, hint: str = "", at_key: bool = False) -> None:
        self._report(Finding((*self._path, *path), self._subject, message, hint, at_key))

    # Cookies

    def _cookie(self, cookie: PersistenceCookie) -> tuple[bytes, bytes, bytes, int, int, int]:
        if not TOKEN.fullmatch(cookie.name) or len(cookie.name) > 100:
            self._wrong(("cookie", "name"), f"'{line_text(cookie.name)}' cannot be the name of a cookie")
        flags = MODES[cookie.mode] | sum(flag for word, flag in FLAGS.items() if getattr(cookie, word))
        for word in ("nocache", "preserve", "postonly"):
            if getattr(cookie, word) and cookie.mode != "insert":
                self._wrong(("cookie", word), f"'cookie.{word}' needs mode insert", "remove it", at_key=True)
        if cookie.indirect and cookie.mode not in ("insert", "passive"):
            self._wrong(("cookie", "indirect"), "'cookie.indirect' needs mode insert", "remove it", at_key=True)
        if cookie.mode != "insert":
            self._insert_only(cookie)
        tail = self._tail(cookie)
        if len(tail) > TAIL_MAX:
            self._wrong(
                ("cookie",), f"the attributes of the cookie have {len(tail)} bytes; at most {TAIL_MAX} are possible"
            )
        return (
            cookie.name.encode(),
            tail,
            _REMOVAL + tail,
            flags,
            self._seconds("max_idle", cookie.max_idle),
            self._seconds("max_life", cookie.max_life),
        )

    def _insert_only(self, cookie: PersistenceCookie) -> None:
        for word in ("httponly", "secure", "domain", "max_idle", "max_life", "attr"):
            if getattr(cookie, word) not in (UNSET, False, ()):
                self._wrong(
                    ("cookie", word),
                    f"'cookie.{word}' needs mode insert",
                    "in other modes the application writes the cookie",
                    at_key=True,
                )

    def _tail(self, cookie: PersistenceCookie) -> bytes:
        parts = ["path=/"]
        if len(cookie.domain) > DOMAINS_MAX:
            self._wrong(("cookie", "domain"), f"{len(cookie.domain)} domains; at most {DOMAINS_MAX} are possible")
        for word, given in (("domain", cookie.domain), ("attr", cookie.attr)):
            for index, text in enumerate(given):
                if not _ATTRIBUTE.fullmatch(text):
                    self._wrong(
                        ("cookie", word, index), f"'cookie.{word}': '{line_text(text)}' cannot stand in a cookie"
                    )
        parts += [f"domain={each}" for each in cookie.domain]
        parts += ["HttpOnly"] if cookie.httponly else []
        parts += ["Secure"] if cookie.secure else []
        return "".join(f"; {each}" for each in (*parts, *cookie.attr)).encode("utf-8", "surrogateescape")

    def _seconds(self, word: str, given: str | UnsetType) -> int:
        if given is UNSET:
            return 0
        try:
            ms = duration_ms(given, AGE_MAX_MS)
        except UnitError as error:
            self._wrong(("cookie", word), f"'cookie.{word}': '{line_text(given)}' {error}")
            return 0
        if ms < 1000:
            self._wrong(("cookie", word), f"'cookie.{word}': {line_text(given)} is less than a second")
        return ms // 1000

    def _servers(self, backend: Backend) -> None:
        for index, given in enumerate(backend.servers):
            value = server_of(given).cookie
            if value is UNSET:
                continue
            path = ("servers", index, "cookie")
            if backend.cookie is UNSET:
                self._wrong(path, "a server's 'cookie' needs one of the backend", "write 'cookie: {name: SRV}'")
            elif not _VALUE.fullmatch(value):
                self._wrong(
                    path, f"'{line_text(value)}' cannot be the value of a cookie: up to 200 of RFC 6265's characters"
                )

    # Stick rules and conditions

    def _stick(self, index: int, stick: Stick) -> list[StickRow]:
        path: Path = ("stick", index)
        said = [word for word in STICK_WORDS if getattr(stick, word) is not UNSET]
        if len(said) != 1:
            what = f"has '{said[0]}' and '{said[1]}'" if said else "says nothing"
            self._wrong(path, f"'stick' {what}", "give it one of 'on', 'match', 'store_request' and 'store_response'")
            return []
        (word,) = said
        flags = STICK_WORDS[word]
        is_response = flags == STICK_STORE_RESPONSE
        cond, negated = self._condition(path, stick, is_response)
        table = self._table((*path, "table"), stick.table)
        try:
            key = parse(getattr(stick, word), self.names)
        except LanguageError as error:
            self._wrong((*path, word), f"'{word}': {error}", error.hint)
            return []
        if key.needs is Needs.RESPONSE and not is_response:
            self._wrong((*path, word), f"'{word}': looks at a response", "write 'store_response'")
        if table is None:
            return []
        kind = re.match(r"[a-z0-9]+", self.tables[stick.table].key)
        wanted = _KEYS.get(kind[0] if kind else "", Type.STR)
        if wanted not in CASTS[key.type]:
            self._wrong((*path, word), f"'{word}': {key.type} cannot be a key of table '{stick.table}'")
        return [StickRow(table, flags | negated, self.program.expression(key), cond)]

    def _table(self, path: Path, name: str) -> int | None:
        if name not in self.tables:
            near = nearest(name, self.tables)
            hint = f"did you mean '{near}'?" if near else "define it under 'tables'"
            self._wrong(path, f"unknown table '{line_text(name)}'", hint)
            return None
        if "server_id" not in self.tables[name].store:
            self._wrong(path, f"table '{name}' does not store 'server_id'", "add it to its 'store'")
        return list(self.tables).index(name)

    def _condition(self, path: Path, stick: Stick, is_response: bool) -> tuple[int, int]:
        if stick.if_ is not UNSET and stick.unless is not UNSET:
            self._wrong((*path, "unless"), "'stick' has 'if' and 'unless'", "write one of them; '!' negates a term")
            return 0, 0
        for word, text, flag in (("if", stick.if_, 0), ("unless", stick.unless, STICK_UNLESS)):
            if text is not UNSET:
                return self._parsed((*path, word), word, text, is_response), flag
        return 0, 0

    def _conditions(self, word: str, given: Condition) -> list[StickRow]:
        texts = (given,) if isinstance(given, str) else given
        many = not isinstance(given, str)
        return [
            StickRow(-1, 0, 0, self._parsed((word, *((index,) if many else ())), word, text, False))
            for index, text in enumerate(texts)
        ]

    def _parsed(self, path: Path, word: str, text: str, is_response: bool) -> int:
        try:
            condition = parse_condition(text, self._acls, self.names)
        except LanguageError as error:
            self._wrong(path, f"'{word}': {error}", error.hint)
            return 0
        if condition.needs is Needs.RESPONSE and not is_response:
            self._wrong(path, f"'{word}': looks at a response, and there is none yet")
        return self.program.condition(condition) + 1
