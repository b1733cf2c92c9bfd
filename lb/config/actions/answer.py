"""Actions that end a request or a response, or let it pass."""

from msgspec import UNSET

from lb.config.actions import check, content
from lb.config.actions.context import Made, Phase, RuleContext
from lb.config.actions.number import Action
from lb.language.expression import ARG_INT, Arg
from lb.model.answer import Deny, Return
from lb.model.rule import RuleRedirect

REDIRECT_LOCATION, REDIRECT_PREFIX, REDIRECT_SCHEME = 1, 2, 3


def allow(rule: RuleContext, given: object) -> Made:
    """`allow: true`."""
    rule.truth("allow", given)
    return Made(Action.ALLOW, [])


def reject(rule: RuleContext, given: object) -> Made:
    """`reject: true`."""
    rule.truth("reject", given)
    return Made(Action.REJECT, [])


def silent_drop(rule: RuleContext, given: object) -> Made:
    """`silent_drop: true`."""
    rule.truth("silent_drop", given)
    return Made(Action.SILENT_DROP, [])


def deny(rule: RuleContext, given: object) -> Made:
    """`deny: status` or a mapping."""
    return Made(Action.DENY, _denial(rule, "deny", given, 403 if rule.phase is Phase.REQUEST else 502))


def tarpit(rule: RuleContext, given: object) -> Made:
    """`tarpit: status` or a mapping."""
    return Made(Action.TARPIT, [Arg(ARG_INT, rule.scope.tarpit_ms), *_denial(rule, "tarpit", given, 500)])


def return_(rule: RuleContext, given: object) -> Made:
    """`return: status` or a mapping."""
    said = Return(status=given) if isinstance(given, int) else given
    assert isinstance(said, Return)
    if said.errorfile is not UNSET and said.status is not UNSET:
        rule.wrong(("return", "status"), "'return': the status stands in the 'errorfile'", "remove it")
    status = 200 if said.status is UNSET else said.status
    return Made(Action.RETURN, content.template(rule, "return", said, status, is_error=False))


def redirect(rule: RuleContext, given: object) -> Made:
    """`redirect: location` or a mapping."""
    return Made(Action.REDIRECT, _redirect(rule, RuleRedirect(location=given) if isinstance(given, str) else given))


def _denial(rule: RuleContext, action: str, given: object, usual: int) -> list[Arg]:
    if given is False:
        rule.truth(action, given)
    if isinstance(given, int) and not isinstance(given, bool) and given < 400:
        rule.wrong((action,), f"'{action}': {given} is not an error", "write 400 to 599" + _instead(action))
    said = given if isinstance(given, Deny) else Deny(status=usual if isinstance(given, bool) else int(str(given)))
    if said.errorfile is not UNSET and said.status is not UNSET:
        rule.wrong((action, "status"), f"'{action}': the status stands in the 'errorfile'", "remove it")
    return content.template(rule, action, said, usual if said.status is UNSET else said.status, is_error=True)


def _instead(action: str) -> str:
    return ", or 'return'" if action == "deny" else ""


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
    if given.code not in content.CODES:
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
