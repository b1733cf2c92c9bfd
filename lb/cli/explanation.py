"""`lb explain`: what would become of a request."""

import asyncio
import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from lb.cli import fail
from lb.cli.configuration import describe_failure
from lb.config import ConfigError, compile, read  # noqa: A004
from lb.config.actions.number import Action
from lb.config.diagnostic import Finding
from lb.config.plan import CompiledPlan
from lb.config.routerows import TARGET_BACKEND, TARGET_REDIRECT, TARGET_REPLY, ConditionRow, RouteRow
from lb.config.source import Source

# plan.pxd.
MODE_HTTP = 2

_PORTS = {"http": 80, "https": 443}
_IN_TURN = {
    "roundrobin": "in turn",
    "static-rr": "in turn",
    "leastconn": "the one with the fewest connections",
    "random": "the less loaded of some drawn",
}


class Question(msgspec.Struct, frozen=True):
    """A request as the user put it."""

    method: str
    url: str
    headers: tuple[str, ...]
    source: str
    frontend: str | None


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What would become of it; also the form of `--json`."""

    request: str
    answered: bool = False
    listener: str = ""
    frontend: str = ""
    note: str = ""
    route: str = ""
    limits: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    backend: str = ""
    shares: dict[str, int] = {}
    server: str = ""
    servers: tuple[str, ...] = ()
    how: str = ""
    status: int = 0
    reason: str = ""


def explain(file: str, question: Question, as_json: bool) -> int:
    """Print what would become of a request; return 0 if it would be answered by a server, a redirect or a reply."""
    with describe_failure():
        compiled = compile(file)
        source = read(file)[1]
    try:
        said = _Explainer(compiled, source, question).said
    except ConfigError as error:
        fail(str(error))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(said), indent=2).decode())
    else:
        click.echo(_text(said))
    return 0 if said.answered else 1


class _Explainer:
    def __init__(self, compiled: CompiledPlan, source: Source, question: Question) -> None:
        from lb._speedups.face.explain import Explainer
        from lb._speedups.face.mapping import Mapping
        from lb.supervisor import tables
        from lb.supervisor.generation import number

        self.compiled = compiled
        self.rows = compiled.rows
        self.source = source
        self.question = question
        url = urlsplit(question.url if "://" in question.url else f"http://{question.url}")
        try:
            port = url.port or _PORTS.get(url.scheme, 0)
        except ValueError:
            port = 0
        if not url.hostname or not port:
            fail(f"'{question.url}' is not a URL; write 'http://www.example.com/path'")
        try:
            self.address = ipaddress.ip_address(question.source).packed
        except ValueError:
            fail(f"'{question.source}' is not an address; write '--source 192.0.2.1'")
        self.request = f"{question.method} {question.url}"
        index, listener, note = self._listener(port)
        if index < 0:
            self.said = Explanation(self.request, note=note)
            return
        self.index = index
        self.base: dict[str, Any] = {
            "listener": listener,
            "frontend": self.rows.frontends[index].name.decode(),
            "note": note,
        }
        # The mapping that workers share, made for this one question: balances are what they would be after a start.
        mapping = Mapping.create()
        try:
            numbering = asyncio.run(number(mapping, compiled.objects, compiled.balances, None))
            placed = tables.place(mapping, compiled.part.tables, 1, 1)
            fd = compiled.image(1, numbering.oids, [*numbering.offsets, *(each.offset for each in placed)])
            with open(fd, "rb") as image:
                image.seek(0)
                self.explainer = Explainer(image.read())
            self.names = {oid: compiled.objects[place][2] for place, oid in enumerate(numbering.oids)}
            self.mapping, self.offsets = mapping, numbering.offsets
            self.said = self._frontend(index, url.netloc.rpartition("@")[2], url.path, url.query)
        finally:
            mapping.close()

    def _listener(self, port: int) -> tuple[int, str, str]:
        """Return the frontend's index, its listener, and what is to be said about the choice."""
        part = self.compiled.part
        wanted = self.question.frontend
        names = [each.name for each in part.frontends]
        if wanted is not None:
            if wanted not in names:
                fail(f"there is no frontend '{wanted}'; there are {', '.join(names)}")
            return names.index(wanted), "", ""
        for bind in part.binds:
            if bind.port == port:
                return names.index(bind.frontend), bind.name, ""
        http = [each.name for each in part.frontends if each.mode == "http"]
        if len(http) == 1:
            return names.index(http[0]), "", f"no listener has port {port}; this is the only frontend of mode http"
        return -1, "", f"no listener has port {port}; name a frontend: --frontend {'|'.join(names)}"

    def _frontend(self, index: int, host: str, path: str, query: str) -> Explanation:
        frontend = self.rows.frontends[index]
        if frontend.mode != MODE_HTTP:
            return self._route(frontend.default_route, {})
        target = (path or "/") + (f"?{query}" if query else "")
        fields = (
            [f"Host: {host}"] if not any(each.lower().startswith("host:") for each in self.question.headers) else []
        )
        lines = [f"{self.question.method} {target} HTTP/1.1", *fields, *self.question.headers, "", ""]
        refused = self.explainer.read("\r\n".join(lines).encode())
        if refused is not None:
            return Explanation(
                self.request, **self.base, status=refused[0], reason=f"the request is refused: {refused[1]}"
            )
        if frontend.monitor is not None and target.encode() == frontend.monitor.path:
            how = "the monitor's answer, while lb does not drain and 'fail_below' holds"
            return Explanation(self.request, True, **self.base, status=200, how=how)
        if not self.explainer.is_plain(index):
            return Explanation(self.request, **self.base, status=400, reason="the path has dot segments")
        more: dict[str, Any] = {}
        self._limits(frontend.limits, more)
        ended, chosen = self._rules(index, -1, ("frontends", self.base["frontend"]), more)
        if ended is not None:
            return ended
        if chosen is not None and chosen >= 0:
            return self._server(chosen, more)
        if chosen is not None:
            return self._route(self.rows.frontends[index].default_route, more)
        route, allowed, passed = self.explainer.route(index)
        more |= {"passed": tuple(self._passed(self.rows.routes[number], why) for number, why in passed)}
        if route is None:
            reason = f"no route takes the method; allowed: {allowed}" if allowed else "no route matches"
            return Explanation(self.request, **self.base, **more, status=405 if allowed else 404, reason=reason)
        return self._route(route, more)

    def _rules(
        self, frontend: int, backend: int, path: tuple[str, str], more: dict[str, Any]
    ) -> tuple[Explanation | None, int | None]:
        """Return what ends here by request rules, or the backend that one chose; `more` gets what is to be said of them."""
        before = self.explainer.target()
        answer, at, action, status, chosen = self.explainer.rules(frontend, backend, self.address, self.mapping)
        said = list(more.get("rules", ()))
        if self.explainer.target() != before:
            said.append(f"the target becomes {self.explainer.target().decode('latin-1')}")
        if chosen is not None:
            what = "use_backend" if backend < 0 else "use_server"
            rows = self.rows.backends if backend < 0 else self.rows.servers
            name = rows[chosen[0]].name.decode() if chosen[0] >= 0 else "with a name that no backend has"
            said.append(f"{self._rule(path, chosen[1])}: {what} {name}")
        if answer == "verdict":
            name = Action(action).name.lower()
            said.append(f"{self._rule(path, at)}: {name}" + (f" {status}" if status else ""))
        elif answer in ("error", "bad"):
            what = "an edit that is not possible" if answer == "error" else "the target has an escape that is none"
            said.append(f"{self._rule(path, at)}: {what}")
        if said:
            more["rules"] = tuple(said)
        if answer == "done":
            return None, None if chosen is None else chosen[0]
        is_answer = answer == "verdict" and action in (Action.RETURN, Action.REDIRECT)
        reason = "" if is_answer else "a rule ends it"
        status = {"error": 500, "bad": 400}.get(answer, status)
        return Explanation(self.request, is_answer, **self.base, **more, status=status, reason=reason), None

    def _limits(self, numbers: tuple[int, ...], more: dict[str, Any]) -> None:
        """Add rate limits that the request must keep; each counts once."""
        said = list(more.get("limits", ()))
        for number in numbers:
            limit = self.compiled.part.limits[number]
            text = f"{limit.name}: {limit.rate} by {limit.by}" + (", in shadow mode" if limit.mode == "shadow" else "")
            said += [] if text in said else [text]
        if said:
            more["limits"] = tuple(said)

    def _rule(self, path: tuple[str, str], at: int) -> str:
        line = self.source.line_of(Finding((*path, "rules", at), "", ""))
        return f"rule {at + 1} of {path[0].removesuffix('s')} '{path[1]}' ({os.path.basename(self.source.file)}:{line})"

    def _route(self, number: int, more: dict[str, Any]) -> Explanation:
        if number < 0:
            return Explanation(self.request, **self.base, **more, reason="the frontend has no backend")
        row = self.rows.routes[number]
        more = {**more, "route": self._name(row)}
        self._limits(row.limits, more)
        if row.kind == TARGET_REDIRECT:
            redirect = self.rows.redirects[row.target]
            pieces = "".join(literal.decode() or f"{{segment {place}}}" for literal, place in redirect.pieces)
            then = "" if redirect.kind == 1 else " + path" if redirect.kind == 2 else "host + path"
            return Explanation(
                self.request, True, **self.base, **more, status=redirect.status, how=f"redirect to {pieces}{then}"
            )
        if row.kind == TARGET_REPLY:
            reply = self.rows.replies[row.target]
            return Explanation(
                self.request, True, **self.base, **more, status=reply.status, how=f"reply of {len(reply.body)} bytes"
            )
        if row.kind != TARGET_BACKEND:
            split = self.rows.splits[row.target]
            more["shares"] = {self.rows.backends[place].name.decode(): weight for place, weight in split.shares}
        backend = self.explainer.backend(number, self.address)
        if backend is None:
            return Explanation(self.request, True, **self.base, **more, how="one of the shares, drawn by weight")
        return self._server(backend, more)

    def _server(self, backend: int, more: dict[str, Any]) -> Explanation:
        part = self.compiled.part.backends[backend]
        names = tuple(each.name for each in part.servers if not each.is_backup)
        more = {**more, "backend": part.name}
        self._limits(self.rows.backends[backend].limits, more)
        if self.compiled.part.backends[backend].mode == "http":
            ended, chosen = self._rules(self.index, backend, ("backends", part.name), more)
            if ended is not None:
                return ended
            if chosen is not None:
                server = self.rows.servers[chosen].name.decode()
                return Explanation(
                    self.request, True, **self.base, **more, server=server, how="by a rule, while it is up"
                )
        if part.algorithm in _IN_TURN:
            how = _IN_TURN[part.algorithm]
            if len(names) == 1:
                return Explanation(self.request, True, **self.base, **more, server=names[0])
            return Explanation(self.request, True, **self.base, **more, servers=names, how=how)
        key = self.explainer.key(backend, self.address)
        if key is None:
            how = f"in turn: the request does not bring the key of '{part.algorithm}'"
            return Explanation(self.request, True, **self.base, **more, servers=names, how=how)
        server = self.names[self.mapping.pick(self.offsets[backend], hash=key)].partition("/")[2]
        return Explanation(self.request, True, **self.base, **more, server=server, how=f"by {part.algorithm}")

    # Words

    def _name(self, row: RouteRow) -> str:
        if row.number == 0:
            return "default_backend"
        frontend = self.base["frontend"]
        line = self.source.line_of(Finding(("frontends", frontend, "routes", row.number - 1), "", ""))
        name = f" '{row.name.decode()}'" if row.name else ""
        return f"{row.number}{name} ({os.path.basename(self.source.file)}:{line})"

    def _passed(self, row: RouteRow, why: int | None) -> str:
        return f"{self._name(row)}: " + ("method" if why is None else _condition(row.conditions[why]))


def _condition(row: ConditionRow) -> str:
    noun = f"header '{row.name.decode()}'" if row.kind == 1 else f"parameter '{row.name.decode()}'"
    if row.test == 3:
        return f"{noun} is not {' or '.join(repr(each.decode()) for each in row.values)}"
    return f"{noun} is missing" if row.test == 1 else f"{noun} is there"


def _text(said: Explanation) -> str:
    """Return an explanation for people."""
    lines = [("request", said.request), ("listener", said.listener), ("frontend", said.frontend), ("note", said.note)]
    lines += [("limit", each) for each in said.limits]
    lines += [("rules", each) for each in said.rules]
    lines += [("passed over", each) for each in said.passed]
    lines += [("route", said.route)]
    if said.shares:
        total = sum(said.shares.values())
        lines += [("shares", ", ".join(f"{name} {100 * each / total:.4g}%" for name, each in said.shares.items()))]
    lines += [("backend", said.backend), ("server", said.server or ", ".join(said.servers)), ("how", said.how)]
    lines += [("status", str(said.status) if said.status else ""), ("why", said.reason)]
    return "\n".join(f"{word:>12}: {text}" for word, text in lines if text)
