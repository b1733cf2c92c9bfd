"""From the rules of the model to rows of the program: every text compiled, every mistake a finding."""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import fields

from lb.config.diagnostic import Finding, Path
from lb.config.suggestion import nearest
from lb.language.catalog import Needs
from lb.language.condition import Test, parse_condition, parse_test
from lb.language.error import LanguageError
from lb.language.expression import (
    ARG_BACKEND,
    ARG_EXPR,
    ARG_FORMAT,
    ARG_INT,
    ARG_TABLE,
    ARG_TEXT,
    TOKEN,
    Arg,
    Names,
    parse,
)
from lb.language.format import Format, parse_format
from lb.language.program import Program, RuleRow
from lb.model import Backend, Configuration, Frontend
from lb.model.address import AddressError, parse_server
from lb.model.naming import server_name, server_of
from lb.model.rule import Return, Rule, RuleRedirect, SetStatus

# Numbers of action_id.
(
    ALLOW, DENY, REJECT, SILENT_DROP, RETURN, REDIRECT, SET_HEADER, ADD_HEADER, DEL_HEADER, SET_METHOD, SET_PATH, SET_QUERY,
    SET_PATHQ, SET_STATUS, USE_BACKEND, TARPIT, TRACK,
) = range(1, 18)  # fmt: skip
ACTION_NAMES = {
    ALLOW: "allow", DENY: "deny", REJECT: "reject", SILENT_DROP: "silent_drop", RETURN: "return", REDIRECT: "redirect",
    TARPIT: "tarpit",
}  # fmt: skip
"""Of the actions that end a request."""
RULE_UNLESS = 1
REDIRECT_LOCATION, REDIRECT_PREFIX, REDIRECT_SCHEME = 1, 2, 3

BODY_MAX = 8192  # of `return`, as written
_CODES = (301, 302, 303, 307, 308)
# Fields that say how a message is framed or what the next hop is told: the codec writes these.
_OWN = frozenset(
    [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
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


class Phase(Enum):
    """When rules are looked at."""

    REQUEST = "rules"
    RESPONSE = "response_rules"


_WHERE = {
    "reject": (Phase.REQUEST,),
    "tarpit": (Phase.REQUEST,),
    "redirect": (Phase.REQUEST,),
    "set_method": (Phase.REQUEST,),
    "set_path": (Phase.REQUEST,),
    "set_pathq": (Phase.REQUEST,),
    "set_query": (Phase.REQUEST,),
    "set_status": (Phase.RESPONSE,),
    "use_backend": (Phase.REQUEST,),
    "track": (Phase.REQUEST,),
}


class Sets(NamedTuple):
    """Numbers of rulesets + 1, 0 = none."""

    request: int
    response: int


def names_of(configuration: Configuration, folder: str | None = None) -> Names:
    """Return what expressions may name, with the places that each has in the plan; files only if a folder is given."""
    servers: list[str] = []
    for name, backend in configuration.backends.items():
        for given in backend.servers:
            server = server_of(given)
            try:
                servers.append(f"{name}/{server_name(server, parse_server(server.address))}")
            except AddressError:
                servers.append("")  # which is reported where it stands
    return Names(
        {name: index for index, name in enumerate(configuration.frontends)},
        {name: index for index, name in enumerate(configuration.backends)},
        {name: index for index, name in enumerate(servers)},
        folder,
        {name: index for index, name in enumerate(configuration.tables)},
    )


def judges_paths(proxy: Frontend | Backend) -> bool:
    """Return whether a condition of a frontend or backend looks at paths."""
    rules = [*proxy.rules, *proxy.response_rules]
    texts = [each for rule in rules for each in (rule.if_, rule.unless) if each is not UNSET]
    for given in proxy.acls.values():
        texts += [given] if isinstance(given, str) else given
    return any(re.search(r"\b(path|url|base)", text) for text in texts)


class RuleCompiler:
    """Compiles the rules of frontends and backends into one program."""

    def __init__(self, names: Names, report: Callable[[Finding], None]) -> None:
        self.names = names
        self.program = Program()
        self._report = report

    def compile(
        self, path: Path, subject: str, acls: Mapping[str, object], rules: Iterable[Rule], response_rules: Iterable[Rule],
        *, tarpit_ms: int, is_frontend: bool,
    ) -> Sets:  # fmt: skip
        """Compile what a proxy says; mistakes are reported."""
        self._path, self._subject, self._is_frontend = path, subject, is_frontend
        self._tarpit_ms = tarpit_ms
        self._acls = {name: self._acl(name, given) for name, given in acls.items()}
        return Sets(
            self.program.ruleset(self._rules(Phase.REQUEST, rules)),
            self.program.ruleset(self._rules(Phase.RESPONSE, response_rules)),
        )

    def _finding(self, path: Path, message: str, hint: str = "") -> None:
        self._report(Finding((*self._path, *path), self._subject, message, hint))

    def _acl(self, name: str, given: object) -> tuple[Test, ...]:
        tests: list[Test] = []
        many = not isinstance(given, str)
        assert isinstance(given, str | tuple)
        for index, text in enumerate(given if isinstance(given, tuple) else (given,)):
            try:
                tests.append(parse_test(str(text), self.names))
            except LanguageError as error:
                self._finding(("acls", name, *((index,) if many else ())), f"acl '{name}': {error}", error.hint)
        if many and not given:
            self._finding(("acls", name), f"acl '{name}' has no definition", "write an expression and patterns")
        return tuple(tests)

    def _rules(self, phase: Phase, rules: Iterable[Rule]) -> list[RuleRow]:
        rows: list[RuleRow] = []
        for index, rule in enumerate(rules):
            row = _RuleCompiler(self, phase, index, rule).row()
            if row is not None:
                rows.append(row)
        return rows


ACTIONS = [each.encode_name for each in fields(Rule) if each.encode_name not in ("if", "unless", "table", "as")]


class _RuleCompiler:
    """Compiles one rule."""

    def __init__(self, owner: RuleCompiler, phase: Phase, index: int, rule: Rule) -> None:
        self.owner = owner
        self.phase = phase
        self.rule = rule
        self.path: Path = (phase.value, index)
        self.label = f"{phase.value}, rule {index + 1}"
        self.is_sound = True

    def row(self) -> RuleRow | None:
        """Return the rule's row; None after reporting what is wrong."""
        said = [each for each in fields(Rule) if getattr(self.rule, each.name) is not UNSET]
        actions = [each for each in said if each.encode_name in ACTIONS]
        if len(actions) != 1:
            if actions:
                names = "' and '".join(each.encode_name for each in actions)
                self._wrong((), f"has two actions: '{names}'", "write two rules")
            else:
                near = ", ".join(ACTIONS[:6])
                self._wrong((), "has no action", f"give it one, such as {near}")
            return None
        action = actions[0].encode_name
        if self.phase not in _WHERE.get(action, (self.phase,)):
            where = _WHERE[action][0].value
            self._wrong((action,), f"'{action}' belongs into '{where}'")
            return None
        if action == "use_backend" and not self.owner._is_frontend:
            self._wrong((action,), "'use_backend' belongs to a frontend: this is a backend already")
            return None
        if action != "track":
            for word, given in (("table", self.rule.table), ("as", self.rule.as_)):
                if given is not UNSET:
                    self._wrong((word,), f"'{word}' belongs to 'track'", "remove it")
        cond, flags = self._condition()
        number, args = self._action(action, getattr(self.rule, actions[0].name))
        if not self.is_sound:
            return None
        return RuleRow(number, flags, self.owner.program.arguments(tuple(args)), len(args), cond, 0)

    def _wrong(self, path: Path, message: str, hint: str = "") -> None:
        self.is_sound = False
        self.owner._finding((*self.path, *path), f"{self.label}: {message}", hint)

    def _needs(self, needs: Needs, path: Path) -> None:
        if needs is Needs.RESPONSE and self.phase is Phase.REQUEST:
            self._wrong(
                path,
                "looks at a response, and there is none when requests are judged",
                "write it into 'response_rules'",
            )

    def _condition(self) -> tuple[int, int]:
        if self.rule.if_ is not UNSET and self.rule.unless is not UNSET:
            self._wrong(("unless",), "has 'if' and 'unless'", "write one of them; '!' negates a term")
            return 0, 0
        for word, text, flags in (("if", self.rule.if_, 0), ("unless", self.rule.unless, RULE_UNLESS)):
            if text is UNSET:
                continue
            try:
                condition = parse_condition(text, self.owner._acls, self.owner.names)
            except LanguageError as error:
                self._wrong((word,), f"'{word}': {error}", error.hint)
                return 0, 0
            self._needs(condition.needs, (word,))
            return self.owner.program.condition(condition) + 1, flags
        return 0, 0

    def _format(self, path: Path, text: str) -> Format | None:
        try:
            made = parse_format(text, self.owner.names)
        except LanguageError as error:
            self._wrong(path, f"'{path[0]}': {error}", error.hint)
            return None
        self._needs(made.needs, path)
        return made

    def _text(self, path: Path, text: str, check: Callable[[bytes], str] | None = None) -> Arg:
        """Compile a format; a constant one is checked now, and stands as text."""
        made = self._format(path, text)
        if made is None:
            return Arg(0)
        constant = made.constant
        if constant is None:
            return Arg(ARG_FORMAT, self.owner.program.format(made))
        problem = check(constant) if check is not None else ""
        if problem:
            self._wrong(path, f"'{path[0]}': {problem}")
        return Arg(ARG_TEXT, 0, constant)

    def _name(self, path: Path, text: str) -> Arg:
        if not TOKEN.fullmatch(text) or len(text) > 255:
            self._wrong(path, f"'{path[0]}': '{text}' cannot be the name of a header")
        elif text.lower() in _OWN:
            self._wrong(path, f"'{path[0]}': '{text}' says how messages are framed; lb writes it itself")
        return Arg(ARG_TEXT, 0, text.encode("utf-8", "surrogateescape"))

    def _truth(self, action: str, given: object) -> None:
        if given is not True:
            self._wrong((action,), f"'{action}' takes 'true'", "remove the rule to switch it off")

    def _action(self, action: str, given: object) -> tuple[int, list[Arg]]:
        if action in ("allow", "reject"):
            self._truth(action, given)
            return (ALLOW if action == "allow" else REJECT), []
        if action == "deny":
            if given is False:
                self._truth(action, given)
            status = (403 if self.phase is Phase.REQUEST else 502) if isinstance(given, bool) else given
            assert isinstance(status, int)
            if status < 400:
                self._wrong((action,), f"'deny': {status} is not an error", "write 400 to 599, or 'return'")
            return DENY, [Arg(ARG_INT, status)]
        if action == "tarpit":
            if given is False:
                self._truth(action, given)
            status = 500 if isinstance(given, bool) else given
            assert isinstance(status, int)
            if status < 400:
                self._wrong((action,), f"'tarpit': {status} is not an error", "write 400 to 599")
            return TARPIT, [Arg(ARG_INT, status), Arg(ARG_INT, self.owner._tarpit_ms)]
        if action == "return":
            return RETURN, self._return(Return(status=given) if isinstance(given, int) else given)
        if action == "redirect":
            return REDIRECT, self._redirect(RuleRedirect(location=given) if isinstance(given, str) else given)
        if action in ("set_header", "add_header"):
            assert isinstance(given, tuple)
            name, value = given
            number = SET_HEADER if action == "set_header" else ADD_HEADER
            return number, [self._name((action, 0), name), self._text((action, 1), value, _field_value)]
        if action == "set_status":
            said = SetStatus(status=given) if isinstance(given, int) else given
            assert isinstance(said, SetStatus)
            if said.reason is UNSET:
                return SET_STATUS, [Arg(ARG_INT, said.status), _reason(said.status)]
            return SET_STATUS, [Arg(ARG_INT, said.status), self._text((action, "reason"), said.reason, _field_value)]
        assert isinstance(given, str)
        if action == "del_header":
            return DEL_HEADER, [self._name((action,), given)]
        if action == "track":
            return TRACK, self._track(given)
        if action == "use_backend":
            return USE_BACKEND, [self._backend(given)]
        number, check = {
            "set_method": (SET_METHOD, _method),
            "set_path": (SET_PATH, _path),
            "set_query": (SET_QUERY, _target),
            "set_pathq": (SET_PATHQ, _pathq),
        }[action]
        return number, [self._text((action,), given, check)]

    def _track(self, text: str) -> list[Arg]:
        known = self.owner.names.tables
        which = 0 if self.rule.as_ is UNSET else self.rule.as_
        table = self.rule.table
        if table is UNSET:
            self._wrong(("track",), "'track' needs a table", "write 'table' and the name of one")
            return []
        if table not in known:
            near = nearest(table, known)
            hint = f"did you mean '{near}'?" if near else "define it under 'tables'"
            self._wrong(("table",), f"unknown table '{table}'", hint)
            return []
        try:
            key = parse(text, self.owner.names)
        except LanguageError as error:
            self._wrong(("track",), f"'track': {error}", error.hint)
            return []
        self._needs(key.needs, ("track",))
        return [
            Arg(ARG_INT, which),
            Arg(ARG_EXPR, self.owner.program.expression(key)),
            Arg(ARG_TABLE, known[table]),
        ]

    def _backend(self, name: str) -> Arg:
        known = self.owner.names.backends
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean '{near}'?" if near else "define it under 'backends'"
            self._wrong(("use_backend",), f"unknown backend '{name}'", hint)
            return Arg(0)
        return Arg(ARG_BACKEND, known[name])

    def _return(self, given: object) -> list[Arg]:
        assert isinstance(given, Return)
        body = "" if given.body is UNSET else given.body
        content_type = given.content_type
        if content_type is UNSET:
            content_type = "text/plain; charset=utf-8" if body else ""
        if body and given.status in (204, 205, 304):
            self._wrong(("return", "body"), f"'return': an answer with status {given.status} has no body")
        args = [
            Arg(ARG_INT, given.status),
            self._text(("return", "content_type"), content_type, _field_value),
            self._text(("return", "body"), body, _body),
        ]
        for name, value in given.headers.items():
            args.append(self._name(("return", "headers", name), name))
            args.append(self._text(("return", "headers", name), value, _field_value))
        return args

    def _redirect(self, given: object) -> list[Arg]:
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
            self._wrong(("redirect",), "'redirect' needs one of 'location', 'prefix' and 'scheme'")
            return []
        if given.code not in _CODES:
            self._wrong(
                ("redirect", "code"),
                f"'redirect': {given.code} is no code of a redirect",
                "write 301, 302, 303, 307 or 308",
            )
        number, word, text = ways[0]
        if word == "location" and text.isalpha():
            self._wrong(
                ("redirect",), f"'redirect': '{text}' is no address", f"write '{{scheme: {text}}}' or '/{text}'"
            )
        return [
            Arg(ARG_INT, given.code),
            Arg(ARG_INT, number),
            self._text(("redirect", word), text, _scheme if word == "scheme" else _target),
            Arg(ARG_INT, int(given.drop_query)),
        ]


def _reason(status: int) -> Arg:
    return Arg(ARG_TEXT, 0, REASONS.get(status, "Unknown").encode())


def _field_value(text: bytes) -> str:
    if any((each < 32 and each != 9) or each == 127 for each in text):
        return "holds a control character, which no header may have"
    return "is longer than 1,000 bytes" if len(text) > 1000 else ""


def _body(text: bytes) -> str:
    return f"is {len(text)} bytes; at most {BODY_MAX} are possible" if len(text) > BODY_MAX else ""


def _target(text: bytes) -> str:
    if any(each <= 32 or each >= 127 for each in text):
        return "holds a blank, control or non-ASCII character; write it percent-encoded"
    return "is longer than 1,000 bytes" if len(text) > 1000 else ""


def _scheme(text: bytes) -> str:
    return "" if text.isalpha() else "is not a scheme, such as 'https'"


def _path(text: bytes) -> str:
    if not text.startswith(b"/"):
        return "does not begin with '/'"
    return "holds a '?'; write 'set_pathq'" if b"?" in text else _target(text)


def _pathq(text: bytes) -> str:
    return _target(text) if text.startswith(b"/") else "does not begin with '/'"


def _method(text: bytes) -> str:
    if not TOKEN.fullmatch(text.decode("utf-8", "replace")) or len(text) > 32:
        return "is not a method"
    return f"{text.decode()} changes how answers are framed" if text in (b"HEAD", b"CONNECT") else ""
