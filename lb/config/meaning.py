"""What is wrong with the meaning of a configuration whose shape is right: names nobody defined, addresses given twice,
backends without servers.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace as moved
from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from lb.config.actions.context import Phase
from lb.config.captures import SLOTS_MAX, shared_slots, slots, slots_of
from lb.config.diagnostic import Finding, Path, line_text
from lb.config.evaluation import checked, first_values, process_variable
from lb.config.health import (
    CHECK_TIMES,
    faults_of_check,
    faults_of_server,
    faults_of_steps,
    faults_of_tracking,
    server_check,
    stray_words,
)
from lb.config.limits import LimitCompiler
from lb.config.logmeaning import review_logs
from lb.config.persistence import PersistenceCompiler
from lb.config.routing import RouteReview, ruled_to
from lb.config.rules import RuleCompiler, check_pages, names_of, phases_of, rules_of
from lb.config.secret import NO_REFERENCE, is_reference
from lb.config.suggestion import nearest
from lb.config.tables import table_parts
from lb.config.userlists import userlist_rows
from lb.language.error import LanguageError
from lb.model import (
    Backend,
    Balance,
    Bind,
    Check,
    Configuration,
    Datagrams,
    Debug,
    Defaults,
    Frontend,
    HttpAdmin,
    Keepalive,
    Mirror,
    Pool,
    SendProxy,
    Server,
)
from lb.model.address import (
    Address,
    AddressError,
    Family,
    ForeignAddressError,
    parse_bind,
    parse_server,
    parse_source,
)
from lb.model.answer import groups_of
from lb.model.backend import HASHED
from lb.model.forwarding import (
    client_header,
    forwarded_for_of,
    forwarded_of,
    monitor_of,
    node_problem,
    request_id_of,
    x_forwarded_of,
)
from lb.model.hashkey import TOKEN, HashKeyError, parse_key
from lb.model.naming import accept_proxy_of, balance_of, bind_name, bind_of, server_name, server_of
from lb.model.network import WORDS as NETWORK_WORDS
from lb.model.network import NetworkError, parse_network
from lb.model.units import UnitError, duration_ms, percent, size_bytes

# Ids that the shared mapping has for frontends, binds, backends and servers; one is the process itself.
OBJECTS_MAX = 65_535

# BALANCE_TABLE_MAX, RING_SCALE and MAGLEV_MEMBERS of the data plane: slots or points of a backend, points for a unit of weight,
# servers of a Maglev table.
TABLE_MAX = 1_048_576
RING_SCALE = 16
MAGLEV_MAX = 6_553

# What only backends of mode http have.
_PERSISTENCE = ("cookie", "stick", "persist", "force_persist", "ignore_persist")

# Bytes of a body that wait in memory for each copy of a request.
MIRROR_BODY_MAX = 16 << 20

# What each option of a balance is for: algorithms.
_BALANCE_OPTIONS = {
    "key": ("hash",),
    "name": ("hdr", "url_param"),
    "type": HASHED,
    "hash": HASHED,
    "avalanche": HASHED,
    "bound": HASHED,
    "points": HASHED,
    "draws": ("random",),
    "depth": ("uri",),
    "len": ("uri",),
    "whole": ("uri",),
    "path_only": ("uri",),
    "use_domain_only": ("hdr",),
}


class Review:
    """A look at one configuration; `findings` says what is wrong."""

    def __init__(self, configuration: Configuration, debug: bool) -> None:
        self.configuration = configuration
        self.debug = debug
        self.findings: list[Finding] = []
        self.bound: dict[tuple[Address, bool], str] = {}
        self.users: dict[str, dict[str, str]] = {}
        self._process()
        for name, frontend in configuration.frontends.items():
            self._frontend(name, frontend)
        for name, backend in configuration.backends.items():
            self._backend(name, backend)
        self.findings += faults_of_tracking(configuration.backends)
        self._rules()
        table_parts(configuration.tables, self.findings.append)
        userlist_rows(configuration.userlists, None, self.findings.append)
        LimitCompiler(configuration, names_of(configuration), self.findings.append)

    def _report(self, path: Path, subject: str, message: str, hint: str = "", at_key: bool = False) -> None:
        self.findings.append(Finding(path, subject, message, hint, at_key))

    # Sections

    def _first_values(self) -> None:
        variables: dict[int, str] = {}
        for keyword, name, text in first_values(self.configuration.global_):
            try:
                process_variable(name, variables)
                checked(text, variables, is_format=keyword == "set_var_fmt")
            except LanguageError as error:
                self._report(("global", keyword, name), "global", f"'{keyword}': {error}", error.hint)

    def _captures(self) -> None:
        for name, frontend in self.configuration.frontends.items():
            if frontend.captures is UNSET:
                continue
            path: Path = ("frontends", name, "captures")
            if frontend.mode != "http":
                self._report(path, f"frontend '{name}'", "'captures' needs mode http", "remove it", at_key=True)
            most = max(slots_of(frontend))
            if most > SLOTS_MAX:
                message = f"{most} slots are captured, those of rules included; at most {SLOTS_MAX} are possible"
                self._report(path, f"frontend '{name}'", message)

    def _rules(self) -> None:
        """Compile all rules once, for what is wrong with them."""
        groups = self.configuration.http_errors
        compiler = RuleCompiler(names_of(self.configuration), self.findings.append, groups)
        check_pages(compiler, self.configuration)
        self._groups(("defaults",), "defaults", self.configuration.defaults.errorfiles)
        shared = shared_slots(self.configuration)
        persistence = PersistenceCompiler(self.configuration.tables, compiler.program, self.findings.append)
        for noun, proxies in (("frontend", self.configuration.frontends), ("backend", self.configuration.backends)):
            for name, proxy in proxies.items():
                path: Path = (f"{noun}s", name)
                mode = self._mode_of(name, proxy) if isinstance(proxy, Backend) else proxy.mode
                self._groups(path, f"{noun} '{name}'", proxy.errorfiles)
                phases = phases_of(proxy, mode)
                if proxy.acls and not phases:
                    message = f"'acls' needs mode http or tcp: mode {mode} has no rules"
                    self._report((*path, "acls"), f"{noun} '{name}'", message, "remove it", at_key=True)
                for phase in Phase:
                    if rules_of(proxy, phase) and phase not in phases:
                        self._no_phase((*path, phase.value), f"{noun} '{name}'", phase, mode)
                for word in ("errors", "errorfiles", "limits", *_PERSISTENCE):
                    if mode != "http" and getattr(proxy, word, UNSET) not in (UNSET, False, (), {}):
                        message = f"'{word}' needs mode http"
                        self._report((*path, word), f"{noun} '{name}'", message, "remove it", at_key=True)
                self._durations(path, f"{noun} '{name}'", "", proxy, INSPECT_DELAYS[noun])
                if phases:
                    there = slots(proxy) if isinstance(proxy, Frontend) else shared
                    compiler.compile(path, f"{noun} '{name}'", proxy, mode=mode, tarpit_ms=0, slots=there)
                if mode == "http" and isinstance(proxy, Backend):
                    persistence.compile(name, proxy, *compiler.scope)

    def _no_phase(self, path: Path, subject: str, phase: Phase, mode: str) -> None:
        if phase is Phase.RESPONSE_CONTENT and mode == "http":
            self._report(path, subject, f"'{phase.value}' needs mode tcp", "write 'response_rules'", at_key=True)
        elif mode == "udp" and phase not in (Phase.REQUEST, Phase.RESPONSE, Phase.AFTER_RESPONSE):
            self._report(path, subject, f"'{phase.value}' needs mode http or tcp", "remove it", at_key=True)
        else:
            hint = "write 'content_rules'" if mode == "tcp" and phase is Phase.REQUEST else "remove it"
            self._report(path, subject, f"'{phase.value}' needs mode http", hint, at_key=True)

    def _groups(self, path: Path, subject: str, given: str | tuple[str, ...]) -> None:
        """Look the groups of error pages up that are named."""
        groups = self.configuration.http_errors
        for index, name in enumerate(groups_of(given)):
            if name not in groups:
                near = nearest(name, groups)
                hint = f"did you mean '{near}'?" if near else "define it under 'http_errors'"
                at = (*path, "errorfiles") if isinstance(given, str) else (*path, "errorfiles", index)
                self._report(at, subject, f"'errorfiles': unknown group of error pages '{line_text(name)}'", hint)

    def _process(self) -> None:
        configuration = self.configuration
        if not configuration.frontends:
            self._report(
                ("frontends",), "configuration", "no frontend is given", "write at least one, or nobody can connect"
            )
        binds = sum(len(each.bind) for each in configuration.frontends.values())
        servers = sum(len(each.servers) for each in configuration.backends.values())
        objects = len(configuration.frontends) + binds + len(configuration.backends) + servers
        if objects > OBJECTS_MAX:
            message = f"{objects} frontends, binds, backends and servers are given; at most {OBJECTS_MAX} are possible"
            self._report((), "configuration", message)
        self._durations(("global",), "global", "", configuration.global_, ("grace",))
        self._durations(("defaults", "timeouts"), "defaults", "timeouts.", configuration.defaults.timeouts, _TIMEOUTS)
        self._forwarding(("defaults",), "defaults", configuration.defaults)
        admin = configuration.global_.admin
        if admin is not UNSET:
            try:
                if not admin.path.startswith(("/", "unix@")):
                    raise AddressError("is not an absolute path; write '/run/lb/admin.sock'")
                address = parse_bind(admin.path)
            except AddressError as error:
                self._report(("global", "admin", "path"), "global", f"admin.path '{line_text(admin.path)}' {error}")
            else:
                self.bound[address, False] = "the admin socket"
        self._http(configuration.global_.http)
        self.findings += review_logs(configuration, names_of(configuration))
        self._captures()
        self._first_values()

    def _http(self, http: HttpAdmin | UnsetType) -> None:
        if http is UNSET:
            return
        try:
            address = parse_bind(http.address)
            if address.family not in (Family.IPV4, Family.IPV6):
                raise AddressError("is not an IP address and a port; write '127.0.0.1:8404'")
        except AddressError as error:
            self._report(("global", "http", "address"), "global", f"http.address '{line_text(http.address)}' {error}")
        else:
            if address.port:
                self.bound[address, False] = "the HTTP admin"
        if http.token is not UNSET and not is_reference(http.token):
            self._report(("global", "http", "token"), "global", f"http.token {NO_REFERENCE}")

    def _frontend(self, name: str, frontend: Frontend) -> None:
        path: Path = ("frontends", name)
        subject = f"frontend '{name}'"
        if not frontend.bind:
            self._report((*path, "bind"), subject, "'bind' is empty", "write 'bind: [\":8080\"]'")
        names: set[str] = set()
        for index, given in enumerate(frontend.bind):
            self._bind((*path, "bind", index), subject, bind_of(given), names, frontend.mode == "udp")
            self._accept_proxy((*path, "bind", index, "accept_proxy"), subject, bind_of(given), frontend.mode)
        self._durations((*path, "timeouts"), subject, "timeouts.", frontend.timeouts, _FRONTEND_TIMEOUTS)
        self._client_connections(path, subject, frontend)
        self._keepalive((*path, "tcp_keepalive"), subject, frontend.tcp_keepalive)
        if frontend.mode == "http":
            self._forwarding(path, subject, frontend)
            self._monitor(path, subject, frontend)
        else:
            self._without_http(path, subject, frontend)
        if frontend.mode == "udp":
            self._datagram_frontend(path, subject, frontend)
        RouteReview(self._report, partial(self._use, name, frontend.mode), path, frontend)
        for index, route in enumerate(frontend.routes):
            at = (*path, "routes", index, "timeouts")
            self._durations(at, subject, "routes.timeouts.", route.timeouts, _ROUTE_TIMEOUTS)
            if route.mirror is not UNSET and frontend.mode == "http":
                self._mirror((*path, "routes", index, "mirror"), name, frontend.mode, "routes.mirror", route.mirror)
        if frontend.mirror is not UNSET:
            self._mirror((*path, "mirror"), name, frontend.mode, "mirror", frontend.mirror)
        for word, rules in (("content_rules", frontend.content_rules), ("rules", frontend.rules)):
            for index, rule in enumerate(rules):
                if rule.use_backend is not UNSET and rule.use_backend in self.configuration.backends:
                    self._use(name, frontend.mode, rule.use_backend, (*path, word, index, "use_backend"))
        if (
            frontend.default_backend is UNSET
            and not frontend.routes
            and not frontend.content_rules
            and not frontend.rules
        ):
            self._report(
                path,
                subject,
                "leads nowhere",
                "give it a 'default_backend'" + (" or 'routes'" if frontend.mode == "http" else ""),
            )
        elif frontend.default_backend is UNSET and (
            frontend.mode == "udp" or (frontend.mode == "tcp" and not ruled_to(frontend))
        ):
            self._report(path, subject, "has no 'default_backend'", f"mode {frontend.mode} needs one")

    def _without_http(self, path: Path, subject: str, frontend: Frontend) -> None:
        if frontend.routes:
            self._report(
                (*path, "routes"),
                subject,
                "routes need mode http",
                "write 'mode: http', or 'default_backend' alone",
                at_key=True,
            )
        for word in (*FORWARDING, "monitor"):
            if getattr(frontend, word) not in (UNSET, False, ()):
                self._report((*path, word), subject, f"'{word}' needs mode http", "remove it", at_key=True)
        if frontend.dot_segments != "refuse":
            self._report((*path, "dot_segments"), subject, "'dot_segments' needs mode http", "remove it", at_key=True)
        for word in ("http_request", "http_keep_alive", "tarpit"):
            if getattr(frontend.timeouts, word) is not UNSET:
                self._report((*path, "timeouts", word), subject, f"'timeouts.{word}' needs mode http", "remove it")

    def _mirror(self, path: Path, frontend: str, mode: str, label: str, mirror: Mirror) -> None:
        subject = f"frontend '{frontend}'"
        if mode != "http":
            self._report(path, subject, "'mirror' needs mode http", "remove it", at_key=True)
            return
        self._use(frontend, mode, mirror.to, (*path, "to"))
        self._durations(path, subject, f"{label}.", mirror, ("timeout",))
        try:
            size = size_bytes(mirror.max_body)
        except UnitError as error:
            self._report((*path, "max_body"), subject, f"'{label}.max_body': '{line_text(mirror.max_body)}' {error}")
            return
        if size > MIRROR_BODY_MAX:
            message = f"'{label}.max_body' is {mirror.max_body}; at most {MIRROR_BODY_MAX >> 20}m are possible"
            self._report((*path, "max_body"), subject, message)

    def _forwarding(self, path: Path, subject: str, given: Frontend | Defaults) -> None:
        """Look at what is told to servers; what `defaults` and a frontend say together is looked at for the frontend."""
        defaults = self.configuration.defaults

        def effective(word: str, otherwise: object) -> Any:
            own = getattr(given, word)
            own = getattr(defaults, word) if own is UNSET else own
            return otherwise if own is UNSET else own

        if given.trusted_proxies is not UNSET:
            self._networks((*path, "trusted_proxies"), subject, "trusted_proxies", given.trusted_proxies)
        names: dict[str, str] = {}
        forwarded_for = forwarded_for_of(effective("forwarded_for", False))
        if forwarded_for is not None:
            self._header((*path, "forwarded_for"), subject, "forwarded_for", forwarded_for.name, names)
            if given.forwarded_for is not UNSET:
                at = (*path, "forwarded_for", "except")
                self._networks(at, subject, "forwarded_for.except", forwarded_for.except_)
        forwarded = forwarded_of(effective("forwarded", False))
        if forwarded is not None and given.forwarded is not UNSET:
            for word, node in (("by", forwarded.by), ("for", forwarded.for_)):
                problem = node_problem(node)
                if problem:
                    message = f"'forwarded.{word}': '{line_text(node)}' {problem}"
                    self._report((*path, "forwarded", word), subject, message)
            if forwarded == replace(forwarded, proto=False, host=False, by="none", for_="none"):
                self._report((*path, "forwarded"), subject, "'forwarded' says nothing", "write 'forwarded: false'")
        x_forwarded = x_forwarded_of(effective("x_forwarded", ()))
        for word in ("proto", "host", "port", "real_ip"):
            name = getattr(x_forwarded, word)
            if name is not UNSET:
                self._header((*path, "x_forwarded"), subject, f"x_forwarded.{word}", name, names)
        request_id = request_id_of(effective("request_id", False))
        if request_id is not None:
            self._header((*path, "request_id"), subject, "request_id", request_id.name, names)
        for word in ("via", "client_address"):
            text = getattr(given, word)
            if isinstance(text, str) and text.lower() in _SWITCHES:
                message = f"'{word}' must be true, false or a name, not '{text}'"
                self._report((*path, word), subject, message, f"write {_SWITCHES[text.lower()]}")
        header = client_header(effective("client_address", False))
        if header and given is not defaults:
            self._client_address(path, subject, header, effective("trusted_proxies", ()))

    def _client_address(self, path: Path, subject: str, header: str, proxies: tuple[str, ...]) -> None:
        at = (*path, "client_address")
        if _plain(header) in _OWN_HEADERS - {"forwarded"}:
            self._report(at, subject, f"'client_address': header '{header}' is none that says who the client is")
        if not proxies:
            self._report(
                at, subject, "'client_address' needs 'trusted_proxies'", "nobody's word is taken for it otherwise"
            )

    def _header(self, path: Path, subject: str, label: str, name: str, names: dict[str, str]) -> None:
        """See that a header can be written by lb, and is written by one keyword."""
        if _plain(name) in _OWN_HEADERS:
            self._report(path, subject, f"'{label}': header '{name}' is written by other keywords or by HTTP itself")
        elif _plain(name) in names:
            other = names[_plain(name)]
            self._report(path, subject, f"'{label}': header '{name}' is also that of '{other}'", "give each its own")
        names.setdefault(_plain(name), label)

    def _monitor(self, path: Path, subject: str, frontend: Frontend) -> None:
        if frontend.monitor is UNSET:
            return
        monitor = monitor_of(frontend.monitor)
        if re.fullmatch(r"/[!-~]*", monitor.path) is None or "#" in monitor.path:
            shown = line_text(monitor.path)
            at = (*path, "monitor") if isinstance(frontend.monitor, str) else (*path, "monitor", "path")
            self._report(at, subject, f"'monitor': '{shown}' is no path", "write '/alive'")
        for backend in monitor.fail_below:
            if backend not in self.configuration.backends:
                near = nearest(backend, self.configuration.backends)
                hint = f"did you mean '{near}'?" if near else "define it under 'backends'"
                at = (*path, "monitor", "fail_below", backend)
                self._report(at, subject, f"unknown backend '{line_text(backend)}'", hint)

    def _datagram_frontend(self, path: Path, subject: str, frontend: Frontend) -> None:
        self._streams_only(path, subject, frontend, ("tcp_keepalive",))
        if frontend.default_backend is not UNSET and not isinstance(frontend.default_backend, str):
            message = "shares of backends have no meaning in mode udp"
            self._report((*path, "default_backend"), subject, message, "name one backend, and give its servers weights")
        self._streams_only((*path, "timeouts"), subject, frontend.timeouts, ("tunnel", "client_fin"), "timeouts.")

    def _datagram_backend(self, path: Path, subject: str, backend: Backend) -> None:
        words = ("connect", "tunnel", "server_fin")
        self._streams_only((*path, "timeouts"), subject, backend.timeouts, words, "timeouts.")
        self._streams_only(path, subject, backend, _STREAM_OPTIONS)
        if backend.send_proxy != "off":
            message = "'send_proxy' begins connections, and mode udp has none"
            self._report((*path, "send_proxy"), subject, message, "write 'udp: {send_proxy: each}'", at_key=True)
        if backend.udp.responses != 0 or backend.udp.requests is not UNSET:
            return
        if backend.udp.send_proxy == "first":
            message = "'udp.send_proxy: first' needs sessions, and with 'udp.responses: 0' there are none"
            self._report((*path, "udp", "send_proxy"), subject, message, "write 'each'")
        if balance_of(backend.balance).algorithm == "leastconn":
            self._report(
                (*path, "balance"),
                subject,
                "balance leastconn counts sessions, and with 'udp.responses: 0' there are none",
                "write 'roundrobin'",
            )

    def _streams_only(
        self, path: Path, subject: str, section: object, words: tuple[str, ...], prefix: str = ""
    ) -> None:
        """Refuse what only connections have."""
        for word in words:
            if getattr(section, word) not in (UNSET, False):
                hint = "write 'timeouts.client' and 'timeouts.server'" if prefix else "remove it"
                self._report((*path, word), subject, f"'{prefix}{word}' has no meaning in mode udp", hint, at_key=True)

    def _bind(self, path: Path, subject: str, bind: Bind, names: set[str], is_datagram: bool = False) -> None:
        shown = line_text(bind.address)
        self._debug(path, subject, bind.debug)
        try:
            address = parse_bind(bind.address)
        except ForeignAddressError as error:
            self._report(path, subject, f"bind '{shown}': {error}")
            return
        except AddressError as error:
            self._report(path, subject, f"bind '{shown}' {error}")
            return
        if is_datagram:
            self._datagram_bind(path, subject, bind, address)
        elif bind.mode is not UNSET and address.family is not Family.UNIX:
            self._report((*path, "mode"), subject, f"bind '{shown}': 'mode' is for unix sockets", "remove it")
        if bind.backlog is not UNSET and address.family is Family.FD and not is_datagram:
            self._report(
                (*path, "backlog"),
                subject,
                f"bind '{shown}': 'backlog' is set by whoever made the descriptor",
                "remove it",
            )
        self._bind_options(path, subject, bind, address, is_datagram)
        if address.family in (Family.UNIX, Family.ABNS, Family.ABNSZ, Family.FD) or address.port:
            # TCP and UDP have ports of their own; a descriptor is one socket.
            key = (address, is_datagram and address.family is not Family.FD)
            first = self.bound.get(key)
            if first is not None:
                self._report(
                    path, subject, f"bind '{shown}' is taken already by {first}", "an address can be bound once"
                )
                return
            self.bound[key] = subject
        name = bind_name(bind, address)
        if name in names and (bind.name is not UNSET or address.port == 0):
            self._report(path, subject, f"two binds are called '{line_text(name)}'", "give each a 'name' of its own")
        names.add(name)

    def _accept_proxy(self, path: Path, subject: str, bind: Bind, mode: str) -> None:
        if bind.accept_proxy is UNSET:
            return
        given = accept_proxy_of(bind.accept_proxy)
        at = path if isinstance(bind.accept_proxy, tuple) else (*path, "from")
        self._networks(at, subject, "accept_proxy", given.from_)
        if not given.from_:
            way = "say whose headers to believe, such as '[\"10.0.0.0/8\"]', or '[any]' for everyone's"
            self._report(at, subject, "'accept_proxy' lists nobody", way)
        elif bind.address.startswith(("/", "unix@")) and not {"unix", "any"} & set(given.from_):
            self._report(at, subject, "'accept_proxy' lists no client that a unix socket can have", "write '[unix]'")
        if given.others == "plain" and mode == "tcp":
            # Their bytes go to the server as they are: a header among them would pass for one of ours.
            message = "'accept_proxy.others: plain' needs mode http"
            self._report(
                (*path, "others"), subject, message, "in mode tcp a server would believe a header that others forge"
            )
        self._durations(path, subject, "accept_proxy.", given, ("timeout",))

    def _send_proxy(self, path: Path, subject: str, given: str | SendProxy | UnsetType) -> None:
        if not isinstance(given, SendProxy) or given.version != "v1":
            return
        for word in ("crc32c", "unique_id", "authority", "tlvs"):
            if getattr(given, word):
                message = f"'send_proxy.{word}' needs version v2"
                self._report((*path, word), subject, message, "a line of v1 holds addresses only", at_key=True)

    def _datagram_bind(self, path: Path, subject: str, bind: Bind, address: Address) -> None:
        shown = line_text(bind.address)
        if address.family in (Family.UNIX, Family.ABNS, Family.ABNSZ):
            self._report(path, subject, f"bind '{shown}': mode udp needs an IP address", "write ':514', say")
            return
        words = ("mode", "backlog", "tfo", "defer_accept", "mss", "user_timeout", "accept_proxy")
        self._streams_only(path, subject, bind, words)
        if bind.debug is not UNSET and self.debug:
            self._report((*path, "debug"), subject, f"bind '{shown}': test devices are for connections", "remove it")

    def _use(self, frontend: str, mode: str, backend: str, path: Path) -> None:
        subject = f"frontend '{frontend}'"
        known = self.configuration.backends
        if backend not in known:
            near = nearest(backend, known)
            hint = f"did you mean '{near}'?" if near else "define it under 'backends'"
            self._report(path, subject, f"unknown backend '{line_text(backend)}'", hint)
            return
        said = known[backend].mode
        if said is not UNSET and said != mode:
            self._report(
                path, subject, f"is of mode {mode}, its backend '{backend}' of mode {said}", "both must be the same"
            )
            return
        users = self.users.setdefault(backend, {})
        other = next((each for each in users if each != mode), "")
        if other and mode not in users and said is UNSET:
            message = (
                f"is of mode {mode}, and frontend '{users[other]}' uses the same backend '{backend}' in mode {other}"
            )
            self._report(path, subject, message, "make two backends of it")
        users.setdefault(mode, frontend)

    def _backend(self, name: str, backend: Backend) -> None:
        path: Path = ("backends", name)
        subject = f"backend '{name}'"
        self._durations((*path, "timeouts"), subject, "timeouts.", backend.timeouts, _BACKEND_TIMEOUTS)
        self._server_connections(path, name, subject, backend)
        self._keepalive((*path, "tcp_keepalive"), subject, backend.tcp_keepalive)
        self._send_proxy((*path, "send_proxy"), subject, backend.send_proxy)
        mode = self._mode_of(name, backend)
        if mode == "udp":
            self._datagram_backend(path, subject, backend)
        elif backend.udp != Datagrams():
            self._report((*path, "udp"), subject, "'udp' needs mode udp", "remove it", at_key=True)
        if not backend.servers:
            self._report((*path, "servers"), subject, "has no servers", "write 'servers: [\"10.0.0.1:8080\"]'")
            return
        names: set[str] = set()
        weights = 0
        for index, given in enumerate(backend.servers):
            server = server_of(given)
            weights += server.weight
            self._server((*path, "servers", index), name, server, names, backend, mode == "udp")
            place = (*path, "servers", index)
            label = subject if server.name is UNSET else f"server '{name}/{server.name}'"
            self._health(place, label, server.check)
            self.findings += faults_of_server(place, label, server, backend)
        self._balance((*path, "balance"), name, backend)
        self._health(path, subject, backend.check)
        if isinstance(backend.check, Check):
            self.findings += stray_words(path, subject, backend.check)
        if not weights:
            self._report(
                (*path, "servers"),
                subject,
                "every server has weight 0, so none would get traffic",
                "give one a weight from 1 to 256",
            )

    def _mode_of(self, name: str, backend: Backend) -> str:
        return backend.mode if backend.mode is not UNSET else next(iter(self.users.get(name, {"http": ""})))

    def _balance(self, path: Path, name: str, backend: Backend) -> None:
        subject = f"backend '{name}'"
        balance = balance_of(backend.balance)
        algorithm = balance.algorithm
        for word, algorithms in _BALANCE_OPTIONS.items():
            given = getattr(balance, word)
            if given is not UNSET and given is not False and algorithm not in algorithms:
                uses = ", ".join(algorithms)
                self._report(
                    (*path, word),
                    subject,
                    f"'balance.{word}' has no meaning for {algorithm}",
                    f"it belongs to {uses}",
                    at_key=True,
                )
        if algorithm in ("hdr", "url_param"):
            self._key_name(path, subject, algorithm, balance.name)
        if algorithm == "hash":
            self._hash_key(path, subject, balance.key)
        mode = self._mode_of(name, backend)
        if algorithm in HASHED and algorithm != "source" and mode != "http":
            what = "TCP stream" if mode == "tcp" else "datagram"
            self._report(path, subject, f"balance {algorithm} needs mode http", f"of a {what} 'source' can be hashed")
        if algorithm in HASHED:
            self._ring(path, subject, balance)
        self._table(path, subject, algorithm, balance, [server_of(each) for each in backend.servers])

    def _key_name(self, path: Path, subject: str, algorithm: str, name: str | UnsetType) -> None:
        what = "header" if algorithm == "hdr" else "parameter"
        if name is UNSET:
            self._report(
                path, subject, f"balance {algorithm} needs a 'name'", f"write '{{algorithm: {algorithm}, name: ...}}'"
            )
        elif len(name.encode()) > 255 or (algorithm == "hdr" and TOKEN.fullmatch(name) is None):
            self._report((*path, "name"), subject, f"'{line_text(name)}' cannot be the name of a {what}")

    def _hash_key(self, path: Path, subject: str, key: str | UnsetType) -> None:
        if key is UNSET:
            way = "write '{algorithm: hash, key: \"req.hdr(x-user)\"}'"
            self._report(path, subject, "balance hash needs a 'key'", way)
            return
        try:
            parse_key(key)
        except HashKeyError as error:
            self._report((*path, "key"), subject, f"key '{line_text(key)}' {error}", error.hint)

    def _ring(self, path: Path, subject: str, balance: Balance) -> None:
        """Look at what only `type: consistent` has."""
        for word in ("bound", "points"):
            if getattr(balance, word) is not UNSET and balance.type != "consistent":
                self._report(
                    (*path, word), subject, f"'balance.{word}' needs a ring", "write 'type: consistent'", at_key=True
                )
        if balance.bound is not UNSET:
            try:
                percent(balance.bound)
            except UnitError as error:
                self._report((*path, "bound"), subject, f"'balance.bound': '{line_text(balance.bound)}' {error}")

    def _table(self, path: Path, subject: str, algorithm: str, balance: Balance, servers: list[Server]) -> None:
        """See that the table of the balance is not too large."""
        kind = balance.type if algorithm in HASHED and balance.type is not UNSET else "map-based"
        if algorithm not in HASHED and algorithm != "static-rr":
            return
        if kind == "maglev":
            if len(servers) > MAGLEV_MAX:
                message = f"{len(servers)} servers; at most {MAGLEV_MAX} are possible with 'type: maglev'"
                self._report(path, subject, message, "write 'type: consistent'")
            return
        weights = sum(each.weight for each in servers)
        if kind == "consistent":
            limit, share = TABLE_MAX // RING_SCALE, 1
        else:
            limit, share = TABLE_MAX, math.gcd(*(each.weight for each in servers)) or 1
        if weights // share > limit:
            message = f"the weights add up to {weights // share}; at most {limit} are possible with '{kind}'"
            self._report(path, subject, message, "give the servers smaller weights")

    def _server(
        self, path: Path, backend: str, server: Server, names: set[str], given: Backend, is_datagram: bool
    ) -> None:
        shown = line_text(server.address)
        subject = f"backend '{backend}'" if server.name is UNSET else f"server '{backend}/{server.name}'"
        self._debug(path, subject, server.debug)
        self._send_proxy((*path, "send_proxy"), subject, server.send_proxy)
        try:
            address = parse_server(server.address)
        except ForeignAddressError as error:
            self._report((*path, "address"), subject, f"address '{shown}': {error}")
            return
        except AddressError as error:
            self._report((*path, "address"), subject, f"address '{shown}' {error}")
            return
        self._server_options(path, subject, server, address)
        if is_datagram:
            self._streams_only(path, subject, server, (*_STREAM_OPTIONS, "send_proxy"))
        if is_datagram and address.family in (Family.UNIX, Family.ABNS, Family.ABNSZ):
            self._report((*path, "address"), subject, f"address '{shown}': mode udp needs an IP address and a port")
        if is_datagram and server_check(server, given) is None and "layer4" in (server.observe, given.observe):
            message = "'observe: layer4' needs a check in mode udp: nothing else tells that a server is back"
            self._report(path, subject, message, "write 'check: {port: ...}', or 'observe: none'")
        if is_datagram and server.debug is not UNSET and self.debug:
            self._report((*path, "debug"), subject, "test devices are for connections", "remove it", at_key=True)
        name = server_name(server, address)
        if name in names:
            self._report(
                path, f"backend '{backend}'", f"two servers are called '{name}'", "give each a 'name' of its own"
            )
        names.add(name)

    def _health(self, path: Path, subject: str, given: object) -> None:
        if isinstance(given, Check):
            self._durations((*path, "check"), subject, "check.", given, CHECK_TIMES)
            self.findings += faults_of_check(path, subject, given)
            self.findings += faults_of_steps(path, subject, given)

    # Connections and their sockets

    def _client_connections(self, path: Path, subject: str, frontend: Frontend) -> None:
        if frontend.mode != "http":
            for word in ("http_connection", "max_requests"):
                if getattr(frontend, word) is not UNSET:
                    self._report((*path, word), subject, f"'{word}' needs mode http", "remove it", at_key=True)
        elif frontend.http_connection == "close" and frontend.max_requests is not UNSET:
            message = "'max_requests' has no meaning with 'http_connection: close': a connection carries one"
            self._report((*path, "max_requests"), subject, message, "remove one of them", at_key=True)
        if frontend.mode != "tcp" and not frontend.half_close:
            hint = "remove it; 'http_connection' is about requests"
            self._report((*path, "half_close"), subject, "'half_close' needs mode tcp", hint, at_key=True)

    def _bind_options(self, path: Path, subject: str, bind: Bind, address: Address, is_datagram: bool = False) -> None:
        shown = line_text(bind.address)
        is_ip = address.family in (Family.IPV4, Family.IPV6)
        for word in ("interface", "tfo", "defer_accept", "mss", "user_timeout"):
            given = getattr(bind, word)
            if given is UNSET or given is False:
                continue
            if address.family in (Family.UNIX, Family.ABNS, Family.ABNSZ):
                self._report(
                    (*path, word), subject, f"bind '{shown}': '{word}' is for TCP sockets", "remove it", at_key=True
                )
            elif word == "interface" and not is_ip:
                message = f"bind '{shown}': 'interface' is set by whoever made the descriptor"
                self._report((*path, word), subject, message, "remove it", at_key=True)
        if not bind.v6only and address.family is not Family.IPV6:
            message = f"bind '{shown}': 'v6only' is for IPv6 addresses"
            self._report((*path, "v6only"), subject, message, "write '[::]:80'", at_key=True)
        elif not bind.v6only and address.host == "::" and address.port:
            self._both_families(path, subject, address, is_datagram)
        self._some(path, subject, "", bind, "user_timeout")

    def _both_families(self, path: Path, subject: str, address: Address, is_datagram: bool) -> None:
        """An address that takes IPv4 too is two addresses."""
        other = (Address(Family.IPV4, "0.0.0.0", address.port), is_datagram)
        first = self.bound.get(other)
        if first is not None:
            message = (
                f"bind '{address}' with 'v6only: false' takes ':{address.port}' too, which is taken already by {first}"
            )
            self._report(path, subject, message, "an address can be bound once")
        self.bound[other] = subject

    def _server_connections(self, path: Path, name: str, subject: str, backend: Backend) -> None:
        mode = backend.mode if backend.mode is not UNSET else next(iter(self.users.get(name, {"http": ""})))
        if mode != "http":
            for word in ("http_reuse", "http_connection"):
                if getattr(backend, word) is not UNSET:
                    self._report((*path, word), subject, f"'{word}' needs mode http", "remove it", at_key=True)
            if backend.timeouts.tarpit is not UNSET:
                self._report((*path, "timeouts", "tarpit"), subject, "'timeouts.tarpit' needs mode http", "remove it")
            pools = [((*path, "pool"), backend.pool != Pool())]
            fast = [((*path, "tfo"), backend.tfo)]
            for index, given in enumerate(backend.servers):
                server = server_of(given)
                pools.append(((*path, "servers", index, "pool"), server.pool is not UNSET))
                fast.append(((*path, "servers", index, "tfo"), server.tfo is True))
            for at, is_given in pools:
                if is_given:
                    self._report(
                        at,
                        subject,
                        "'pool' needs mode http",
                        f"remove it: nothing is kept idle in mode {mode}",
                        at_key=True,
                    )
            for at, is_given in fast:
                if is_given:
                    hint = "remove it: where the server speaks first, the connection would never be opened"
                    self._report(at, subject, "'tfo' to servers needs mode http", hint, at_key=True)
        elif backend.http_connection == "server-close" and backend.pool != Pool():
            message = "'pool' has no meaning with 'http_connection: server-close': nothing is kept idle"
            self._report((*path, "pool"), subject, message, "remove one of them", at_key=True)
        self._pool((*path, "pool"), subject, backend.pool)
        self._some(path, subject, "", backend, "user_timeout")
        if backend.source is not UNSET:
            self._source((*path, "source"), subject, backend.source)

    def _server_options(self, path: Path, subject: str, server: Server, address: Address) -> None:
        if server.pool is not UNSET:
            self._pool((*path, "pool"), subject, server.pool)
        self._some(path, subject, "", server, "user_timeout")
        if server.tcp_keepalive is not UNSET:
            self._keepalive((*path, "tcp_keepalive"), subject, server.tcp_keepalive)
        if server.source is not UNSET:
            self._source((*path, "source"), subject, server.source)
        if address.family in (Family.UNIX, Family.ABNS, Family.ABNSZ):
            for word in ("source", "interface", "tfo", "mss", "user_timeout", "tcp_keepalive"):
                if getattr(server, word) not in (UNSET, False):
                    self._report((*path, word), subject, f"'{word}' is for TCP sockets", "remove it", at_key=True)

    def _pool(self, path: Path, subject: str, pool: Pool) -> None:
        for word in ("idle_timeout", "max_age"):
            self._some(path, subject, "pool.", pool, word)

    def _some(self, path: Path, subject: str, prefix: str, section: object, word: str) -> None:
        """Look at a duration that must not be zero."""
        text: str | UnsetType = getattr(section, word)
        if text is UNSET:
            return
        try:
            ms = duration_ms(text)
        except UnitError as error:
            self._report((*path, word), subject, f"'{prefix}{word}': '{line_text(text)}' {error}")
            return
        if not ms:
            self._report((*path, word), subject, f"'{prefix}{word}' is {text}; 1ms to 24d are possible")

    def _source(self, path: Path, subject: str, text: str) -> None:
        try:
            parse_source(text)
        except AddressError as error:
            self._report(path, subject, f"source '{line_text(text)}' {error}")

    # Parts of sections

    def _durations(self, path: Path, subject: str, prefix: str, section: object, words: tuple[str, ...]) -> None:
        for word in words:
            text: str | UnsetType = getattr(section, word)
            if text is UNSET:
                continue
            try:
                ms = duration_ms(text)
            except UnitError as error:
                self._report((*path, word), subject, f"'{prefix}{word}': '{line_text(text)}' {error}")
                continue
            if not ms and prefix:
                self._report(
                    (*path, word),
                    subject,
                    f"'{prefix}{word}' is {text}",
                    "every wait has an end; 1ms to 24d are possible",
                )

    def _networks(self, path: Path, subject: str, label: str, entries: tuple[str, ...]) -> None:
        """Look at every entry of a set of networks; `label` is the keyword as people write it."""
        for index, entry in enumerate(entries):
            try:
                parse_network(entry)
            except NetworkError as error:
                near = nearest(entry, NETWORK_WORDS)
                shown = f"'{label}': '{line_text(entry)}'"
                if near is not None:
                    self._report((*path, index), subject, f"{shown} is no network", f"did you mean '{near}'?")
                else:
                    self._report((*path, index), subject, f"{shown} {error}")

    def _keepalive(self, path: Path, subject: str, given: bool | Keepalive) -> None:
        if isinstance(given, bool):
            return
        for word in ("idle", "interval"):
            text: str | UnsetType = getattr(given, word)
            if text is UNSET:
                continue
            try:
                ms = duration_ms(text)
            except UnitError as error:
                self._report((*path, word), subject, f"'tcp_keepalive.{word}': '{line_text(text)}' {error}")
                continue
            # TCP_KEEPIDLE and TCP_KEEPINTVL take whole seconds up to MAX_TCP_KEEPIDLE.
            if ms % 1000 or not 1 <= ms // 1000 <= 32_767:
                self._report(
                    (*path, word),
                    subject,
                    f"'tcp_keepalive.{word}' is {text}; whole seconds from 1s to 32767s are possible",
                )

    def _debug(self, path: Path, subject: str, given: Debug | UnsetType) -> None:
        if given is not UNSET and not self.debug:
            self._report(
                (*path, "debug"),
                subject,
                "unknown keyword 'debug'",
                "test devices need the debug build and LB_DEBUG_CONFIG=1",
                at_key=True,
            )


_STREAM_OPTIONS = ("source", "interface", "tfo", "mss", "user_timeout", "tcp_keepalive")
INSPECT_DELAYS = {"frontend": ("inspect_delay",), "backend": ("inspect_delay", "response_inspect_delay")}
_TIMEOUTS = (
    "connect",
    "client",
    "server",
    "http_request",
    "http_keep_alive",
    "tunnel",
    "client_fin",
    "server_fin",
    "check",
    "tarpit",
)
_FRONTEND_TIMEOUTS = ("client", "http_request", "http_keep_alive", "tunnel", "client_fin", "tarpit")
_ROUTE_TIMEOUTS = ("client", "connect", "server", "tunnel")
_BACKEND_TIMEOUTS = ("connect", "server", "tunnel", "server_fin", "check", "tarpit")

FORWARDING = (
    "trusted_proxies",
    "client_address",
    "forwarded_for",
    "forwarded",
    "x_forwarded",
    "via",
    "request_id",
)

# What the codecs write themselves, and the two headers whose names are fixed.
_OWN_HEADERS = {
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "proxy-authenticate",
    "proxy-authorization",
    "expect",
    "forwarded",
    "via",
}

# YAML's old booleans are texts, and nobody means a header or a balancer of that name.
_SWITCHES = {"on": "true", "yes": "true", "true": "true", "off": "false", "no": "false", "false": "false"}


def _plain(name: str) -> str:
    """Return a header's name as servers may read it: many take '_' for '-', and none looks at case."""
    return name.lower().replace("_", "-")


def unrelated(findings: list[Finding], gone: set[Path], original: Callable[[Path], Path]) -> Iterator[Finding]:
    """Yield the findings that do not come merely from parts that were taken out because their shape was wrong.

    `original` turns a path among what was left into the path in the document.
    """
    backends_unsure = any(len(path) <= 2 and path[:1] == ("backends",) for path in gone)
    for finding in findings:
        path = original(finding.path)
        if any(each[: len(path)] == path or path[: len(each)] == each for each in gone):
            continue
        if finding.message.startswith("unknown backend") and backends_unsure:
            continue
        yield moved(finding, path=path)
