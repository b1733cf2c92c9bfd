"""The whole truth: a configuration of the same type in which nothing is left out.

Short forms become long ones, names are made, what is inherited stands where it is used. The result is itself a valid
configuration, and the effective form of it is the same again.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from lb.config.health import backend_check, server_health
from lb.config.routing import mirrored_to, ruled_to, sticky_of
from lb.model import (
    Backend,
    BackendTimeouts,
    Balance,
    Bind,
    Configuration,
    Defaults,
    Frontend,
    FrontendTimeouts,
    Page,
    Pool,
    Route,
    Server,
    Sticky,
    Timeouts,
)
from lb.model.address import Family, parse_bind, parse_server
from lb.model.answer import groups_of
from lb.model.backend import HASHED
from lb.model.connection import ServerConnection
from lb.model.forwarding import (
    client_header,
    forwarded_for_of,
    forwarded_of,
    monitor_of,
    request_id_of,
    via_of,
    x_forwarded_of,
)
from lb.model.naming import accept_proxy_of, balance_of, bind_name, bind_of, send_proxy_of, server_name, server_of
from lb.model.routing import backends_of

CONTENT_TYPE = "text/plain; charset=utf-8"

Given = TypeVar("Given")
Groups = Mapping[str, Mapping[str, str | Page]]

IDLE_TIMEOUT = "60s"
"""Of a pool: what nginx and most servers keep an idle connection for."""

DRAWS = 2
"""Of `random`: two are far better than one, three hardly better than two."""


def effective(configuration: Configuration) -> Configuration:
    """Return the configuration with everything said. `global.maxconn` stays open: the descriptor limit decides at start."""
    defaults = configuration.defaults
    modes = backend_modes(configuration)
    groups = configuration.http_errors
    return replace(
        configuration,
        frontends={name: _frontend(each, defaults, groups) for name, each in configuration.frontends.items()},
        backends={
            name: _backend(each, defaults, modes.get(name, "http"), groups)
            for name, each in configuration.backends.items()
        },
    )


def pages_of(proxy: Frontend | Backend, defaults: Defaults, groups: Groups) -> dict[str, str | Page]:
    """Return all error pages of a proxy: its own, those of its groups, and what it inherits."""
    made: dict[str, str | Page] = {}
    for said in (defaults, proxy):
        for name in groups_of(said.errorfiles):
            made |= groups.get(name, {})
        made |= said.errors
    return dict(sorted(made.items()))


def backend_modes(configuration: Configuration) -> dict[str, str]:
    """Return the mode of every backend that somebody uses: that of its users."""
    modes: dict[str, str] = {}
    for frontend in configuration.frontends.values():
        for name in backends_of(frontend.default_backend):
            modes[name] = frontend.mode
        for route in frontend.routes:
            for name in backends_of(route.to):
                modes[name] = frontend.mode
        for name in mirrored_to(frontend):
            modes[name] = frontend.mode
        for name in ruled_to(frontend):
            modes[name] = frontend.mode
    return modes


def _or(value: Given | UnsetType, otherwise: Given) -> Given:
    return otherwise if value is UNSET else value


def said(value: str | UnsetType, otherwise: str) -> str:
    """Return what was said, else the other."""
    return otherwise if value is UNSET else value


def _frontend(frontend: Frontend, defaults: Defaults, groups: Groups) -> Frontend:
    timeouts, inherited = frontend.timeouts, defaults.timeouts
    is_http = frontend.mode == "http"
    return replace(
        frontend,
        bind=tuple(_bind(bind_of(each)) for each in frontend.bind),
        timeouts=FrontendTimeouts(
            client=said(timeouts.client, inherited.client),
            http_request=said(timeouts.http_request, inherited.http_request) if is_http else UNSET,
            http_keep_alive=said(timeouts.http_keep_alive, inherited.http_keep_alive) if is_http else UNSET,
            tunnel=said(timeouts.tunnel, inherited.tunnel) if frontend.mode != "udp" else UNSET,
            client_fin=timeouts.client_fin
            if inherited.client_fin is UNSET or frontend.mode == "udp"
            else said(timeouts.client_fin, inherited.client_fin),
            tarpit=_tarpit(timeouts.tarpit, inherited) if is_http else UNSET,
        ),
        errors=pages_of(frontend, defaults, groups) if is_http else frontend.errors,
        errorfiles=() if is_http else frontend.errorfiles,
        **(_forwarding(frontend, defaults) if is_http else {}),
        routes=tuple(_route(frontend, each) for each in frontend.routes),
        sticky=_sticky(frontend.sticky),
        http_connection=_or(frontend.http_connection, defaults.http_connection) if is_http else UNSET,
    )


def _tarpit(given: str | UnsetType, inherited: Timeouts) -> str:
    return said(given, said(inherited.tarpit, inherited.connect))


def _route(frontend: Frontend, route: Route) -> Route:
    if isinstance(route.to, dict):
        return replace(route, sticky=_sticky(sticky_of(frontend, route)))
    reply = route.reply
    if reply is not UNSET and reply.content_type is UNSET and (reply.body is not UNSET or reply.file is not UNSET):
        return replace(route, reply=replace(reply, content_type=CONTENT_TYPE))
    return route


def _sticky(sticky: Sticky | UnsetType) -> Sticky | UnsetType:
    if sticky is UNSET or sticky.cookie is UNSET:
        return sticky
    return replace(
        sticky,
        path=said(sticky.path, "/"),
        http_only=True if sticky.http_only is UNSET else sticky.http_only,
        secure=False if sticky.secure is UNSET else sticky.secure,
        same_site="lax" if sticky.same_site is UNSET else sticky.same_site,
    )


def _forwarding(frontend: Frontend, defaults: Defaults) -> dict[str, Any]:
    """Return what a frontend of mode http forwards, each keyword from itself or from `defaults`."""

    def given(word: str) -> Any:
        own = getattr(frontend, word)
        return getattr(defaults, word) if own is UNSET else own

    return {
        "trusted_proxies": given("trusted_proxies"),
        "client_address": client_header(given("client_address")) or False,
        "forwarded_for": forwarded_for_of(given("forwarded_for")) or False,
        "forwarded": forwarded_of(given("forwarded")) or False,
        "x_forwarded": x_forwarded_of(given("x_forwarded")),
        "via": via_of(given("via")) or False,
        "request_id": request_id_of(given("request_id")) or False,
        "monitor": UNSET if frontend.monitor is UNSET else monitor_of(frontend.monitor),
    }


def _bind(bind: Bind) -> Bind:
    address = parse_bind(bind.address)
    proxies = bind.accept_proxy if bind.accept_proxy is UNSET else accept_proxy_of(bind.accept_proxy)
    return replace(bind, address=str(address), name=bind_name(bind, address), accept_proxy=proxies)


def _backend(backend: Backend, defaults: Defaults, mode: str, groups: Groups) -> Backend:
    timeouts, inherited = backend.timeouts, defaults.timeouts
    mode = said(backend.mode, mode)
    is_http = mode == "http"
    closing: ServerConnection = "keep-alive" if defaults.http_connection == "keep-alive" else "server-close"
    is_udp = mode == "udp"
    backend = replace(backend, mode=mode)
    return replace(
        backend,
        mode=mode,
        balance=_balance(balance_of(backend.balance)),
        send_proxy=send_proxy_of(backend.send_proxy) or "off",
        servers=tuple(_server(server_of(each), backend, is_http) for each in backend.servers),
        timeouts=BackendTimeouts(
            connect=UNSET if is_udp else said(timeouts.connect, inherited.connect),
            server=said(timeouts.server, inherited.server),
            tunnel=UNSET if is_udp else said(timeouts.tunnel, inherited.tunnel),
            check=inherited.check if timeouts.check is UNSET else timeouts.check,
            server_fin=timeouts.server_fin
            if inherited.server_fin is UNSET or is_udp
            else said(timeouts.server_fin, inherited.server_fin),
            tarpit=_tarpit(timeouts.tarpit, inherited) if mode == "http" else UNSET,
        ),
        check=backend_check(backend),
        errors=pages_of(backend, defaults, groups) if is_http else backend.errors,
        errorfiles=() if is_http else backend.errorfiles,
        retries=defaults.retries if backend.retries is UNSET else backend.retries,
        http_reuse=_or(backend.http_reuse, defaults.http_reuse) if is_http else UNSET,
        http_connection=_or(backend.http_connection, closing) if is_http else UNSET,
        pool=_pool(backend.pool) if is_http else backend.pool,
    )


def _pool(pool: Pool) -> Pool:
    return replace(pool, idle_timeout=_or(pool.idle_timeout, IDLE_TIMEOUT))


def _balance(balance: Balance) -> Balance:
    if balance.algorithm == "random":
        return replace(balance, draws=DRAWS if balance.draws is UNSET else balance.draws)
    if balance.algorithm not in HASHED:
        return balance
    kind = "map-based" if balance.type is UNSET else balance.type
    mixed = kind != "map-based" and balance.hash is UNSET
    return replace(
        balance,
        type=kind,
        hash="sdbm" if balance.hash is UNSET else balance.hash,
        avalanche=mixed if balance.avalanche is UNSET else balance.avalanche,
        points="name" if kind == "consistent" and balance.points is UNSET else balance.points,
    )


def _server(server: Server, backend: Backend, is_http: bool) -> Server:
    address = parse_server(server.address)
    is_ip = address.family in (Family.IPV4, Family.IPV6, Family.NAME)
    sent = backend.send_proxy if server.send_proxy is UNSET else server.send_proxy
    return replace(
        server_health(server, backend),
        address=str(address),
        name=server_name(server, address),
        send_proxy=send_proxy_of(sent) or "off",
        pool=_server_pool(server.pool, _pool(backend.pool)) if is_http else server.pool,
        source=_or(server.source, backend.source) if is_ip else UNSET,
        interface=_or(server.interface, backend.interface) if is_ip else UNSET,
        tfo=_or(server.tfo, backend.tfo) if is_ip else UNSET,
        mss=_or(server.mss, backend.mss) if is_ip else UNSET,
        user_timeout=_or(server.user_timeout, backend.user_timeout) if is_ip else UNSET,
        tcp_keepalive=_or(server.tcp_keepalive, backend.tcp_keepalive) if is_ip else UNSET,
    )


def _server_pool(given: Pool | UnsetType, inherited: Pool) -> Pool:
    pool = Pool() if given is UNSET else given
    return Pool(
        max_idle=_or(pool.max_idle, inherited.max_idle),
        idle_timeout=_or(pool.idle_timeout, inherited.idle_timeout),
        max_requests=_or(pool.max_requests, inherited.max_requests),
        max_age=_or(pool.max_age, inherited.max_age),
    )
