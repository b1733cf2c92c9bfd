"""Actions on variables and captures."""

from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.config.diagnostic import Path
from lb.language.error import LanguageError
from lb.language.expression import ARG_INT, ARG_VARIABLE, Arg
from lb.language.variable import conditions, variable_id


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
