"""Actions on variables and captures."""

from msgspec import UNSET

from lb.config.actions.context import Made, Phase, RuleContext
from lb.config.actions.number import Action
from lb.config.captures import arguments
from lb.config.diagnostic import Path
from lb.language.error import LanguageError
from lb.language.expression import ARG_INT, ARG_VARIABLE, Arg
from lb.language.variable import conditions, variable_id
from lb.model.capture import RuleCapture


def set_var(rule: RuleContext, given: object) -> Made:
    """`set_var: [name, expression]`; conditions stand behind the name: `txn.a,ifset`."""
    assert isinstance(given, tuple)
    name, text = given
    return Made(Action.SET_VAR, [*_name(rule, ("set_var", 0), name), rule.expression(("set_var", 1), text)])


def set_var_fmt(rule: RuleContext, given: object) -> Made:
    """`set_var_fmt: [name, format]`."""
    assert isinstance(given, tuple)
    name, text = given
    return Made(Action.SET_VAR_FMT, [*_name(rule, ("set_var_fmt", 0), name), rule.text(("set_var_fmt", 1), text)])


def unset_var(rule: RuleContext, given: object) -> Made:
    """`unset_var: name`."""
    assert isinstance(given, str)
    path: Path = ("unset_var",)
    if "," in given:
        rule.wrong(path, f"'unset_var' takes no condition: '{given}'", "conditions belong to 'set_var'")
        return Made(Action.UNSET_VAR, [])
    return Made(Action.UNSET_VAR, _name(rule, path, given)[:1])


def capture(rule: RuleContext, given: object) -> Made:
    """`capture: {expression, len}` or `{expression, id}`."""
    assert isinstance(given, RuleCapture)
    is_response = rule.phase is Phase.RESPONSE
    slots = rule.scope.slots
    if (given.len is UNSET) == (given.id is UNSET):
        rule.wrong(("capture",), "'capture' needs one of 'len' and 'id'", "'id' is the number of a declared slot")
        return Made(Action.CAPTURE, [])
    if given.len is not UNSET:
        if is_response or not rule.scope.is_frontend:
            hint = f"declare one: 'captures: {{{'response' if is_response else 'request'}: [{{len: {given.len}}}]}}'"
            rule.wrong(("capture", "len"), "'capture' needs 'id', the number of a slot that a frontend declares", hint)
            return Made(Action.CAPTURE, [])
        slot = slots.add(given.len)
    else:
        assert given.id is not UNSET
        slot = given.id
    known = slots.response if is_response else slots.request
    if slot >= len(known):
        rule.wrong(
            ("capture", "id"), f"'capture': there is no slot {slot}; {len(known)} are declared", "they count from 0"
        )
        return Made(Action.CAPTURE, [])
    expression = rule.expression(("capture", "expression"), given.expression)
    return Made(Action.CAPTURE, arguments(slot, known[slot], expression, response=is_response))


def _name(rule: RuleContext, path: Path, given: str) -> list[Arg]:
    """Return the variable and its conditions."""
    name, *words = given.split(",")
    at = len(name) + 2
    try:
        number = variable_id(name.strip(), rule.scope.names.variables)
        bits = conditions([(each.strip(), at) for each in words])
    except LanguageError as error:
        rule.wrong(path, f"'{path[0]}': {error}", error.hint)
        return []
    return [Arg(ARG_VARIABLE, number), Arg(ARG_INT, bits)]
