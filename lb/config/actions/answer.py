"""Actions that end a request or a response, or let it pass."""

from msgspec import UNSET

from lb.config.actions import check
from lb.config.actions.context import Made, Phase, RuleContext
from lb.config.actions.number import Action
from lb.language.expression import ARG_INT, Arg
from lb.model.rule import Return, RuleRedirect

REDIRECT_LOCATION, REDIRECT_PREFIX, REDIRECT_SCHEME = 1, 2, 3

_CODES = (301, 302, 303, 307, 308)


def allow(rule: RuleContext, given: object) -> Made:
    """`allow: true`."""
    rule.truth("allow", given)
    return Made(Action.ALLOW, [])


def reject(rule: RuleContext, given: object) -> Made:
    """`reject: true`."""
    rule.truth("reject", given)
    return Made(Action.REJECT, [])


def deny(rule: RuleContext, given: object) -> Made:
    """`deny: status`."""
    if given is False:
        rule.truth("deny", given)
    status = (403 if rule.phase is Phase.REQUEST else 502) if isinstance(given, bool) else given
    assert isinstance(status, int)
    if status < 400:
        rule.wrong(("deny",), f"'deny': {status} is not an error", "write 400 to 599, or 'return'")
    return Made(Action.DENY, [Arg(ARG_INT, status)])


def tarpit(rule: RuleContext, given: object) -> Made:
    """`tarpit: status`."""
    if given is False:
        rule.truth("tarpit", given)
    status = 500 if isinstance(given, bool) else given
    assert isinstance(status, int)
    if status < 400:
        rule.wrong(("tarpit",), f"'tarpit': {status} is not an error", "write 400 to 599")
    return Made(Action.TARPIT, [Arg(ARG_INT, status), Arg(ARG_INT, rule.scope.tarpit_ms)])


def return_(rule: RuleContext, given: object) -> Made:
    """`return: status` or a mapping."""
    return Made(Action.RETURN, _return(rule, Return(status=given) if isinstance(given, int) else given))


def redirect(rule: RuleContext, given: object) -> Made:
    """`redirect: location` or a mapping."""
    return Made(Action.REDIRECT, _redirect(rule, RuleRedirect(location=given) if isinstance(given, str) else given))


def _return(rule: RuleContext, given: object) -> list[Arg]:
    assert isinstance(given, Return)
    body = "" if given.body is UNSET else given.body
    content_type = given.content_type
    if content_type is UNSET:
        content_type = "text/plain; charset=utf-8" if body else ""
    if body and given.status in (204, 205, 304):
        rule.wrong(("return", "body"), f"'return': an answer with status {given.status} has no body")
    args = [
        Arg(ARG_INT, given.status),
        rule.text(("return", "content_type"), content_type, check.field_value),
        rule.text(("return", "body"), body, check.body),
    ]
    for name, value in given.headers.items():
        args.append(rule.name(("return", "headers", name), name))
        args.append(rule.text(("return", "headers", name), value, check.field_value))
    return args


def _redirect(rule: RuleContext, given: object) -> list[Arg]:
    assert isinstance(given, RuleRedirect)
    ways = [
        (number, word, getattr(given, word))
        for number, word in (
            (REDIRECT_LOCATION, "location"),
            (REDIRECT_PREFIX, "prefix"),
            (REDIRECT_SCHEME, "scheme"),
        )
        if getattr(given, word) is not UNSET
    ]
    if len(ways) != 1:
        rule.wrong(("redirect",), "'redirect' needs one of 'location', 'prefix' and 'scheme'")
        return []
    if given.code not in _CODES:
        rule.wrong(
            ("redirect", "code"),
            f"'redirect': {given.code} is no code of a redirect",
            "write 301, 302, 303, 307 or 308",
        )
    number, word, text = ways[0]
    if word == "location" and text.isalpha():
        rule.wrong(("redirect",), f"'redirect': '{text}' is no address", f"write '{{scheme: {text}}}' or '/{text}'")
    return [
        Arg(ARG_INT, given.code),
        Arg(ARG_INT, number),
        rule.text(("redirect", word), text, check.scheme if word == "scheme" else check.target),
        Arg(ARG_INT, int(given.drop_query)),
    ]
