"""`get var` and `set var`: variables of the process, as HAProxy shows and sets them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.variables import evaluate, place_variable, read_variable, variable_names, write_variable
from lb.language.catalog import Type
from lb.language.error import LanguageError
from lb.language.variable import variable_id

# Numbers of method_id; what is none of them has its text.
_METHODS = ("", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_TYPES = {
    Type.BOOL: "bool",
    Type.SINT: "sint",
    Type.IPV4: "ipv4",
    Type.IPV6: "ipv6",
    Type.STR: "str",
    Type.BIN: "bin",
    Type.METH: "meth",
}


def get(mapping: Mapping, arguments: Sequence[str]) -> str:
    """Answer `get var <name>`."""
    if not arguments:
        return "Missing process-wide variable identifier.\n"
    name = arguments[0]
    try:
        number = variable_id(name, {})
    except LanguageError:
        return "Variable not found.\n"
    found = read_variable(mapping, number) if name.startswith("proc.") else None
    if found is None or not found[0]:
        return "Variable not found.\n"
    return f"{name}: type={_TYPES[Type(found[0])]} value=<{_shown(*found)}>\n"


def put(mapping: Mapping, arguments: Sequence[str]) -> str:
    """Answer `set var <name> [expr|fmt] <what>`."""
    if not arguments:
        return "Missing process-wide variable identifier.\n"
    if len(arguments) < 2:
        return "Missing either 'expr', 'fmt' or expression.\n"
    name, *rest = arguments
    is_format = False
    if len(rest) > 1:
        if rest[0] not in ("expr", "fmt"):
            return f"'set var': arg type must be either 'expr' or 'fmt' but got '{rest[0]}'.\n"
        is_format = rest[0] == "fmt"
        rest = rest[1:]
    if not name.startswith("proc."):
        return f"'set var': cannot set variable '{name}', only scope 'proc' is permitted here.\n"
    known: dict[int, str] = {}
    try:
        for each in variable_names(mapping):
            variable_id(each, known)
        number = variable_id(name, known)
        return _put(mapping, number, name, rest[0], known, is_format=is_format)
    except LanguageError as error:
        return f"'set var': {error}{f'; {error.hint}' if error.hint else ''}.\n"


def _put(mapping: Mapping, number: int, name: str, text: str, known: dict[int, str], *, is_format: bool) -> str:
    # The compiler of configurations, which a supervisor does not need otherwise.
    from lb.config.evaluation import image_of

    value = evaluate(mapping, image_of(text, known, is_format=is_format), is_format=is_format)
    if value is None:
        return ""  # as HAProxy: what gives no value changes nothing
    try:
        place_variable(mapping, number, name)
    except OSError as error:
        return f"'set var': no room for another variable: {error.strerror}.\n"
    kind, integer, method, raw, address = value
    if not write_variable(mapping, number, kind, integer=integer, method=method, text=raw, address=address):
        return f"'set var': the value has {len(raw)} bytes, which are too many.\n"
    return ""


def _shown(kind: int, integer: int, method: int, text: bytes, address: bytes) -> str:
    if kind in (Type.BOOL, Type.SINT):
        return str(integer)
    if kind in (Type.IPV4, Type.IPV6):
        return str(ipaddress.ip_address(address[:4] if kind == Type.IPV4 else address))
    if kind == Type.METH and method < len(_METHODS) and _METHODS[method]:
        return _METHODS[method]
    if kind == Type.BIN:
        return text.hex().upper()
    # A line is a line, whatever the value is.
    return "".join(chr(each) if 32 <= each < 127 and each != 92 else f"\\x{each:02x}" for each in text)
