"""One rule being compiled: what the functions of all actions use."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple, Protocol

from msgspec import UNSET

from lb.config.actions.number import Action
from lb.config.captures import Slots
from lb.config.diagnostic import Path
from lb.language.catalog import CASTS, Needs, Type
from lb.language.condition import Test, parse_condition
from lb.language.error import LanguageError
from lb.language.expression import ARG_EXPR, ARG_FORMAT, ARG_TEXT, TOKEN, Arg, Names, parse
from lb.language.format import Format, parse_format
from lb.language.program import Program
from lb.model.answer import Page
from lb.model.rule import Rule

RULE_UNLESS = 1

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


class Phase(Enum):
    """When rules are looked at: the keyword of their list."""

    CONNECTION = "connection_rules"
    SESSION = "session_rules"
    CONTENT = "content_rules"
    REQUEST = "rules"
    RESPONSE = "response_rules"
    RESPONSE_CONTENT = "response_content_rules"
    AFTER_RESPONSE = "after_response_rules"


_BEFORE_BYTES = (Phase.CONNECTION, Phase.SESSION)


class Made(NamedTuple):
    """What an action was compiled to."""

    number: Action
    args: list[Arg]


class Scope(NamedTuple):
    """What the rules of a proxy have in common."""

    names: Names
    program: Program
    acls: Mapping[str, tuple[Test, ...]]
    tarpit_ms: int
    is_frontend: bool
    name: str  # of the frontend or backend
    pages: Mapping[str, Mapping[str, "str | Page"]]  # the groups of `http_errors`
    slots: Slots
    mode: str = "http"


class Report(Protocol):
    """Takes a mistake: where below the proxy, what, and a hint."""

    def __call__(self, path: Path, message: str, hint: str) -> None: ...


class RuleContext:
    """One rule, and where it stands. A mistake is reported and makes the rule unsound; compiling goes on to find the next."""

    def __init__(self, scope: Scope, report: Report, phase: Phase, index: int, rule: Rule) -> None:
        self.scope = scope
        self.phase = phase
        self.rule = rule
        self.path: Path = (phase.value, index)
        self.label = f"{phase.value}, rule {index + 1}"
        self.is_sound = True
        self._report = report

    def quiet(self) -> "RuleContext":
        """Return a context of the same place that reports nothing: for what is reported where it stands."""
        return RuleContext(self.scope, lambda path, message, hint: None, self.phase, 0, self.rule)

    def wrong(self, path: Path, message: str, hint: str = "") -> None:
        """Report a mistake at a path below the rule."""
        self.is_sound = False
        self._report((*self.path, *path), f"{self.label}: {message}", hint)

    def needs(self, needs: Needs, path: Path) -> None:
        """Refuse what looks at something that is not there in this phase."""
        phase = self.phase
        if needs is Needs.RESPONSE and phase not in (Phase.RESPONSE, Phase.AFTER_RESPONSE):
            self.wrong(
                path,
                "looks at a response, and there is none when requests are judged",
                "write it into 'response_rules'",
            )
        elif needs is Needs.REQUEST and (phase in _BEFORE_BYTES or self.scope.mode != "http"):
            if self.scope.mode != "http":
                self.wrong(
                    path, "looks at a request, and there are none in mode tcp", "req.payload and req.ssl_sni see bytes"
                )
            else:
                self.wrong(path, "looks at a request, and none is read yet", "write it into 'rules'")
        elif needs in (Needs.BYTES, Needs.PAYLOAD, Needs.ANSWER):
            self._bytes(needs, path)

    def _bytes(self, needs: Needs, path: Path) -> None:
        if self.scope.mode != "http" and self.phase is Phase.RESPONSE_CONTENT:
            if needs is Needs.PAYLOAD:
                self.wrong(
                    path, "looks at bytes of the client, which have gone on by now", "write it into 'content_rules'"
                )
        elif self.scope.mode == "http":
            self.wrong(path, "looks at bytes of the connection, and mode http has messages", "write 'mode: tcp'")
        elif needs is Needs.ANSWER:
            self.wrong(path, "looks at bytes of the server", "write it into 'response_content_rules' of a backend")
        elif self.phase in _BEFORE_BYTES:
            self.wrong(path, "looks at bytes of the connection, and none is read yet", "write it into 'content_rules'")

    def condition(self) -> tuple[int, int]:
        """Compile `if` or `unless`: the number of the condition + 1 (0 = always), and flags of the rule."""
        if self.rule.if_ is not UNSET and self.rule.unless is not UNSET:
            self.wrong(("unless",), "has 'if' and 'unless'", "write one of them; '!' negates a term")
            return 0, 0
        for word, text, flags in (("if", self.rule.if_, 0), ("unless", self.rule.unless, RULE_UNLESS)):
            if text is UNSET:
                continue
            try:
                condition = parse_condition(text, self.scope.acls, self.scope.names)
            except LanguageError as error:
                self.wrong((word,), f"'{word}': {error}", error.hint)
                return 0, 0
            self.needs(condition.needs, (word,))
            return self.scope.program.condition(condition) + 1, flags
        return 0, 0

    def format(self, path: Path, text: str) -> Format | None:
        """Parse a format; None after reporting what is wrong."""
        try:
            made = parse_format(text, self.scope.names)
        except LanguageError as error:
            self.wrong(path, f"'{path[0]}': {error}", error.hint)
            return None
        self.needs(made.needs, path)
        return made

    def text(self, path: Path, text: str, check: Callable[[bytes], str] | None = None) -> Arg:
        """Compile a format; a constant one is checked now, and stands as text."""
        made = self.format(path, text)
        if made is None:
            return Arg(0)
        constant = made.constant
        if constant is None:
            return Arg(ARG_FORMAT, self.scope.program.format(made))
        problem = check(constant) if check is not None else ""
        if problem:
            self.wrong(path, f"'{path[0]}': {problem}")
        return Arg(ARG_TEXT, 0, constant)

    def expression(self, path: Path, text: str, wanted: Type = Type.ANY) -> Arg:
        """Compile an expression; what it gives must be of the wanted type or can be made so."""
        try:
            made = parse(text, self.scope.names)
        except LanguageError as error:
            self.wrong(path, f"'{path[0]}': {error}", error.hint)
            return Arg(0)
        self.needs(made.needs, path)
        if wanted not in CASTS[made.type]:
            self.wrong(path, f"'{path[0]}': '{text}' gives {made.type}, and {wanted} is needed")
        return Arg(ARG_EXPR, self.scope.program.expression(made))

    def name(self, path: Path, text: str) -> Arg:
        """Check the name of a field that may be changed."""
        if not TOKEN.fullmatch(text) or len(text) > 255:
            self.wrong(path, f"'{path[0]}': '{text}' cannot be the name of a header")
        elif text.lower() in _OWN:
            self.wrong(path, f"'{path[0]}': '{text}' says how messages are framed; lb writes it itself")
        return Arg(ARG_TEXT, 0, text.encode("utf-8", "surrogateescape"))

    def truth(self, action: str, given: object) -> None:
        """Refuse anything but `true`."""
        if given is not True:
            self.wrong((action,), f"'{action}' takes 'true'", "remove the rule to switch it off")


class PageContext(RuleContext):
    """An error page: it looks at what there is when something has failed, which may be nothing."""

    def __init__(self, scope: Scope, report: Report, keyword: str, code: str) -> None:
        super().__init__(scope, report, Phase.REQUEST, 0, Rule())
        self.path = (keyword, code) if keyword else (code,)
        self.label = f"error page for {code}"
