"""Actions on stick tables."""

from collections.abc import Callable

from msgspec import UNSET

from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.config.diagnostic import Path
from lb.config.suggestion import nearest
from lb.language.catalog import Type
from lb.language.expression import ARG_INT, ARG_TABLE, Arg
from lb.language.tables import ARRAY_MAX, TRACKS


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


def change(action: str, number: Action, *, is_array: bool, has_value: bool) -> Callable[[RuleContext, object], Made]:
    """Return the compiler of an action on a tracked entry: [number in the array,] track [, value]."""
    words = [*(["number"] if is_array else []), "track", *(["value"] if has_value else [])]

    def compiled(rule: RuleContext, given: object) -> Made:
        said = list(given) if isinstance(given, tuple) else [given]
        if len(said) != len(words):
            wanted = f"[{', '.join(words)}]" if len(words) > 1 else f"the number of a {words[0]}"
            rule.wrong((action,), f"'{action}' takes {wanted}")
            return Made(number, [])
        cell = _index(rule, action, said, words, "number", ARRAY_MAX - 1) if is_array else 0
        track_ = _index(rule, action, said, words, "track", TRACKS - 1)
        value = _value(rule, (action, len(words) - 1), said[-1]) if has_value else Arg(ARG_INT, 1)
        return Made(number, [Arg(ARG_INT, track_), Arg(ARG_INT, cell), value])

    return compiled


def _index(rule: RuleContext, action: str, said: list[object], words: list[str], word: str, most: int) -> int:
    place = words.index(word)
    found = said[place]
    if not isinstance(found, int) or not 0 <= found <= most:
        path = (action, place) if len(words) > 1 else (action,)
        rule.wrong(path, f"'{action}': '{found}' is no {word}", f"write a number from 0 to {most}")
        return 0
    return found


def _value(rule: RuleContext, path: Path, given: object) -> Arg:
    """Return a number, or the expression of one."""
    if isinstance(given, int):
        if not 0 <= given < 1 << 32:
            rule.wrong(path, f"'{path[0]}': {given} is out of range", "from 0 to 4294967295")
        return Arg(ARG_INT, given)
    return rule.expression(path, str(given), Type.SINT)
