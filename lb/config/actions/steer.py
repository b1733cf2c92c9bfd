"""Actions that say where a request goes."""

from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.config.suggestion import nearest
from lb.language.expression import ARG_BACKEND, Arg


def use_backend(rule: RuleContext, given: object) -> Made:
    """`use_backend: name`."""
    assert isinstance(given, str)
    if not rule.scope.is_frontend:
        rule.wrong(("use_backend",), "'use_backend' belongs to a frontend: this is a backend already")
        return Made(Action.USE_BACKEND, [])
    known = rule.scope.names.backends
    if given not in known:
        near = nearest(given, known)
        hint = f"did you mean '{near}'?" if near else "define it under 'backends'"
        rule.wrong(("use_backend",), f"unknown backend '{given}'", hint)
        return Made(Action.USE_BACKEND, [])
    return Made(Action.USE_BACKEND, [Arg(ARG_BACKEND, known[given])])
