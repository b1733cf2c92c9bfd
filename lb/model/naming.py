"""Names of what has no name of its own, and the long form of what was written short."""

import re

from msgspec import UNSET, UnsetType

from lb.model.address import Address, Family
from lb.model.backend import Algorithm, Balance, Server
from lb.model.check import Check, Kind
from lb.model.frontend import Bind
from lb.model.kinds import NAME_MAX
from lb.model.proxy import AcceptProxy, Sending, SendProxy

_FOREIGN = re.compile(r"[^A-Za-z0-9_.:-]+")


def bind_of(given: str | Bind) -> Bind:
    """Return the long form of a bind."""
    return Bind(address=given) if isinstance(given, str) else given


def server_of(given: str | Server) -> Server:
    """Return the long form of a server."""
    return Server(address=given) if isinstance(given, str) else given


def balance_of(given: Algorithm | Balance) -> Balance:
    """Return the long form of a balance."""
    return Balance(algorithm=given) if isinstance(given, str) else given


def check_of(given: bool | Kind | Check | UnsetType) -> Check | None:
    """Return the long form of a check; None for no check, or where nothing is said."""
    if isinstance(given, str):
        return Check(type=given)
    if isinstance(given, Check):
        return given
    return Check() if given is True else None


def accept_proxy_of(given: tuple[str, ...] | AcceptProxy) -> AcceptProxy:
    """Return the long form of what a bind accepts."""
    return AcceptProxy(from_=given) if isinstance(given, tuple) else given


def send_proxy_of(given: Sending | SendProxy) -> SendProxy | None:
    """Return the long form of what a backend or server sends, None for nothing."""
    if isinstance(given, SendProxy):
        return given
    return None if given == "off" else SendProxy(version=given)


def bind_name(bind: Bind, address: Address) -> str:
    """Return the name of a listener: its own, or one made from its address."""
    return _made(address) if bind.name is UNSET else bind.name


def server_name(server: Server, address: Address) -> str:
    """Return the name of a server: its own, or one made from its address."""
    return _made(address) if server.name is UNSET else server.name


def _made(address: Address) -> str:
    """Return an address as a name: without brackets, a path as its last part; the end of it if it is too long."""
    if address.family is Family.UNIX:
        text = address.path.rpartition("/")[2]
    elif address.family in (Family.ABNS, Family.ABNSZ):
        text = address.path
    elif address.family is Family.FD:
        text = f"fd:{address.name or address.fd}"
    elif address.host == "0.0.0.0":
        text = f":{address.port}"
    else:
        text = f"{address.host}:{address.port}"
    return _FOREIGN.sub("_", text)[-NAME_MAX:] or "unix"
