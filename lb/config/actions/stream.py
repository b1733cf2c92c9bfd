"""Actions that say how a stream goes on: its timeouts, log level, addresses, server."""

import socket
from collections.abc import Callable
from typing import get_args

from msgspec import UNSET

from lb.config.actions import check
from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.language.catalog import CASTS, Type
from lb.language.error import LanguageError
from lb.language.expression import ARG_EXPR, ARG_INT, ARG_NONE, Arg, parse
from lb.model.rule import LogLevel, SetTimeout
from lb.model.units import UnitError, duration_ms

_SILENT = -1


def set_log_level(rule: RuleContext, given: object) -> Made:
    """`set_log_level: severity`, or `silent`."""
    level = get_args(LogLevel).index(given)
    return Made(Action.SET_LOG_LEVEL, [Arg(ARG_INT, _SILENT if given == "silent" else level)])


def set_timeout(rule: RuleContext, given: object) -> Made:
    """`set_timeout: {server: 5s}`, or an expression of milliseconds."""
    assert isinstance(given, SetTimeout)
    said = [getattr(given, word) for word in ("client", "server", "tunnel")]
    if all(each is UNSET for each in said):
        rule.wrong(("set_timeout",), "'set_timeout' says nothing", "write '{server: 5s}', or 'client' or 'tunnel'")
    args = [
        _time(rule, ("set_timeout", word), each)
        for word, each in zip(("client", "server", "tunnel"), said, strict=True)
    ]
    return Made(Action.SET_TIMEOUT, args)


def address(action: str, number: Action, kind: Type) -> Callable[[RuleContext, object], Made]:
    """Return the function of an action whose expression gives an address or a port."""

    def made(rule: RuleContext, given: object) -> Made:
        assert isinstance(given, str)
        return Made(number, [_sample(rule, (action,), given, kind)])

    return made


def early_hint(rule: RuleContext, given: object) -> Made:
    """`early_hint: [name, format]`."""
    assert isinstance(given, tuple)
    name, value = given
    path = ("early_hint", 1)
    return Made(Action.EARLY_HINT, [rule.name(("early_hint", 0), name), rule.text(path, value, check.field_value)])


def pause(rule: RuleContext, given: object) -> Made:
    """`pause: 100ms`, or an expression of milliseconds."""
    return Made(Action.PAUSE, [_time(rule, ("pause",), given)])


def mark(rule: RuleContext, given: object) -> Made:
    """`set_fc_mark: 7`, or an expression."""
    if rule.scope.names.folder is not None and not _may_mark():
        rule.wrong(("set_fc_mark",), "'set_fc_mark': this process may not mark packets", "it needs CAP_NET_ADMIN")
    return Made(Action.SET_FC_MARK, [_number(rule, "set_fc_mark", given, 2**32 - 1)])


def tos(rule: RuleContext, given: object) -> Made:
    """`set_fc_tos: 16`, or an expression."""
    return Made(Action.SET_FC_TOS, [_number(rule, "set_fc_tos", given, 255)])


def _number(rule: RuleContext, action: str, given: object, most: int) -> Arg:
    if isinstance(given, str) and not given.startswith("0x"):
        return _sample(rule, (action,), given, Type.SINT)
    try:
        number = int(given, 16) if isinstance(given, str) else int(str(given))
    except ValueError:
        rule.wrong((action,), f"'{action}': '{given}' is no number")
        return Arg(ARG_NONE)
    if not 0 <= number <= most:
        rule.wrong((action,), f"'{action}' is {number}; 0 to {most} are possible")
    return Arg(ARG_INT, number)


def _may_mark() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
        except PermissionError:
            return False
    return True


def strict_mode(rule: RuleContext, given: object) -> Made:
    """`strict_mode: true` or `false`."""
    assert isinstance(given, bool)
    return Made(Action.STRICT_MODE, [Arg(ARG_INT, int(given))])


def _time(rule: RuleContext, path: tuple[str, ...], given: object) -> Arg:
    if given is UNSET:
        return Arg(ARG_NONE)
    assert isinstance(given, str)
    label = ".".join(path)
    try:
        ms = duration_ms(given)
    except UnitError as error:
        if given[:1].isdigit():
            rule.wrong(path, f"'{label}': '{given}' {error}")
            return Arg(ARG_NONE)
        return _sample(rule, path, given, Type.SINT)
    if ms == 0:
        rule.wrong(path, f"'{label}' is 0", "it has at least 1ms")
    return Arg(ARG_INT, ms)


def _sample(rule: RuleContext, path: tuple[str, ...], text: str, kind: Type) -> Arg:
    """Compile an expression whose value must have a type."""
    try:
        made = parse(text, rule.scope.names)
    except LanguageError as error:
        rule.wrong(path, f"'{path[0]}': {error}", error.hint)
        return Arg(ARG_NONE)
    rule.needs(made.needs, path)
    if kind not in CASTS[made.type]:
        rule.wrong(path, f"'{path[0]}' needs {kind_name(kind)}, and '{text}' is never one")
    return Arg(ARG_EXPR, rule.scope.program.expression(made))


def kind_name(kind: Type) -> str:
    """Return the name of a type with its article."""
    return f"{'an' if str(kind)[0] in 'aI' or str(kind) == 'integer' else 'a'} {kind}"
