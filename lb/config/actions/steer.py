"""Actions that say where a request goes."""

from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.config.suggestion import nearest
from lb.language.expression import ARG_BACKEND, ARG_SERVER, Arg


def use_backend(rule: RuleContext, given: object) -> Made:
    """`use_backend: name`, or a format that makes one."""
    assert isinstance(given, str)
    if not rule.scope.is_frontend:
        rule.wrong(("use_backend",), "'use_backend' belongs to a frontend: this is a backend already")
        return Made(Action.USE_BACKEND, [])
    if is_format(given):
        return Made(Action.USE_BACKEND, [rule.text(("use_backend",), given)])
    known = rule.scope.names.backends
    if given not in known:
        near = nearest(given, known)
        hint = f"did you mean '{near}'?" if near else "define it under 'backends'"
        rule.wrong(("use_backend",), f"unknown backend '{given}'", hint)
        return Made(Action.USE_BACKEND, [])
    return Made(Action.USE_BACKEND, [Arg(ARG_BACKEND, known[given])])


def use_server(rule: RuleContext, given: object) -> Made:
    """`use_server: name`, or a format that makes one."""
    assert isinstance(given, str)
    if rule.scope.is_frontend:
        rule.wrong(("use_server",), "'use_server' belongs to a backend: only one has servers")
        return Made(Action.USE_SERVER, [])
    if is_format(given):
        return Made(Action.USE_SERVER, [rule.text(("use_server",), given)])
    begin = f"{rule.scope.name}/"
    known = {name.removeprefix(begin): at for name, at in rule.scope.names.servers.items() if name.startswith(begin)}
    if given not in known:
        near = nearest(given, known)
        hint = f"did you mean '{near}'?" if near else f"it has {', '.join(list(known)[:5])}"
        rule.wrong(("use_server",), f"unknown server '{given}'", hint)
        return Made(Action.USE_SERVER, [])
    return Made(Action.USE_SERVER, [Arg(ARG_SERVER, known[given])])


def is_format(name: str) -> bool:
    """Return whether a name is made for each request."""
    return "%" in name
