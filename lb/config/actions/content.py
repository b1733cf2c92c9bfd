"""What answers are made of: status, type, body and fields, from the rule, from files, from error pages.

The arguments are the same for every action that answers: status (its text is the reason phrase, empty for the usual one), content
type, body (none: the error page that the proxy has for the status), then name and value of each field.
"""

from collections.abc import Mapping

from msgspec import UNSET

from lb.config.actions import check
from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.config.contentfile import ContentFileError, is_whole, parse_whole, read_content, type_of
from lb.config.suggestion import nearest
from lb.language.expression import ARG_INT, ARG_NONE, ARG_TEXT, Arg
from lb.model.answer import Content, Page, Template
from lb.model.rule import RuleRedirect

REDIRECT_LOCATION = 1
CODES = (301, 302, 303, 307, 308)
PLAIN = "text/plain; charset=utf-8"
BODILESS = (204, 205, 304)

_BODIES = ("body", "string", "file", "lf_file")
_WAYS = (*_BODIES, "errorfile", "errorfiles", "default_errorfiles")

PageGiven = str | Page
Groups = Mapping[str, Mapping[str, PageGiven]]


def template(rule: RuleContext, action: str, given: Template, status: int, *, is_error: bool) -> list[Arg]:
    """Return the arguments of an answer; without a body that of an error is left to error pages."""
    ways = [word for word in _WAYS if getattr(given, word) is not UNSET]
    if len(ways) > 1:
        rule.wrong((action, ways[1]), f"'{action}' has both '{ways[0]}' and '{ways[1]}'", "keep one")
        return []
    way = ways[0] if ways else ""
    headers = fields(rule, action, given.headers)
    if way == "errorfile":
        content = _read(rule, (action, way), str(given.errorfile))
        return [] if content is None else [*whole(rule, (action, way), content, ""), *headers]
    if way in ("errorfiles", "default_errorfiles") and status < 400:
        rule.wrong((action, way), f"'{action}': {status} is not an error", f"'{way}' needs a status from 400 to 599")
        return []
    if way == "errorfiles":
        made = _of_group(rule, action, str(given.errorfiles), status)
        return [] if made is None else [*made.args[1:], *headers]
    if way == "default_errorfiles" or (is_error and not way and given.content_type is UNSET):
        return [Arg(ARG_INT, status), Arg(ARG_NONE), Arg(ARG_NONE), *headers]
    return [Arg(ARG_INT, status), *_body(rule, action, given, status), *headers]


def page(rule: RuleContext, code: str, given: PageGiven) -> Made:
    """Compile what is answered to an error: the number of the error comes before the arguments of the answer."""
    first = Arg(ARG_INT, int(code))
    said = Page(file=given) if isinstance(given, str) else given
    ways = [word for word in (*_BODIES, "location") if getattr(said, word) is not UNSET]
    if len(ways) > 1:
        rule.wrong((ways[1],), f"has both '{ways[0]}' and '{ways[1]}'", "keep one")
    if said.location is not UNSET:
        return Made(Action.REDIRECT, [first, *_location(rule, said)])
    if said.code is not UNSET:
        rule.wrong(("code",), "'code' belongs to 'location'", "write 'status'")
    headers = fields(rule, "", said.headers)
    status = int(code) if said.status is UNSET else said.status
    if said.file is not UNSET:
        path = () if isinstance(given, str) else ("file",)
        content = _read(rule, path, said.file)
        if content is None:
            return Made(Action.REJECT, [first])
        if not content:
            return Made(Action.REJECT, [first])
        if is_whole(content):
            for word in ("status", "content_type"):
                if getattr(said, word) is not UNSET:
                    rule.wrong((word,), f"'{word}' stands in the file already", "remove it")
            return Made(Action.RETURN, [first, *_stored(whole(rule, path, content, "page"), headers)])
        kind = type_of(said.file) if said.content_type is UNSET else said.content_type
        body = Arg(ARG_TEXT, 0, content)
        kind_arg = rule.text(("content_type",), kind, check.field_value)
        return Made(Action.RETURN, [first, *_stored([Arg(ARG_INT, status), kind_arg, body], headers)])
    return Made(Action.RETURN, [first, *_stored([Arg(ARG_INT, status), *_body(rule, "", said, status)], headers)])


def fields(rule: RuleContext, action: str, headers: Mapping[str, str]) -> list[Arg]:
    """Compile the fields of an answer."""
    path = (action, "headers") if action else ("headers",)
    made: list[Arg] = []
    for name, value in headers.items():
        made += [rule.name((*path, name), name), rule.text((*path, name), value, check.field_value)]
    return made


def whole(rule: RuleContext, path: tuple[str, ...], content: bytes, what: str) -> list[Arg]:
    """Return the arguments of a whole answer that a file holds."""
    if not is_whole(content):
        hint = "write 'file' for a body alone"
        rule.wrong(path, "the file holds no whole answer: it does not begin with 'HTTP/'", hint)
        return []
    try:
        found = parse_whole(content)
    except ContentFileError as error:
        rule.wrong(path, f"the file {error}", error.hint)
        return []
    if found.body and found.status in BODILESS:
        rule.wrong(path, f"the file has a body: an answer with status {found.status} has none")
    args = [Arg(ARG_INT, found.status, found.reason), Arg(ARG_TEXT), Arg(ARG_TEXT, 0, found.body)]
    for name, value in found.fields:
        args += [Arg(ARG_TEXT, 0, name), Arg(ARG_TEXT, 0, value)]
    return args


def _stored(answer: list[Arg], headers: list[Arg]) -> list[Arg]:
    """Return an error page that no cache keeps, unless it says something else of caches."""
    args = [*answer, *headers]
    if answer and not any(each.text.lower() == b"cache-control" for each in args[3::2]):
        args += [Arg(ARG_TEXT, 0, b"Cache-Control"), Arg(ARG_TEXT, 0, b"no-store")]
    return args


def _body(rule: RuleContext, action: str, given: Content, status: int) -> list[Arg]:
    """Return content type and body."""

    def path(word: str) -> tuple[str, ...]:
        return (action, word) if action else (word,)

    body, kind = Arg(ARG_TEXT), ""
    way = next((word for word in _BODIES if getattr(given, word) is not UNSET), "")
    if way == "body":
        assert given.body is not UNSET
        body, kind = rule.text(path(way), given.body, check.body), PLAIN if given.body else ""
    elif way == "string":
        assert given.string is not UNSET
        body, kind = Arg(ARG_TEXT, 0, given.string.encode("utf-8", "surrogateescape")), PLAIN if given.string else ""
    elif way == "file":
        body, kind = Arg(ARG_TEXT, 0, _read(rule, path(way), str(given.file)) or b""), type_of(str(given.file))
    elif way == "lf_file":
        content = (_read(rule, path(way), str(given.lf_file), check.BODY_MAX) or b"").decode("utf-8", "surrogateescape")
        body, kind = rule.text(path(way), content, check.body), type_of(str(given.lf_file))
    if kind and status in BODILESS:
        label = f"'{action}': " if action else ""
        rule.wrong(path(way), f"{label}an answer with status {status} has no body")
    kind = kind if given.content_type is UNSET else given.content_type
    return [rule.text(path("content_type"), kind, check.field_value), body]


def _location(rule: RuleContext, given: Page) -> list[Arg]:
    assert given.location is not UNSET
    code = RuleRedirect(location="/").code if given.code is UNSET else given.code
    if code not in CODES:
        rule.wrong(("code",), f"{code} is no code of a redirect", "write 301, 302, 303, 307 or 308")
    for word in ("status", "content_type"):
        if getattr(given, word) is not UNSET:
            rule.wrong((word,), f"'{word}' does not go with 'location'", "write 'code'" if word == "status" else "")
    if given.headers:
        rule.wrong(("headers",), "'headers' do not go with 'location'", "remove them")
    return [
        Arg(ARG_INT, code),
        Arg(ARG_INT, REDIRECT_LOCATION),
        rule.text(("location",), given.location, check.target),
        Arg(ARG_INT, 0),
    ]


def _of_group(rule: RuleContext, action: str, name: str, status: int) -> Made | None:
    groups = rule.scope.pages
    if name not in groups:
        near = nearest(name, groups)
        hint = f"did you mean '{near}'?" if near else "define it under 'http_errors'"
        rule.wrong((action, "errorfiles"), f"unknown group of error pages '{name}'", hint)
        return None
    if str(status) not in groups[name]:
        rule.wrong((action, "errorfiles"), f"'http_errors.{name}' has no page for {status}", "write one there")
        return None
    if rule.scope.names.folder is None:  # files are not looked at
        return Made(Action.RETURN, [])
    made = page(rule.quiet(), str(status), groups[name][str(status)])
    if made.number is not Action.RETURN:
        rule.wrong(
            (action, "errorfiles"), f"the page that 'http_errors.{name}' has for {status} is no answer with a body"
        )
        return None
    return made


def _read(rule: RuleContext, path: tuple[str, ...], given: str, most: int | None = None) -> bytes | None:
    """Return a file's bytes; None where files are not looked at, or after reporting what is wrong."""
    folder = rule.scope.names.folder
    if folder is None:
        return None
    try:
        return read_content(folder, given) if most is None else read_content(folder, given, most)
    except ContentFileError as error:
        rule.wrong(path, str(error), error.hint)
        return None
