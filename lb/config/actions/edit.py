"""Actions that edit a head."""

from collections.abc import Callable

from msgspec import UNSET

from lb.config.actions import check
from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.language.expression import ARG_INT, Arg
from lb.model.rule import SetStatus


def set_header(rule: RuleContext, given: object) -> Made:
    """`set_header: [name, format]`."""
    return Made(Action.SET_HEADER, _field(rule, "set_header", given))


def add_header(rule: RuleContext, given: object) -> Made:
    """`add_header: [name, format]`."""
    return Made(Action.ADD_HEADER, _field(rule, "add_header", given))


def del_header(rule: RuleContext, given: object) -> Made:
    """`del_header: name`."""
    assert isinstance(given, str)
    return Made(Action.DEL_HEADER, [rule.name(("del_header",), given)])


def set_status(rule: RuleContext, given: object) -> Made:
    """`set_status: status` or a mapping."""
    said = SetStatus(status=given) if isinstance(given, int) else given
    assert isinstance(said, SetStatus)
    args = [Arg(ARG_INT, said.status)]
    if said.reason is not UNSET:  # else the usual one (proto/status.pyx)
        args.append(rule.text(("set_status", "reason"), said.reason, check.field_value))
    return Made(Action.SET_STATUS, args)


def line(action: str, number: Action, test: Callable[[bytes], str]) -> Callable[[RuleContext, object], Made]:
    """Return the function of an action whose format becomes a part of the request line."""

    def made(rule: RuleContext, given: object) -> Made:
        assert isinstance(given, str)
        return Made(number, [rule.text((action,), given, test)])

    return made


def _field(rule: RuleContext, action: str, given: object) -> list[Arg]:
    assert isinstance(given, tuple)
    name, value = given
    return [rule.name((action, 0), name), rule.text((action, 1), value, check.field_value)]
