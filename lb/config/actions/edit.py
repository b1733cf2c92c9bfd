"""Actions that edit a head."""

from collections.abc import Callable

from msgspec import UNSET

from lb.config.actions import check
from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.language.expression import ARG_INT, ARG_TEXT, Arg
from lb.model.rule import SetStatus

# RFC 9110 15, and what is in use.
REASONS = {
    200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content",
    205: "Reset Content", 206: "Partial Content", 300: "Multiple Choices", 301: "Moved Permanently", 302: "Found",
    303: "See Other", 304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request",
    401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 410: "Gone", 411: "Length Required",
    412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type",
    416: "Range Not Satisfiable", 417: "Expectation Failed", 421: "Misdirected Request", 422: "Unprocessable Content",
    423: "Locked", 424: "Failed Dependency", 425: "Too Early", 426: "Upgrade Required", 428: "Precondition Required",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported", 507: "Insufficient Storage", 511: "Network Authentication Required",
}  # fmt: skip


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
    if said.reason is UNSET:
        reason = Arg(ARG_TEXT, 0, REASONS.get(said.status, "Unknown").encode())
    else:
        reason = rule.text(("set_status", "reason"), said.reason, check.field_value)
    return Made(Action.SET_STATUS, [Arg(ARG_INT, said.status), reason])


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
