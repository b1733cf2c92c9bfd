"""What is wrong with the meaning of routes: patterns, conditions, targets, and what they do to each other."""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import Protocol, TypeVar

from msgspec import UNSET, UnsetType

from lb.config.diagnostic import Path, line_text
from lb.model import Frontend, Mirror, Redirect, Reply, Route, Sticky
from lb.model.hashkey import TOKEN, HashKeyError, parse_key
from lb.model.route import (
    METHODS,
    PARAMETER,
    Pattern,
    RouteError,
    check_absolute,
    check_url,
    parse_host,
    parse_location,
    parse_method,
    parse_path,
)
from lb.model.routing import AGE_MAX_MS, BODY_MAX, Target, Wanted
from lb.model.units import UnitError, duration_ms

Part = TypeVar("Part")

# Limits of the data plane (policy/plan.pxd, policy/route.pxd): what a request can cost does not grow with the routes.
SHARES_MAX = 64
CONDITIONS_MAX = 16
VALUES_MAX = 64
CANDIDATES_MAX = 64
EXTRA_METHODS_MAX = 22
OVERLAP_MAX = 16
HEADERS_MAX = 32
NAME_BYTES = 255
VALUE_BYTES = 4096

# The codec writes these itself, or the message could be read in two ways.
_OWN_HEADERS = {
    "connection",
    "content-length",
    "content-type",
    "date",
    "host",
    "keep-alive",
    "location",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_FIELD_VALUE = re.compile(r"[\t !-~\x80-\U0010ffff]*")
_COOKIE_PART = re.compile(r"[!-:<-~]*")

# (host, path, is exact, methods, conditions): two routes of one key could never be told apart.
Key = tuple[str, str, bool, frozenset[str], frozenset[tuple[str, str, object]]]


class Report(Protocol):
    """How a finding is told."""

    def __call__(self, path: Path, subject: str, message: str, hint: str = "", at_key: bool = False) -> None:
        """Take one finding."""


def values_of(given: str | Iterable[str] | UnsetType) -> tuple[str, ...]:
    """Return a value or a list of values as a list."""
    if given is UNSET:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def sticky_of(frontend: Frontend, route: Route | None) -> Sticky | UnsetType:
    """Return what keeps clients on their shares: the route's own, else the frontend's; none without shares."""
    target = frontend.default_backend if route is None else route.to
    if target is UNSET or isinstance(target, str):
        return UNSET
    if route is not None and route.sticky is not UNSET:
        return route.sticky
    return frontend.sticky


def mirror_of(frontend: Frontend, route: Route | None) -> Mirror | UnsetType:
    """Return what requests are copied for: the route's own, else the frontend's; answers are not copied."""
    if route is None or (route.to is not UNSET and route.mirror is UNSET):
        return frontend.mirror
    return route.mirror


def mirrored_to(frontend: Frontend) -> tuple[str, ...]:
    """Return the backends that get copies of its requests, in the order of the file."""
    found = [mirror_of(frontend, each) for each in (*frontend.routes, None)]
    return tuple(dict.fromkeys(each.to for each in found if each is not UNSET))


def ruled_to(frontend: Frontend) -> tuple[str, ...]:
    """Return the backends that rules of a frontend choose, in the order of the file."""
    rules = (*frontend.content_rules, *frontend.rules)
    return tuple(dict.fromkeys(rule.use_backend for rule in rules if rule.use_backend is not UNSET))


class RouteReview:
    """A look at the routes of one frontend."""

    def __init__(self, report: Report, use: Callable[[str, Path], None], path: Path, frontend: Frontend) -> None:
        self.report = report
        self.use = use
        self.frontend = frontend
        self.subject = f"frontend '{path[1]}'"
        self.seen: dict[Key, int] = {}
        self.alike: dict[tuple[str, str, bool], int] = {}
        self.crowded: set[int] = set()
        self.parameterised: set[str] = set()
        self.methods: set[str] = set()
        self.names: dict[str, int] = {}
        for index, route in enumerate(frontend.routes):
            self._route((*path, "routes", index), index, route)
        if frontend.default_backend is not UNSET:
            self._target((*path, "default_backend"), "default_backend", frontend.default_backend)
        self._sticky_use(path)
        self._overlap(path)
        extra = len(self.methods - METHODS.keys())
        if extra > EXTRA_METHODS_MAX:
            self._say(
                (*path, "routes"),
                f"its routes name {extra} methods that HTTP does not know; at most {EXTRA_METHODS_MAX} are possible",
            )

    def _say(self, path: Path, message: str, hint: str = "", at_key: bool = False) -> None:
        self.report(path, self.subject, message, hint, at_key)

    # One route

    def _route(self, at: Path, index: int, route: Route) -> None:
        patterns = self._match((*at, "match"), index, route)
        if route.name is not UNSET:
            if route.name in self.names:
                first = self.names[route.name] + 1
                self._say(
                    (*at, "name"),
                    f"route {index + 1} has the name of route {first}, '{route.name}'",
                    "give each its own",
                )
            self.names.setdefault(route.name, index)
        given = [word for word in ("to", "redirect", "reply") if getattr(route, word) is not UNSET]
        if len(given) != 1:
            if given:
                self._say((*at, given[1]), f"'routes' has both '{given[0]}' and '{given[1]}'", "keep one", at_key=True)
            else:
                self._say(at, "'routes.to' is missing", "name the backend, or write 'redirect' or 'reply'")
        if route.to is not UNSET:
            self._target((*at, "to"), "routes.to", route.to)
        else:
            self._without_backend(at, route)
        if route.redirect is not UNSET:
            self._redirect((*at, "redirect"), route.redirect, patterns)
        if route.reply is not UNSET:
            self._reply((*at, "reply"), route.reply)

    def _without_backend(self, at: Path, route: Route) -> None:
        timeouts = route.timeouts
        words = ("connect", "server", "tunnel")
        for word in [each for each in words if getattr(timeouts, each) is not UNSET]:
            self._say((*at, "timeouts", word), f"'routes.timeouts.{word}' needs a backend", "remove it", at_key=True)
        if route.retries is not UNSET:
            self._say((*at, "retries"), "'routes.retries' needs a backend", "remove it", at_key=True)
        if route.mirror is not UNSET:
            self._say((*at, "mirror"), "'routes.mirror' needs a backend", "remove it", at_key=True)

    # What a request must look like

    def _match(self, at: Path, index: int, route: Route) -> list[Pattern]:
        match = route.match
        hosts = self._parsed((*at, "host"), "host", match.host, parse_host)
        patterns = self._parsed((*at, "path"), "path", match.path, parse_path)
        methods = self._parsed((*at, "method"), "method", match.method, parse_method)
        conditions = self._conditions((*at, "headers"), "header", match.headers)
        conditions += self._conditions((*at, "query"), "parameter", match.query)
        if match.host is UNSET and match.path is UNSET and not methods and not conditions:
            if match.method is UNSET and not match.headers and not match.query:
                self._say(
                    at, "'routes.match' is empty", "give it 'host', 'path' or another word, or write 'default_backend'"
                )
            return patterns
        if len(conditions) > CONDITIONS_MAX:
            self._say(at, f"route {index + 1} has {len(conditions)} conditions; at most {CONDITIONS_MAX} are possible")
        self.methods.update(methods)
        # Of what is wrong itself nothing more is said.
        hosts = [""] if match.host is UNSET else hosts
        paths = [Pattern("/", False, {})] if match.path is UNSET else patterns
        self._place(at, index, hosts, paths, methods, conditions)
        return patterns

    def _place(
        self,
        at: Path,
        index: int,
        hosts: list[str],
        patterns: list[Pattern],
        methods: list[str],
        conditions: list[tuple[str, str, object]],
    ) -> None:
        told = frozenset(conditions), frozenset(methods)
        doubles: set[int] = set()
        for host in hosts:
            for pattern in patterns:
                key = (host, pattern.path, pattern.is_exact, told[1], told[0])
                first = self.seen.setdefault(key, index)
                if first != index:
                    doubles.add(first)
                place = key[:3]
                self.alike[place] = self.alike.get(place, 0) + 1
                if self.alike[place] == CANDIDATES_MAX + 1:
                    self._say(
                        at,
                        f"route {index + 1} is the {CANDIDATES_MAX + 1}th of one host and path; at most {CANDIDATES_MAX} "
                        "are possible",
                        "tell them apart by path",
                    )
                if pattern.parameters:
                    self.parameterised.add(host)
        if doubles:
            self._say(at[:-1], f"route {index + 1} matches the same as route {min(doubles) + 1}", "keep one")

    def _parsed(
        self, at: Path, noun: str, given: str | tuple[str, ...] | UnsetType, parse: Callable[[str], Part]
    ) -> list[Part]:
        made: list[Part] = []
        if given == ():
            self._say(at, f"'routes.match.{noun}' is empty", "name at least one, or remove the line")
        for index, text in enumerate(values_of(given)):
            try:
                made.append(parse(text))
            except RouteError as error:
                place = at if isinstance(given, str) else (*at, index)
                self._say(place, f"{noun} '{line_text(text)}' {error}")
        return made

    def _conditions(self, at: Path, noun: str, wanted: Mapping[str, Wanted]) -> list[tuple[str, str, object]]:
        made: list[tuple[str, str, object]] = []
        is_header = noun == "header"
        for name, value in wanted.items():
            if not name.isascii() or len(name) > NAME_BYTES or (is_header and TOKEN.fullmatch(name) is None):
                self._say((*at, name), f"'{line_text(name)}' cannot be the name of a {noun}", at_key=True)
                continue
            if not is_header and re.search(r"[^!-~]|[&=#]", name):
                self._say((*at, name), f"parameter '{line_text(name)}' holds a character that no name has", at_key=True)
                continue
            if is_header and name.lower() == "host":
                self._say((*at, name), "header 'host' is compared by 'match.host'", "write 'host: ...'", at_key=True)
                continue
            if isinstance(value, bool):
                made.append((noun, name.lower() if is_header else name, value))
                continue
            values = values_of(value)
            if not values or len(values) > VALUES_MAX:
                self._say(
                    (*at, name),
                    f"{noun} '{name}' has {len(values)} values; 1 to {VALUES_MAX} are possible",
                    at_key=True,
                )
            for index, text in enumerate(values):
                if self._bad_value(text, is_header):
                    place = (*at, name) if isinstance(value, str) else (*at, name, index)
                    self._say(place, f"{noun} '{name}' can never be '{line_text(text)}'")
            made.append((noun, name.lower() if is_header else name, frozenset(values)))
        return made

    def _bad_value(self, text: str, is_header: bool) -> bool:
        if len(text.encode()) > VALUE_BYTES:
            return True
        if is_header:
            return text != text.strip(" \t") or _FIELD_VALUE.fullmatch(text) is None
        return re.search(r"[^!-~]|[&#]", text) is not None

    # Where it goes

    def _target(self, at: Path, label: str, target: Target) -> None:
        if isinstance(target, str):
            self.use(target, at)
            return
        for name in target:
            self.use(name, (*at, name))
        if not target or len(target) > SHARES_MAX:
            self._say(at, f"'{label}' has {len(target)} shares; 1 to {SHARES_MAX} are possible")
        elif not any(target.values()):
            self._say(at, f"every share of '{label}' is 0, so nothing would get traffic", "give one a share above 0")

    def _sticky_use(self, path: Path) -> None:
        frontend = self.frontend
        splits = [index for index, each in enumerate(frontend.routes) if isinstance(each.to, dict)]
        if frontend.sticky is not UNSET:
            if not splits and not isinstance(frontend.default_backend, dict):
                self._say((*path, "sticky"), "'sticky' has no meaning without shares", "remove it", at_key=True)
            self._sticky((*path, "sticky"), frontend.sticky)
        for index, route in enumerate(frontend.routes):
            if route.sticky is UNSET:
                continue
            at = (*path, "routes", index, "sticky")
            if index not in splits:
                self._say(at, "'routes.sticky' has no meaning without shares", "remove it", at_key=True)
            self._sticky(at, route.sticky)

    def _sticky(self, at: Path, sticky: Sticky) -> None:
        given = [word for word in ("cookie", "by") if getattr(sticky, word) is not UNSET]
        if len(given) != 1:
            message = "'sticky' has both 'cookie' and 'by'" if given else "'sticky' names neither 'cookie' nor 'by'"
            self._say(at, message, "give one of them")
        if sticky.by is not UNSET:
            self._sticky_key((*at, "by"), sticky.by)
        if self.frontend.mode == "tcp" and sticky.by not in (UNSET, "source"):
            self._say((*at, "by"), f"'sticky.by: {line_text(str(sticky.by))}' needs mode http", "write 'by: source'")
        if self.frontend.mode == "tcp" and sticky.cookie is not UNSET:
            self._say((*at, "cookie"), "'sticky.cookie' needs mode http", "write 'by: source'", at_key=True)
        attributes = ("path", "domain", "max_age", "http_only", "secure", "same_site")
        for word in attributes:
            if getattr(sticky, word) is not UNSET and sticky.cookie is UNSET:
                self._say((*at, word), f"'sticky.{word}' is an attribute of 'cookie'", "remove it", at_key=True)
        if sticky.cookie is not UNSET and (TOKEN.fullmatch(sticky.cookie) is None or len(sticky.cookie) > 64):
            self._say((*at, "cookie"), f"'{line_text(sticky.cookie)}' cannot be the name of a cookie")
        for word in ("path", "domain"):
            text: str | UnsetType = getattr(sticky, word)
            if text is not UNSET and (_COOKIE_PART.fullmatch(text) is None or len(text) > 255):
                self._say((*at, word), f"'sticky.{word}': '{line_text(text)}' holds a character that no attribute has")
        if sticky.path is not UNSET and not sticky.path.startswith("/"):
            self._say((*at, "path"), f"'sticky.path': '{line_text(sticky.path)}' does not begin with '/'")
        if sticky.max_age is not UNSET:
            try:
                ms = duration_ms(sticky.max_age, AGE_MAX_MS)
                if not ms or ms % 1000:
                    self._say((*at, "max_age"), f"'sticky.max_age' is {sticky.max_age}; whole seconds are possible")
            except UnitError as error:
                self._say((*at, "max_age"), f"'sticky.max_age': '{line_text(sticky.max_age)}' {error}")
        if sticky.same_site == "none" and sticky.secure is not True:
            self._say(
                (*at, "same_site"),
                "'sticky.same_site: none' needs 'secure: true'",
                "browsers drop such a cookie otherwise",
            )

    def _sticky_key(self, at: Path, text: str) -> None:
        if text == "source":
            return
        try:
            parse_key(text)
        except HashKeyError as error:
            self._say(at, f"'sticky.by': '{line_text(text)}' {error}", f"{error.hint}, or 'source'")

    def _redirect(self, at: Path, redirect: Redirect, patterns: list[Pattern]) -> None:
        given = [word for word in ("location", "prefix", "scheme") if getattr(redirect, word) is not UNSET]
        if len(given) != 1:
            said = " and ".join(f"'{word}'" for word in given) or "neither 'location' nor 'prefix' nor 'scheme'"
            self._say(at, f"'routes.redirect' has {said}", "give one of 'location', 'prefix', 'scheme'")
        if redirect.location is not UNSET:
            shared = dict(patterns[0].parameters.items()) if patterns else {}
            for pattern in patterns[1:]:
                shared = dict(shared.items() & pattern.parameters.items())
            try:
                parse_location(redirect.location, shared)
            except RouteError as error:
                self._say((*at, "location"), f"location '{line_text(redirect.location)}' {error}")
        if redirect.prefix is not UNSET:
            try:
                self._prefix(redirect.prefix)
            except RouteError as error:
                self._say((*at, "prefix"), f"prefix '{line_text(redirect.prefix)}' {error}")
        if redirect.drop_query and redirect.location is not UNSET:
            message = "'routes.redirect.drop_query' has no meaning for 'location'"
            self._say((*at, "drop_query"), message, "it sends no query but its own", at_key=True)

    def _prefix(self, text: str) -> None:
        check_url(text)
        if "?" in text or "#" in text:
            raise RouteError("holds a query or fragment, and the request's path would stand behind it")
        if text.endswith("/"):
            raise RouteError("ends in '/', and the request's path begins with one; remove it")
        if not text.startswith("/"):
            check_absolute(text, False)
        elif text.startswith("//"):
            raise RouteError("begins with '//', which names another host; write its scheme too")

    def _reply(self, at: Path, reply: Reply) -> None:
        if reply.body is not UNSET and reply.file is not UNSET:
            self._say((*at, "file"), "'routes.reply' has both 'body' and 'file'", "keep one", at_key=True)
        has_body = reply.body is not UNSET or reply.file is not UNSET
        if has_body and reply.status in (204, 205, 304):
            self._say((*at, "status"), f"a reply of status {reply.status} has no body", "remove the body")
        if reply.body is not UNSET and len(reply.body.encode()) > BODY_MAX:
            self._say(
                (*at, "body"),
                f"'routes.reply.body' is {len(reply.body.encode())} bytes; at most {BODY_MAX} are possible",
            )
        if reply.content_type is not UNSET:
            if not has_body:
                message = "'routes.reply.content_type' has no meaning without a body"
                self._say((*at, "content_type"), message, "remove it", at_key=True)
            if self._bad_field(reply.content_type):
                self._say((*at, "content_type"), f"'{line_text(reply.content_type)}' cannot be a header's value")
        if len(reply.headers) > HEADERS_MAX:
            message = f"'routes.reply.headers' has {len(reply.headers)}; at most {HEADERS_MAX} are possible"
            self._say((*at, "headers"), message)
        for name, value in reply.headers.items():
            if TOKEN.fullmatch(name) is None or len(name) > NAME_BYTES:
                self._say((*at, "headers", name), f"'{line_text(name)}' cannot be the name of a header", at_key=True)
            elif name.lower() in _OWN_HEADERS:
                hint = "write 'content_type'" if name.lower() == "content-type" else "remove it"
                self._say((*at, "headers", name), f"header '{name}' is written by lb itself", hint, at_key=True)
            elif self._bad_field(value):
                self._say((*at, "headers", name), f"header '{name}' cannot have the value '{line_text(value)}'")

    def _bad_field(self, text: str) -> bool:
        return len(text.encode()) > VALUE_BYTES or text != text.strip(" \t") or _FIELD_VALUE.fullmatch(text) is None

    # What routes do to each other

    def _overlap(self, path: Path) -> None:
        """See that no request has to look at many branches: where a literal fails, the parameter beside it is tried."""
        if not self.parameterised:
            return
        places: dict[str, list[tuple[str, bool]]] = {}
        for host, pattern, is_exact, *_ in self.seen:
            places.setdefault(host, []).append((pattern, is_exact))
        for host in sorted(self.parameterised):
            width = overlap(places[host])
            if width > OVERLAP_MAX:
                shown = f" of host '{host.replace('.', '*.', 1) if host.startswith('.') else host}'" if host else ""
                self._say(
                    (*path, "routes"),
                    f"the parameters in its paths{shown} overlap: a request might have to be compared with {width} branches at "
                    f"once; at most {OVERLAP_MAX} are possible",
                    "use the same word or parameter at the same place",
                )


def overlap(places: Iterable[tuple[str, bool]]) -> int:
    """Return how many branches of a tree of paths one request could match at the same depth, at most."""
    root: dict[str, dict] = {}  # type: ignore[type-arg]
    for path, is_exact in places:
        node = root
        segments = path[1:].split("/")
        for segment in segments if is_exact else segments[:-1]:
            node = node.setdefault(segment, {})
    order = [root]
    for node in order:
        order.extend(node.values())
    # Bottom up, without recursion: the widest profile of the literals plus that of the parameter.
    profiles: dict[int, list[int]] = {}
    for node in reversed(order):
        literal: list[int] = []
        beside: list[int] = []
        for segment, child in node.items():
            below = profiles.pop(id(child))
            if segment == PARAMETER:
                beside = below
            else:
                literal = [max(both) for both in zip_longest(literal, below, fillvalue=0)]
        profiles[id(node)] = [1, *(a + b for a, b in zip_longest(literal, beside, fillvalue=0))]
    return max(profiles[id(root)])
