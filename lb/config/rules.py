"""From the rules of the model to rows of the program: every text compiled, every mistake a finding."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import fields

from lb.config.actions import ACTIONS, COMPANIONS, content
from lb.config.actions.content import PageGiven
from lb.config.actions.context import PageContext, Phase, RuleContext, Scope
from lb.config.actions.number import Action
from lb.config.captures import Slots, arguments, declared
from lb.config.diagnostic import Finding, Path
from lb.language.catalog import FETCHES
from lb.language.condition import Test, parse_test
from lb.language.error import LanguageError
from lb.language.expression import ARG_EXPR, Arg, Names, UserNames, parse
from lb.language.program import Program, RuleRow
from lb.language.reference import Files
from lb.model import Backend, Configuration, Frontend
from lb.model.address import AddressError, parse_server
from lb.model.capture import CaptureSlot
from lb.model.naming import server_name, server_of
from lb.model.rule import Rule
from lb.model.users import groups_of

_CODE = re.compile("200|[45][0-9][0-9]")


class Sets(NamedTuple):
    """Numbers of rulesets + 1, 0 = none: the two of a plan_frontend_t or plan_backend_t, and its phases_t."""

    request: int = 0
    response: int = 0
    errors: int = 0
    connection: int = 0
    session: int = 0
    content: int = 0
    answer: int = 0
    after: int = 0
    inspect_ms: int = 0
    answer_inspect_ms: int = 0


_PHASES = {
    (True, "http"): (
        Phase.CONNECTION, Phase.SESSION, Phase.CONTENT, Phase.REQUEST, Phase.RESPONSE, Phase.AFTER_RESPONSE,
    ),
    (True, "tcp"): (Phase.CONNECTION, Phase.SESSION, Phase.CONTENT, Phase.REQUEST),
    (False, "http"): (Phase.CONTENT, Phase.REQUEST, Phase.RESPONSE, Phase.AFTER_RESPONSE),
    (False, "tcp"): (Phase.CONTENT, Phase.RESPONSE_CONTENT),
}  # fmt: skip
"""The phases of frontends (true) and backends, by mode."""
_SETS = {
    Phase.CONNECTION: "connection",
    Phase.SESSION: "session",
    Phase.CONTENT: "content",
    Phase.REQUEST: "request",
    Phase.RESPONSE: "response",
    Phase.RESPONSE_CONTENT: "answer",
    Phase.AFTER_RESPONSE: "after",
}


def rules_of(proxy: Frontend | Backend, phase: Phase) -> tuple[Rule, ...]:
    """Return the rules of a phase; none where a proxy of this kind has no such phase."""
    return getattr(proxy, phase.value, ())


def phases_of(proxy: Frontend | Backend, mode: str) -> tuple[Phase, ...]:
    """Return the phases that a proxy of this mode has."""
    return _PHASES.get((isinstance(proxy, Frontend), mode), ())


def names_of(configuration: Configuration, folder: str | None = None, file: str = "") -> Names:
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
        file=file,
        userlists={
            name: UserNames(index, groups_of(each))
            for index, (name, each) in enumerate(configuration.userlists.items())
        },
        files=Files(folder),
    )


def judges_paths(proxy: Frontend | Backend) -> bool:
    """Return whether a condition of a frontend or backend looks at paths."""
    rules = [rule for phase in Phase for rule in rules_of(proxy, phase)]
    texts = [each for rule in rules for each in (rule.if_, rule.unless) if each is not UNSET]
    for given in proxy.acls.values():
        texts += [given] if isinstance(given, str) else given
    return any(re.search(r"\b(path|url|base)", text) for text in texts)


def check_pages(compiler: "RuleCompiler", configuration: Configuration) -> None:
    """Report what is wrong with the error pages that proxies take over, and with the names of their groups."""
    for name, pages in configuration.http_errors.items():
        compiler.check_pages(("http_errors", name), f"http_errors '{name}'", "", pages)
    compiler.check_pages(("defaults",), "defaults", "errors", configuration.defaults.errors)


TLV_FETCHES = frozenset(FETCHES[name].code for name in ("fc_pp_authority", "fc_pp_unique_id", "fc_pp_tlv"))


def looks_at_tlvs(ops: Iterable[tuple[int, int, int, int]]) -> bool:
    """Return whether rules look at TLVs of PROXY headers, which are kept only then."""
    return any(code in TLV_FETCHES for code, *_ in ops)


class RuleCompiler:
    """Compiles the rules of frontends and backends into one program."""

    def __init__(
        self,
        names: Names,
        report: Callable[[Finding], None],
        groups: Mapping[str, Mapping[str, PageGiven]],
        line_of: Callable[[Path], int] = lambda _: 0,
    ) -> None:
        """Begin; `line_of` says in which line of the file something stands, 0 = nobody asks."""
        self.names = names
        self.groups = groups
        self._line_of = line_of
        self._checked: list[PageGiven] = []
        self.program = Program()
        self.scope: tuple[Names, Mapping[str, tuple[Test, ...]]] = names, {}  # of the proxy that was compiled last
        self._report = report

    def compile(
        self, path: Path, subject: str, proxy: Frontend | Backend, *, mode: str, tarpit_ms: int, slots: Slots
    ) -> Sets:
        """Compile what a proxy says; mistakes are reported."""
        self._path, self._subject = path, subject
        compiled: dict[str, tuple[Test, ...]] = {}
        self._names = replace(self.names, acls=compiled)
        self.scope = self._names, compiled
        for name, given in proxy.acls.items():
            compiled[name] = self._acl(name, given)  # which may ask those before it
        is_frontend = isinstance(proxy, Frontend)
        scope = Scope(
            self._names, self.program, compiled, tarpit_ms, is_frontend, str(path[1]), self.groups, slots, mode
        )
        sets = {
            _SETS[phase]: self.program.ruleset(self._rules(scope, phase, rules_of(proxy, phase)))
            for phase in phases_of(proxy, mode)
        }
        if mode == "http":
            sets["errors"] = self.program.ruleset(self._pages(scope, "errors", proxy.errors))
        return Sets(**sets)

    def check_pages(self, path: Path, subject: str, keyword: str, pages: Mapping[str, PageGiven]) -> None:
        """Report what is wrong with error pages that proxies take over."""
        self._path, self._subject = path, subject
        self._pages(Scope(self.names, self.program, {}, 0, True, "", self.groups, Slots([], [])), keyword, pages)
        self._checked += pages.values()

    def _pages(self, scope: Scope, keyword: str, pages: Mapping[str, PageGiven]) -> list[RuleRow]:
        rows = []
        for code, given in pages.items():
            report = self._unsaid if given in self._checked else self._finding
            context = PageContext(scope, report, keyword, code)
            if not _CODE.fullmatch(code):
                context.wrong(
                    (), f"'{code}' is no status of an error", "write 400 to 599, or 200 for that of a monitor"
                )
                continue
            number, args = content.page(context, code, given)
            if context.is_sound:
                rows.append(RuleRow(number, 0, self.program.arguments(tuple(args)), len(args), 0, 0))
        return rows

    def _unsaid(self, path: Path, message: str, hint: str) -> None:
        """Say nothing: it was reported where the page stands."""

    def captures(self, frontend: Frontend) -> tuple[int, int]:
        """Return the sets of rules that capture the declared headers: their numbers + 1, 0 = none."""
        made = [
            self.program.ruleset(
                [self._captured(index, each, fetch) for index, each in enumerate(given) if each.header is not UNSET]
            )
            for given, fetch in zip(declared(frontend), ("req.fhdr", "res.fhdr"), strict=True)
        ]
        return made[0], made[1]

    def _captured(self, slot: int, each: CaptureSlot, fetch: str) -> RuleRow:
        number = self.program.expression(parse(f"{fetch}({each.header})", self.names))
        args = tuple(arguments(slot, each.len, Arg(ARG_EXPR, number), response=fetch == "res.fhdr"))
        return RuleRow(Action.CAPTURE, 0, self.program.arguments(args), len(args), 0, 0)

    def _finding(self, path: Path, message: str, hint: str) -> None:
        self._report(Finding((*self._path, *path), self._subject, message, hint))

    def _found(self, proxy: Path, subject: str, path: Path, message: str, hint: str) -> None:
        self._report(Finding((*proxy, *path), subject, message, hint))

    def _acl(self, name: str, given: object) -> tuple[Test, ...]:
        tests: list[Test] = []
        many = not isinstance(given, str)
        assert isinstance(given, str | tuple)
        for index, text in enumerate(given if isinstance(given, tuple) else (given,)):
            try:
                tests.append(parse_test(str(text), self._names))
            except LanguageError as error:
                self._finding(("acls", name, *((index,) if many else ())), f"acl '{name}': {error}", error.hint)
        if many and not given:
            self._finding(("acls", name), f"acl '{name}' has no definition", "write an expression and patterns")
        return tuple(tests)

    def _rules(self, scope: Scope, phase: Phase, rules: Iterable[Rule]) -> list[RuleRow]:
        report = partial(self._found, self._path, self._subject)  # also later, when all is read
        rows = [_row(RuleContext(scope, report, phase, index, rule)) for index, rule in enumerate(rules)]
        return [
            row._replace(line=self._line_of((*self._path, phase.value, index)))
            for index, row in enumerate(rows)
            if row is not None
        ]


def _home(phases: tuple[Phase, ...], scope: Scope) -> Phase:
    """Return the first phase that an action may stand in and that such a proxy has."""
    have = _PHASES[scope.is_frontend, scope.mode]
    return next((each for each in phases if each in have), phases[0])


def _row(rule: RuleContext) -> RuleRow | None:
    """Return the rule's row; None after reporting what is wrong."""
    said = {each.encode_name: each.name for each in fields(Rule) if getattr(rule.rule, each.name) is not UNSET}
    actions = [each for each in said if each in ACTIONS]
    if len(actions) != 1:
        if actions:
            names = "' and '".join(actions)
            rule.wrong((), f"has two actions: '{names}'", "write two rules")
        else:
            near = ", ".join(list(ACTIONS)[:6])
            rule.wrong((), "has no action", f"give it one, such as {near}")
        return None
    (action,) = actions
    kind = ACTIONS[action]
    if rule.phase not in kind.phases:
        rule.wrong((action,), f"'{action}' belongs into '{_home(kind.phases, rule.scope).value}'")
        return None
    if rule.scope.mode == "tcp" and rule.phase is Phase.REQUEST and action != "use_backend":
        rule.wrong(
            (action,), "in mode tcp 'rules' choose backends and do nothing else", "write it into 'content_rules'"
        )
        return None
    for word in said:
        owners = COMPANIONS.get(word, (action,))
        if action not in owners:
            rule.wrong((word,), f"'{word}' belongs to '{owners[0]}'", "remove it")
    cond, flags = rule.condition()
    number, args = kind.compile(rule, getattr(rule.rule, said[action]))
    if not rule.is_sound:
        return None
    return RuleRow(number, flags, rule.scope.program.arguments(tuple(args)), len(args), cond, 0)
