"""Actions that end a request or a response, or let it pass."""

from msgspec import UNSET

from lb.config.actions import check, content
from lb.config.actions.context import Made, Phase, RuleContext
from lb.config.actions.number import Action
from lb.language.expression import ARG_INT, ARG_NONE, ARG_TEXT, TOKEN, Arg
from lb.model.answer import Deny, Return
from lb.model.rule import RuleRedirect

REDIRECT_LOCATION, REDIRECT_PREFIX, REDIRECT_SCHEME = 1, 2, 3
# REDIRECT_* flags of policy/action.pxd: their keywords, and what these go with.
_REDIRECT_FLAGS = {
    1: ("drop_query", ("prefix", "scheme")),
    2: ("append_slash", ("prefix",)),
    4: ("ignore_empty", ("location",)),
    8: ("keep_query", ("location",)),
}


def allow(rule: RuleContext, given: object) -> Made:
    """`allow: true`."""
    rule.truth("allow", given)
    return Made(Action.ALLOW, [])


def accept(rule: RuleContext, given: object) -> Made:
    """`accept: true`."""
    rule.truth("accept", given)
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


def auth(rule: RuleContext, given: object) -> Made:
    """`auth: realm`: a refusal that says how to ask."""
    if isinstance(given, bool):
        rule.truth("auth", given)
    realm = rule.scope.name if isinstance(given, bool) else str(given)
    if not realm.isprintable():
        rule.wrong(("auth",), "'auth': the realm holds a control character")
    # RFC 9110 5.6.4, 11.5: a quoted string.
    quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
    challenge = Arg(ARG_TEXT, 0, f'Basic realm="{quoted}"'.encode("utf-8", "surrogateescape"))
    args = [Arg(ARG_INT, 401), Arg(ARG_NONE), Arg(ARG_NONE), Arg(ARG_TEXT, 0, b"WWW-Authenticate"), challenge]
    return Made(Action.DENY, args)


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
        Arg(ARG_INT, _redirect_flags(rule, given, word)),
        Arg(ARG_TEXT, 0, _redirect_cookie(rule, given)),
    ]


def _redirect_flags(rule: RuleContext, given: RuleRedirect, word: str) -> int:
    flags = 0
    for flag, (name, owners) in _REDIRECT_FLAGS.items():
        if not getattr(given, name):
            continue
        flags |= flag
        if word not in owners:
            rule.wrong(("redirect", name), f"'redirect': '{name}' belongs to '{owners[0]}'", "remove it")
    if given.append_slash and not given.drop_query:
        rule.wrong(("redirect", "append_slash"), "'redirect': 'append_slash' needs 'drop_query'")
    return flags


def _redirect_cookie(rule: RuleContext, given: RuleRedirect) -> bytes:
    """Return the value of Set-Cookie, as HAProxy writes it."""
    said = [word for word in ("set_cookie", "clear_cookie") if getattr(given, word) is not UNSET]
    if not said:
        return b""
    if len(said) > 1:
        rule.wrong(("redirect", "clear_cookie"), "'redirect' has both 'set_cookie' and 'clear_cookie'", "keep one")
    text = str(getattr(given, said[0]))
    name, _, value = text.partition("=")
    if not TOKEN.fullmatch(name) or any(not "!" <= each <= "~" or each in ',;"\\' for each in value):
        rule.wrong(("redirect", said[0]), f"'redirect': '{text}' is no cookie", "write 'NAME' or 'NAME=value'")
    return f"{text}; path=/;{' Max-Age=0;' if said[0] == 'clear_cookie' else ''}".encode()
