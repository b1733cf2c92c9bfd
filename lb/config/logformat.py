"""Log formats: HAProxy's language of `%` variables, and the fields of JSON records.

A format becomes a list of ops, which `lb/_speedups/policy/logformat.pxd` describes: a literal text and the variable behind it. What
a flag means for a variable is decided here, as HAProxy 2.6 does it (manual 8.2.6): `%{+Q}ST` has no quotes there either.

========== =======================================================================================
``%ST``     a variable; its name ends where letters and digits do
``%{+Q}r``  with flags: ``Q`` quotes, ``X`` hexadecimal, ``E`` escapes for RFC 5424, ``M`` a dash for nothing
``%{+Q}o``  the flags of all that follows
``%[src]``  a sample expression
``%%``      a percent sign
``\\ ``      a blank, as configurations of HAProxy write it; also ``\\"``, ``\\'``, ``\\#``, ``\\\\``
========== =======================================================================================

Neighbouring blanks are one, and none stands in front, as in HAProxy.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from lb.config.suggestion import nearest
from lb.language.catalog import CASTS, Needs, Type
from lb.language.error import LanguageError
from lb.language.expression import Expression, Names, parse_from

LINE_MAX = 4095  # LOGLINE_CAP
OPEN_MIN = 256  # LOGFORMAT_OPEN_MIN

# LOGOP_*, by what HAProxy calls it or, below, by lb's JSON key.
_NAMES = (
    "", "ci", "cp", "fi", "fp", "bi", "bp", "si", "sp", "f", "ft", "b", "s", "t", "tr", "T", "Tl", "trg", "trl", "Ts", "ms",
    "TR", "Tw", "Tc", "Tr", "Ta", "Tt", "Td", "Th", "Ti", "Tq", "ST", "B", "U", "CC", "ts", "tsc", "ac", "fc", "bc", "sc", "rc",
    "sq", "bq", "r", "HM", "HP", "HPO", "HQ", "HU", "HV", "ID", "H", "pid", "rt", "lc",
    "time", "tls", "server_reused", "redispatched", "retries", "reason", "host", "version", "limit", "limit_shadow", "cut",
    "[]", "hr", "hs", "hrl", "hsl",
)  # fmt: skip
OPS = {name: number for number, name in enumerate(_NAMES)}
# Two names for one thing: no cookie is ever captured, and no handshake is waited for.
OPS |= {"CS": OPS["CC"], "Tu": OPS["Ta"]}

# LOGOP_* flags.
AROUND = 1 << 0
HEX = 1 << 1
ESCAPE = 1 << 2
DASH = 1 << 3
JSON = 1 << 4
NULL = 1 << 5

# What HAProxy's flags change.
_QUOTED = frozenset(
    [
        *("ci", "fi", "bi", "si", "f", "ft", "b", "s", "CC", "CS", "r", "HM", "HP", "HPO", "HQ", "HU", "HV", "ID", "H"),
        *("[]", "hr", "hs", "hrl", "hsl"),
    ]
)
_DASHED = frozenset(["fi", "fp", "bi", "bp", "si", "sp", "CC", "CS", "ID", "H", "f", "b", "s", "[]"])
HEXED = frozenset(["ci", "cp", "fi", "fp", "bi", "bp", "si", "sp", "Ts", "ms", "pid", "rt", "lc"])
_ESCAPED = frozenset(["r", "HM", "HP", "HPO", "HQ", "HU", "HV", "ID", "H", "[]"])
_OPEN = frozenset(["r", "HP", "HPO", "HQ", "HU", "[]", "hr", "hs", "hrl", "hsl"])
_WIDTHS = dict.fromkeys(("f", "ft", "b", "s"), 107) | {
    "": 0,
    "HM": 66,
    "r": 76,
    "reason": 66,
    "limit": 66,
    "limit_shadow": 66,
    "ID": 130,
    "host": 262,
    "H": 194,
}
_WIDTH = 50

HTTP_ONLY = frozenset(
    ["CC", "CS", "Ta", "Ti", "Tq", "Tr", "TR", "HM", "HP", "HPO", "HQ", "HU", "HV", "r", "tr", "trg", "trl"]
)
# Not printed where nothing is captured.
_CAPTURED = frozenset(("hr", "hrl", "hs", "hsl"))
# Keys of JSON, which are no variables.
_KEYS = frozenset(_NAMES[_NAMES.index("time") :]) - _CAPTURED
_UNBUILT = {"sslc": "TLS", "sslv": "TLS"}
_FLAGS = {"Q": AROUND, "X": HEX, "E": ESCAPE, "M": DASH}

NAMED = {
    "http": "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r",
    "tcp": "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq",
    "clf": '%{+Q}o %{-Q}ci - - [%trg] %r %ST %B "" "" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq '
    "%CC %CS %hrl %hsl",
}

# The keys of JSON records and what they show; the same as in records without `fields`.
FIELDS = {
    "time": "time",
    "client": "ci",
    "port": "cp",
    "frontend": "f",
    "backend": "b",
    "server": "s",
    "tls": "tls",
    "bytes_in": "U",
    "bytes_out": "B",
    "queue_ms": "Tw",
    "connect_ms": "Tc",
    "total_ms": "Tu",
    "termination": "ts",
    "retries": "retries",
    "redispatched": "redispatched",
    "process_connections": "ac",
    "frontend_connections": "fc",
    "backend_connections": "bc",
    "server_connections": "sc",
    "reason": "reason",
    "request_ms": "TR",
    "response_ms": "Tr",
    "status": "ST",
    "server_reused": "server_reused",
    "limit": "limit",
    "limit_shadow": "limit_shadow",
    "request_id": "ID",
    "method": "HM",
    "version": "version",
    "host": "host",
    "target": "HU",
}

Op = tuple[int, int, bytes] | tuple[int, int, bytes, int]
"""(LOGOP_*, flags, the literal text before it), and behind it the number of an expression, or how many slots are captured."""


class Program(NamedTuple):
    """A format, compiled."""

    ops: tuple[tuple[int, int, bytes] | tuple[int, int, bytes, int | Expression], ...]
    room: int  # width of each op that shows the request target
    wants_id: bool
    wants_ends: bool  # addresses of lb's own sockets
    http_only: str  # the first variable that needs mode http, "" = none

    @property
    def looks(self) -> bool:
        """Return whether it has expressions or captures."""
        return any(len(op) > 3 for op in self.ops)

    def numbered(self, number: Callable[[Expression], int]) -> tuple[Op, ...]:
        """Return its ops with numbers of expressions."""
        return tuple(
            (*op[:3], number(op[3]) if isinstance(op[3], Expression) else op[3]) if len(op) > 3 else op
            for op in self.ops
        )


class FormatError(ValueError):
    """Raise for a text that is no log format; the argument says what is wrong, `hint` the way out."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class _Piece(NamedTuple):
    """A variable in a format, or the end of it, with the text before it."""

    text: str
    name: str
    flags: int  # of HAProxy's language, DASH included
    extra: int | Expression | None = None  # what stands behind the op
    label: str = ""  # of an expression: as it was written


NOTHING = Names({}, {}, {})


def parse(text: str, names: Names = NOTHING, slots: tuple[int, int] = (0, 0)) -> list[_Piece]:
    """Read a format in HAProxy's language; `slots` are captured of requests and responses. Raise FormatError."""
    pieces: list[_Piece] = []
    before: list[str] = []
    general = DASH
    at = 0
    text = NAMED.get(text, text)
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            before.append(_escaped(text, at))
            at += 2
        elif sign == " ":
            # HAProxy merges blanks, those around a variable that prints nothing too.
            if before[-1:] != [" "] and (before or pieces):
                before.append(" ")
            at += 1
        elif sign != "%":
            if ord(sign) < 32 or ord(sign) == 127:
                raise FormatError(f"has a control character at position {at + 1}", "a record is one line of text")
            before.append(sign)
            at += 1
        elif text.startswith("%%", at):
            before.append("%")
            at += 2
        else:
            name, flags, end = _variable(text, at, general)
            extra: int | Expression | None = None
            label = ""
            if name == "[]":
                extra, end = _expression(text, at, end, names)
                label = text[at + 1 : end]
            at = end
            if name in _CAPTURED:
                extra = slots[name.startswith("hs")]
            if name == "o":
                general = flags
            elif extra != 0:
                pieces.append(_Piece("".join(before), name, flags, extra, label))
                before.clear()
    if before:
        pieces.append(_Piece("".join(before), "", 0))
    return pieces


def _expression(text: str, at: int, begin: int, names: Names) -> tuple[Expression, int]:
    """Return the expression that begins here, and where what follows its bracket begins."""
    try:
        made, end = parse_from(text, begin, names)
    except LanguageError as error:
        raise FormatError(f"has '%[': {error}", error.hint) from None
    if text[end : end + 1] != "]":
        raise FormatError(f"opens '%[' at position {at + 1} and does not close it", "an expression ends with ']'")
    if Type.STR not in CASTS[made.type]:
        raise FormatError(f"has '{text[at : end + 1]}', and {made.type} values cannot be written as text")
    return made, end + 1


def _escaped(text: str, at: int) -> str:
    sign = text[at + 1 : at + 2]
    if not sign or sign not in " \\\"'#":
        near = text[at : at + 2]
        raise FormatError(
            f"has '{near}' at position {at + 1}", "a backslash stands before a blank, a quote, '#' or a backslash"
        )
    return sign


def _variable(text: str, at: int, general: int) -> tuple[str, int, int]:
    """Return the name and flags of the variable at the percent sign, and where what follows begins."""
    place = f"at position {at + 1}"
    flags, begin = general, at + 1
    if text.startswith("{", begin):
        end = text.find("}", begin)
        if end < 0:
            raise FormatError(f"opens '{text[at:]}' {place} and does not close it", "write '%{+Q}r'")
        flags = _flags(text[begin + 1 : end], general, place)
        begin = end + 1
    if text.startswith("[", begin):
        return "[]", flags, begin + 1
    found = re.compile("[A-Za-z0-9]*").match(text, begin)
    name = found[0] if found else ""
    if not name:
        near = text[at : begin + 1]
        raise FormatError(f"has no variable behind '{near}' {place}", "a percent sign itself is written '%%'")
    if name in _UNBUILT:
        raise FormatError(f"has '%{name}' {place}, which comes with {_UNBUILT[name]} and is not built yet", "remove it")
    if name != "o" and (name not in OPS or name in _KEYS):
        near = _near(name)
        hint = f"did you mean '%{near}'?" if near else "a percent sign itself is written '%%'"
        raise FormatError(f"has an unknown variable '%{name}' {place}", hint)
    return name, flags, begin + len(name)


def _near(name: str) -> str:
    variables = [*_NAMES[1 : _NAMES.index("time")], "CS", "Tu", "hr", "hs"]
    by_case = [each for each in variables if each.lower() == name.lower()]
    longest = max((each for each in variables if name.startswith(each)), key=len, default="")
    return (by_case or [nearest(name, [each for each in variables if len(each) > 1]) or longest])[0]


def _flags(given: str, general: int, place: str) -> int:
    flags = general
    for each in given.split(","):
        sign, letter = each[:1], each[1:]
        if sign not in ("+", "-") or letter not in _FLAGS:
            raise FormatError(
                f"has an unknown flag '{each}' {place}", "known are +Q, +X, +E and +M, each also with '-' to end it"
            )
        flags = flags | _FLAGS[letter] if sign == "+" else flags & ~_FLAGS[letter]
    return flags


def program(text: str, names: Names = NOTHING, slots: tuple[int, int] = (0, 0)) -> Program:
    """Compile a format in HAProxy's language. Raise FormatError."""
    return _fitted([each._replace(flags=_line_flags(each)) for each in parse(text, names, slots)])


def _line_flags(piece: _Piece) -> int:
    """Keep the flags that change what HAProxy prints for this variable."""
    name, flags = piece.name, piece.flags
    kept = AROUND if flags & AROUND and name in _QUOTED else 0
    kept |= HEX if flags & HEX and name in HEXED else 0
    kept |= ESCAPE if flags & ESCAPE and name in _ESCAPED else 0
    # What is missing is a text, also a port that has no quotes otherwise; then the quotes stand for the dash.
    if name in _DASHED:
        kept |= flags & AROUND or flags & DASH
    return kept


def json_program(
    fields: Sequence[str | Mapping[str, str]], names: Names = NOTHING, slots: tuple[int, int] = (0, 0)
) -> Program:
    """Compile chosen fields into a JSON object: keys of `FIELDS`, or {name: key, variable or format}. Raise FormatError."""
    ops: list[_Piece] = []
    keys: set[str] = set()
    for field in fields:
        for name, what in (field if isinstance(field, Mapping) else {field: field}).items():
            if name in keys:
                raise FormatError(f"has '{name}' twice", "each key of a JSON object stands once")
            keys.add(name)
            before = ("," if ops else "{") + _quoted(name) + ":"
            ops += _field(what, before, names, slots)
    ops.append(_Piece("", "cut", 0))
    return _fitted(ops)


def _field(what: str, before: str, names: Names, slots: tuple[int, int]) -> list[_Piece]:
    if "%" not in what:
        if what not in FIELDS:
            near = nearest(what, FIELDS)
            hint = f"did you mean '{near}'?" if near else "take one of JSON's keys, or a format such as '%ci:%cp'"
            raise FormatError(f"has an unknown field '{what}'", hint)
        return [_Piece(before, FIELDS[what], NULL)]
    pieces = parse(what, names, slots)
    if len(pieces) == 1 and not pieces[0].text and not pieces[0].flags & ~DASH:
        return [pieces[0]._replace(text=before, flags=NULL)]
    # A text of several parts: quotes around the whole, and everything in it escaped for JSON.
    ops: list[_Piece] = []
    before += '"'
    for piece in pieces:
        flags = (_line_flags(piece) & ~(AROUND | ESCAPE)) | JSON
        ops.append(piece._replace(text=before + _quoted(piece.text)[1:-1], flags=flags))
        before = ""
    ops.append(_Piece(before + '"', "", 0))
    return ops


def _quoted(text: str) -> str:
    # json.dumps, without an import for a handful of keys: what a configuration holds is UTF-8 already.
    return '"' + re.sub(r'["\\\x00-\x1f]', lambda found: f"\\u{ord(found[0]):04x}", text) + '"'


def _fitted(pieces: Sequence[_Piece]) -> Program:
    """Share what a line has room for among the variables that show the target."""
    texts = [each.text.encode() for each in pieces]
    used = sum(map(len, texts)) + sum(width(each.name) for each in pieces)
    shares = sum(each.name in _OPEN for each in pieces)
    room = (LINE_MAX - used) // shares if shares else 0
    if used > LINE_MAX or (shares and room < OPEN_MIN):
        raise FormatError(
            f"may need {used + shares * OPEN_MIN} bytes; a record has at most {LINE_MAX}", "leave something out"
        )
    names = {each.name for each in pieces}
    heads = [(OPS[each.name], each.flags, text) for each, text in zip(pieces, texts, strict=True)]
    return Program(
        tuple(head if each.extra is None else (*head, each.extra) for each, head in zip(pieces, heads, strict=True)),
        room,
        wants_id="ID" in names,
        wants_ends=not names.isdisjoint(("fi", "fp", "bi", "bp")),
        http_only=next((each.label or each.name for each in pieces if _needs_http(each)), ""),
    )


def _needs_http(piece: _Piece) -> bool:
    if isinstance(piece.extra, Expression):
        return piece.extra.needs >= Needs.REQUEST
    return piece.name in HTTP_ONLY or piece.name in _CAPTURED


def width(name: str) -> int:
    """Return the most bytes that a variable takes, the request target not counted."""
    return _WIDTHS.get(name, _WIDTH)
