"""Sample expressions: `fetch(args),converter(args),...` (manual 7.1, 7.3)."""

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lb.config.suggestion import did_you_mean, nearest
from lb.language.catalog import (
    ALIASES,
    CASTS,
    CONVERTERS,
    DERIVED,
    DIGEST,
    FETCHES,
    LAST_RULE_FILE,
    Argument,
    Converter,
    Fetch,
    Match,
    Needs,
    Type,
)
from lb.language.crypto import (
    check_base64,
    check_crypto,
    check_digest,
    check_jwt_algorithm,
    check_jwt_key,
    check_sha2,
    is_variable,
)
from lb.language.error import LanguageError
from lb.language.reference import Files
from lb.language.regex import IGNORE_CASE, check_references, check_regex
from lb.language.unbuilt import UNBUILT_CONVERTERS, UNBUILT_FETCHES
from lb.language.variable import conditions, variable_id
from lb.language.words import Word

_INTEGER = re.compile(r"[+-]?[0-9]{1,99}|0[xX][0-9a-fA-F]{1,99}")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_FETCH = re.compile(r"[A-Za-z0-9_.+-]+")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'", " ": " "}
_REST = ("conditions", "acls", "when")  # kinds of arguments that take all that is left
_JSON_PATH = re.compile(r"\$(?:\.(?:[^.\[\\\0]|\\[^\0])*|\[(?:0|[1-9][0-9]{0,8})\])*")
_WORDS: dict[str, tuple[str, dict[str, int]]] = {
    "unit": ("unit", {"s": 1_000_000, "ms": 1_000, "us": 1}),
    "time": ("unit", {"us": 1, "ms": 1_000}),
    "asint": ("type", {"int": 0}),
    "input_code": ("input code", {"ascii": 0, "utf8": 1, "utf8s": 2, "utf8p": 3, "utf8ps": 4}),
    "bits": ("size of a key", {"128": 16, "192": 24, "256": 32}),
    "forwarded": ("parameter", {"for": 0, "by": 1, "host": 2, "proto": 3}),
}
"""Kinds of arguments that are one of a few words: what they are called, and the number of each."""
_NUMBERS: dict[str, Callable[[str, str, int], int]] = {
    "digest": check_digest,
    "sha2": check_sha2,
    "jwt_algorithm": check_jwt_algorithm,
}
"""The same of many words."""

# Numbers of arg_t.kind.
ARG_NONE, ARG_INT, ARG_TEXT, ARG_FRONTEND, ARG_BACKEND, ARG_SERVER, ARG_EXPR, ARG_FORMAT, ARG_NET, ARG_TABLE = range(10)
ARG_VARIABLE, ARG_ACL, ARG_REGEX, ARG_REFERENCE = 10, 11, 12, 13


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument, checked: an `arg_t`."""

    kind: int
    number: int = 0  # of ARG_REGEX: flags, until the program gives it its index
    text: bytes = b""
    tests: tuple[Any, ...] = ()  # ARG_ACL: its tests, which become a number when the program takes them up


@dataclass(frozen=True, slots=True)
class Op:
    """A fetch or a converter with its arguments: an `op_t`."""

    code: int
    cast: int
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """A fetch and its converters: an `expr_t`."""

    ops: tuple[Op, ...]
    type: Type
    needs: Needs


@dataclass(frozen=True, slots=True)
class UserNames:
    """A user list: its place in the plan, and its groups with their users."""

    index: int
    groups: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Names:
    """What expressions may name: indexes in the plan."""

    frontends: dict[str, int]
    backends: dict[str, int]
    servers: dict[str, int]  # "backend/server"
    folder: str | None = None  # where relative paths of files begin; None: files are not looked at
    tables: dict[str, int] = field(default_factory=dict)
    userlists: dict[str, UserNames] = field(default_factory=dict)
    variables: dict[int, str] = field(default_factory=dict)  # by id: those that were met so far
    file: str = ""  # of the configuration
    acls: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # tests of the ACLs that may be asked
    files: Files = field(default_factory=Files, compare=False)


def fetch_named(name: str, at: int) -> Fetch:
    """Return the fetch of this name, old names too; raise LanguageError."""
    known = ALIASES.get(name, name)
    if known in FETCHES:
        return FETCHES[known]
    if name in UNBUILT_FETCHES:
        raise LanguageError(f"the fetch '{name}' is known but not built yet", at)
    # A matching method hung on, as in path_beg, hides the fetch that was meant.
    base, _, ending = name.rpartition("_")
    near = nearest(name, [*FETCHES, *ALIASES])
    if ending in DERIVED and (near is None or near == nearest(base, FETCHES)):
        found = nearest(base, FETCHES)
        near = f"{found}_{ending}" if found else None
    hint = f"did you mean '{near}'?" if near else "docs/rules.md lists those that are built"
    raise LanguageError(f"unknown fetch '{name}'", at, hint)


def parse(text: str, names: Names, at: int = 1) -> Expression:
    """Compile an expression that stands alone; `at` is where it begins in its line."""
    expression, end = parse_from(text, 0, names, at)
    if end != len(text):
        raise LanguageError(
            f"'{text[end:]}' stands behind the expression", at + end, "converters follow behind a comma"
        )
    return expression


def parse_from(text: str, begin: int, names: Names, at: int = 1) -> tuple[Expression, int]:
    """Compile the expression at text[begin:], up to where it ends."""
    found = _FETCH.match(text, begin)
    if found is None:
        raise LanguageError("an expression is missing", at + begin, "such as 'src' or 'req.hdr(host)'")
    fetch = fetch_named(found[0], at + begin)
    given, i = _parenthesis(text, found.end(), at)
    args = _arguments(fetch.name, fetch.args, given, names, at + begin)
    if fetch.name == LAST_RULE_FILE:
        args = (Arg(ARG_TEXT, 0, names.file.encode()),)
    if fetch.preset is not None:
        place, number = fetch.preset
        args = (*args[:place], Arg(ARG_INT, number), *args[place:])
    ops = [Op(fetch.code, 0, args)]
    kind = fetch.type
    while i < len(text) and text[i] == ",":
        found = _NAME.match(text, i + 1)
        if found is None:
            raise LanguageError("a converter is missing behind the comma", at + i + 1)
        converter = _converter(found[0], at + i + 1)
        if converter.takes not in CASTS[kind]:
            raise LanguageError(
                f"'{converter.name}' takes {_a(converter.takes)}, and what stands before it is {_a(kind)}", at + i + 1
            )
        begin_args = i + 1
        given, i = _parenthesis(text, found.end(), at)
        ops.append(
            Op(
                converter.code,
                converter.takes,
                _arguments(converter.name, converter.args, given, names, at + begin_args),
            )
        )
        kind = kind if converter.gives is None else converter.gives
    asked = [test.expression.needs for op in ops for arg in op.args for test in arg.tests]
    return Expression(tuple(ops), kind, max([fetch.needs, *asked])), i


def _a(kind: Type) -> str:
    return f"{'an' if str(kind)[0] in 'aIi' else 'a'} {kind}"


def _converter(name: str, at: int) -> Converter:
    if name in CONVERTERS:
        if CONVERTERS[name].code >> 8 == DIGEST:
            check_crypto(name, at)
        return CONVERTERS[name]
    if name in UNBUILT_CONVERTERS:
        raise LanguageError(f"the converter '{name}' is known but not built yet", at)
    raise LanguageError(f"unknown converter '{name}'", at, did_you_mean(name, CONVERTERS))


def _parenthesis(text: str, i: int, at: int) -> tuple[list[tuple[str, int]], int]:
    """Return the arguments in parentheses, if there are any, with their places, and where they end.

    An argument may be quoted, wholly or in part. Outside single quotes a backslash escapes what _ESCAPES has, and is a backslash
    elsewhere.
    """
    if i >= len(text) or text[i] != "(":
        return [], i
    begin = i
    i += 1
    args: list[tuple[str, int]] = []
    made: list[str] = []
    start, quote = i, ""
    while True:
        if i >= len(text):
            raise LanguageError("the parenthesis is not closed", at + begin)
        char = text[i]
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and text[i + 1 : i + 2] in _ESCAPES:
                i += 1
                made.append(_ESCAPES[text[i]])
            else:
                made.append(char)
        elif char in "\"'":
            quote = char
        elif char == "\\" and text[i + 1 : i + 2] in _ESCAPES:
            i += 1
            made.append(_ESCAPES[text[i]])
        elif char in ",)":
            args.append(("".join(made), at + start))
            made, start = [], i + 1
            if char == ")":
                return args, i + 1
        else:
            made.append(char)
        i += 1


def _arguments(
    name: str, wanted: tuple[Argument, ...], given: list[tuple[str, int]], names: Names, at: int
) -> tuple[Arg, ...]:
    if given and not given[0][0] and len(given) == 1 and (not wanted or wanted[0].is_optional):
        given = []  # `()` is no argument where none is needed, and the empty text where one is
    rest: list[tuple[str, int]] = []
    rest_kind = wanted[-1].kind if wanted else ""
    if rest_kind in _REST:
        rest = given[len(wanted) - 1 :]
        if not rest and not wanted[-1].is_optional:
            raise LanguageError(f"'{name}' needs 1 argument: {wanted[-1].kind}", at)
        given, wanted = given[: len(wanted) - 1], wanted[:-1] if rest else wanted
    needed = sum(not each.is_optional for each in wanted)
    if len(given) > len(wanted):
        most = f"at most {len(wanted)}" if wanted else "no"
        raise LanguageError(f"'{name}' takes {most} argument{'s' if len(wanted) != 1 else ''}", given[len(wanted)][1])
    if len(given) < needed:
        raise LanguageError(f"'{name}' needs {needed} argument{'s' if needed != 1 else ''}: {_wanted(wanted)}", at)
    made: list[Arg] = []
    for argument, (text, place) in zip(wanted, given, strict=False):
        if not text and argument.is_optional:
            made.append(Arg(ARG_NONE))
            continue
        if argument.kind == "jwt_key":
            made.append(Arg(ARG_TEXT, 0, check_jwt_key(name, made[0].number, text, names.folder, place)))
            continue
        made.append(_argument(name, argument, text, place, names))
    if rest and rest_kind == "conditions":
        made.append(Arg(ARG_INT, conditions(rest)))
    elif rest_kind == "when":
        made += _when(rest, names)
    elif rest:
        made += _acls(rest, names)
    return _with_flags(tuple(made))


def _with_flags(args: tuple[Arg, ...]) -> tuple[Arg, ...]:
    """Move flag `i` from where it is written to the regex that it belongs to."""
    if not args or args[0].kind != ARG_REGEX or args[-1].kind != ARG_INT:
        return args
    flags = args[-1].number
    regex = Arg(ARG_REGEX, IGNORE_CASE if flags & 2 else 0, args[0].text)
    return (regex, *args[1:-1], Arg(ARG_INT, flags & 1))


_WHEN = {"error": 1, "forwarded": 2, "normal": 3, "processed": 4, "stopping": 5, "toapplet": 6, "acl": 7}


def _when(given: list[tuple[str, int]], names: Names) -> Iterable[Arg]:
    """Return the number of a condition, and its ACLs."""
    (word, at), *rest = given
    if word not in _WHEN:
        raise LanguageError(f"'when': unknown condition '{word}'", at, did_you_mean(word, _WHEN))
    if (word == "acl") != bool(rest):
        raise LanguageError("'when': the condition 'acl' takes names of ACLs, and no other does", at)
    yield Arg(ARG_INT, _WHEN[word])
    yield from _acls(rest, names)


def _acls(given: list[tuple[str, int]], names: Names) -> Iterable[Arg]:
    """Return two arguments for each ACL: itself, and whether it is negated."""
    for text, at in given:
        name = text.strip()
        known = names.acls.get(name.removeprefix("!"))
        if known is None:
            hint = did_you_mean(name.removeprefix("!"), names.acls) if names.acls else "define it under 'acls'"
            raise LanguageError(f"unknown ACL '{name.removeprefix('!')}'", at, hint)
        yield Arg(ARG_ACL, 0, b"", known)
        yield Arg(ARG_INT, int(name.startswith("!")))


def _wanted(wanted: Iterable[Argument]) -> str:
    return ", ".join(f"[{each.kind}]" if each.is_optional else each.kind for each in wanted)


def _argument(name: str, wanted: Argument, text: str, at: int, names: Names) -> Arg:
    kind = wanted.kind
    if kind == "int":
        return Arg(ARG_INT, _integer(name, wanted, text, at))
    if kind == "variable" or (kind == "operand" and not _INTEGER.fullmatch(text)):
        if kind == "operand" and "." not in text:
            raise LanguageError(f"'{name}' needs a number or a variable, not '{text}'", at)
        return Arg(ARG_VARIABLE, variable_id(text, names.variables, at))
    if kind == "operand":
        return Arg(ARG_INT, _integer(name, wanted, text, at))
    if kind == "text":
        return Arg(ARG_TEXT, 0, text.encode("utf-8", "surrogateescape"))
    if kind == "name":
        if not TOKEN.fullmatch(text) or len(text) > 255:
            raise LanguageError(f"'{name}' needs the name of a header, not '{text}'", at)
        return Arg(ARG_TEXT, 0, text.encode())
    if kind in _WORDS:
        what, words = _WORDS[kind]
        if text not in words:
            raise LanguageError(f"'{name}': unknown {what} '{text}'", at, did_you_mean(text, words))
        return Arg(ARG_INT, words[text])
    if kind in _NUMBERS:
        return Arg(ARG_INT, _NUMBERS[kind](name, text, at))
    if kind == "tlv":
        return Arg(ARG_INT, _tlv(name, text, at))
    if kind == "env":
        value = os.environ.get(text)
        return Arg(ARG_NONE) if value is None else Arg(ARG_TEXT, 0, value.encode("utf-8", "surrogateescape"))
    if kind == "base64" and is_variable(text):
        return Arg(ARG_VARIABLE, variable_id(text, names.variables, at))
    if kind == "base64":
        return Arg(ARG_TEXT, 0, check_base64(name, text, at))
    if kind == "char":
        if len(text) != 1 or not text.isascii():
            raise LanguageError(f"'{name}' needs one character, not '{text}'", at)
        return Arg(ARG_TEXT, 0, text.encode())
    if kind == "json_path":
        if not _JSON_PATH.fullmatch(text):
            raise LanguageError(f"'{name}': '{text}' is no path", at, "such as '$.user.roles[0]'")
        return Arg(ARG_TEXT, 0, text.encode("utf-8", "surrogateescape"))
    if kind == "flag":
        if text.lower() not in ("0", "1", "true", "false"):
            raise LanguageError(f"'{name}' needs 1 or 0, not '{text}'", at)
        return Arg(ARG_INT, int(text.lower() in ("1", "true")))
    if kind == "hex":
        try:
            return Arg(ARG_TEXT, 0, bytes.fromhex(text))
        except ValueError:
            raise LanguageError(f"'{name}' needs pairs of hexadecimal digits, not '{text}'", at) from None
    if kind in ("mask4", "mask6"):
        return _mask(name, kind, text, at)
    if kind == "regex":
        return Arg(ARG_REGEX, 0, check_regex(text, at))
    if kind == "references":
        return Arg(ARG_TEXT, 0, check_references(text, at))
    if kind == "regex_flags":
        if text.strip("gi"):
            raise LanguageError(f"'{name}': unknown flag in '{text}'", at, "known: g, i")
        return Arg(ARG_INT, ("g" in text) | ("i" in text) << 1)
    if kind == "address":
        try:
            return Arg(ARG_TEXT, 0, str(ipaddress.ip_address(text)).encode())
        except ValueError:
            raise LanguageError(f"'{name}' needs an address, not '{text}'", at) from None
    if kind.startswith("map_"):
        _, method, values = kind.split("_")
        found = names.files.use(Word(text, at), Match[method.upper()], is_map=True, values=values, user="map")
        return Arg(ARG_REFERENCE, found)
    if kind == "offset":
        number = _integer(name, Argument("int", low=-(2**31), high=2**31 - 1), text, at)
        return Arg(ARG_INT, number << 1 | text.startswith(("+", "-")))
    if kind == "query":
        if text != "query":
            raise LanguageError(f"'{name}': unknown kind '{text}'", at, "known: query")
        return Arg(ARG_NONE)
    if kind == "userlist":
        if text not in names.userlists:
            hint = did_you_mean(text, names.userlists) if names.userlists else "define it under 'userlists'"
            raise LanguageError(f"'{name}': unknown userlist '{text}'", at, hint)
        return Arg(ARG_INT, names.userlists[text].index)
    if kind in ("ipv4", "ipv6"):
        try:
            address = ipaddress.IPv4Address(text) if kind == "ipv4" else ipaddress.IPv6Address(text)
        except ValueError:
            raise LanguageError(
                f"'{name}' needs an {'IPv4' if kind == 'ipv4' else 'IPv6'} address, not '{text}'", at
            ) from None
        return Arg(ARG_NET, 8 * len(address.packed), address.packed)
    table, number = {
        "frontend": (names.frontends, ARG_FRONTEND),
        "backend": (names.backends, ARG_BACKEND),
        "server": (names.servers, ARG_SERVER),
        "table": (names.tables, ARG_TABLE),
    }[kind]
    if text not in table:
        raise LanguageError(f"'{name}': unknown {kind} '{text}'", at, did_you_mean(text, table) if table else "")
    return Arg(number, table[text])


_TLVS = {"ALPN": 1, "AUTHORITY": 2, "CRC32C": 3, "NOOP": 4, "UNIQUE_ID": 5, "SSL": 32, "NETNS": 48}


def _tlv(name: str, text: str, at: int) -> int:
    """Read a type of TLVs of the PROXY protocol: its name or number."""
    if text.upper() in _TLVS:
        return _TLVS[text.upper()]
    if not _INTEGER.fullmatch(text):
        raise LanguageError(f"'{name}': unknown TLV '{text}'", at, did_you_mean(text, _TLVS))
    return _integer(name, Argument("int", low=0, high=255), text, at)


def _mask(name: str, kind: str, text: str, at: int) -> Arg:
    """Read a mask, as an address or as the number of its bits."""
    family, bits = (ipaddress.IPv4Address, 32) if kind == "mask4" else (ipaddress.IPv6Address, 128)
    if text.isascii() and text.isdigit() and int(text) <= bits:
        mask = ((1 << bits) - 1) ^ ((1 << (bits - int(text))) - 1)
        return Arg(ARG_NET, bits, mask.to_bytes(bits // 8, "big"))
    try:
        return Arg(ARG_NET, bits, family(text).packed)
    except ValueError:
        raise LanguageError(
            f"'{name}' needs an {family.__name__[:4]} mask, not '{text}'", at, f"or 0 to {bits}"
        ) from None


def _integer(name: str, wanted: Argument, text: str, at: int) -> int:
    if not _INTEGER.fullmatch(text):
        raise LanguageError(f"'{name}' needs a number, not '{text}'", at)
    number = int(text, 0) if text.startswith(("0x", "0X")) else int(text)
    low = -(2**63) if wanted.low is None else wanted.low
    high = 2**63 - 1 if wanted.high is None else wanted.high
    if not low <= number <= high:
        raise LanguageError(f"'{name}': {number} is out of range", at, f"from {low} to {high}")
    return number
