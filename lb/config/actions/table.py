"""Actions on stick tables."""

from msgspec import UNSET

from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.config.suggestion import nearest
from lb.language.expression import ARG_INT, ARG_TABLE, Arg


def track(rule: RuleContext, given: object) -> Made:
    """`track: expression` with `table` and `as`."""
    assert isinstance(given, str)
    known = rule.scope.names.tables
    which = 0 if rule.rule.as_ is UNSET else rule.rule.as_
    table = rule.rule.table
    if table is UNSET:
        rule.wrong(("track",), "'track' needs a table", "write 'table' and the name of one")
        return Made(Action.TRACK, [])
    if table not in known:
        near = nearest(table, known)
        hint = f"did you mean '{near}'?" if near else "define it under 'tables'"
        rule.wrong(("table",), f"unknown table '{table}'", hint)
        return Made(Action.TRACK, [])
    return Made(Action.TRACK, [Arg(ARG_INT, which), rule.expression(("track",), given), Arg(ARG_TABLE, known[table])])
