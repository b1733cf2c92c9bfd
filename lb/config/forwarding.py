"""What a frontend forwards, as rows for the plan image (forwarding_t and monitor_t of policy/plan.pxd)."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import UNSET

from lb.config.netset import NetsetRow, netset
from lb.model import Frontend
from lb.model.forwarding import Monitor as MonitorModel
from lb.model.forwarding import (
    client_header,
    forwarded_for_of,
    forwarded_of,
    monitor_of,
    request_id_of,
    via_of,
    x_forwarded_of,
)

# Numbers of plan.pxd.
STRIP, FOR, FORWARDED, PROTO, HOST, PORT, REAL_IP, ID = range(8)
REPLACE = 1 << 0
IF_NONE = 1 << 1
CLIENT = 1 << 2
RFC7239 = 1 << 3
WITH_PROTO = 1 << 4
WITH_HOST = 1 << 5
VIA_REQUEST = 1 << 6
VIA_RESPONSE = 1 << 7
LOOPS = 1 << 8
ID_ANY = 1 << 9
ID_NEVER = 1 << 10
ID_RESPONSE = 1 << 11
NODES = {"none": 0, "address": 1, "address_port": 2}
NODE_TEXT = 3
ID_FORMATS = {"hex32": 0, "uuid4": 1, "uuid7": 2}

# Numbers of proto/message.pxd.
KNOWN_NAMES = {"x-forwarded-for": 14, "x-request-id": 15}

USUAL = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-By",
    "X-Forwarded-Prefix",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Real-IP",
)
"""What `trusted_proxies` keeps from servers when nobody trusted has sent it."""


class FieldRow(NamedTuple):
    """One forward_field_t."""

    name: bytes
    key: bytes
    kind: int
    id: int


class ForwardingRow(NamedTuple):
    """One forwarding_t."""

    fields: list[FieldRow]  # those that are written first, by kind
    written: int
    flags: int
    trusted: NetsetRow = NetsetRow()
    excepted: NetsetRow = NetsetRow()
    client: bytes = b""
    via: bytes = b""
    by_text: bytes = b""
    for_text: bytes = b""
    id_name: bytes = b""
    by: int = 0
    for_: int = 0
    id_format: int = 0

    @property
    def marks_response(self) -> bool:
        """Tell whether something is added to responses."""
        return bool(self.flags & (VIA_RESPONSE | ID_RESPONSE))


class MonitorRow(NamedTuple):
    """One monitor_t."""

    path: bytes
    needs: list[tuple[int, int]]  # index of a backend, usable servers


def forwarding_row(frontend: Frontend) -> ForwardingRow | None:
    """Return what an effective frontend of mode http forwards, None for nothing."""
    row = ForwardingRow([], 0, 0)
    names: dict[int, str] = {}
    flags = 0
    forwarded_for = forwarded_for_of(frontend.forwarded_for or False)
    if forwarded_for is not None:
        names[FOR] = forwarded_for.name
        flags |= {"append": 0, "replace": REPLACE, "if_none": IF_NONE}[forwarded_for.mode]
        row = row._replace(excepted=netset(forwarded_for.except_))
    forwarded = forwarded_of(frontend.forwarded or False)
    if forwarded is not None:
        names[FORWARDED] = "Forwarded"
        flags |= (WITH_PROTO if forwarded.proto else 0) | (WITH_HOST if forwarded.host else 0)
        by, for_ = _node(forwarded.by), _node(forwarded.for_)
        row = row._replace(by=by[0], by_text=by[1], for_=for_[0], for_text=for_[1])
    x_forwarded = x_forwarded_of(() if frontend.x_forwarded is UNSET else frontend.x_forwarded)
    for kind, name in (
        (PROTO, x_forwarded.proto),
        (HOST, x_forwarded.host),
        (PORT, x_forwarded.port),
        (REAL_IP, x_forwarded.real_ip),
    ):
        if name is not UNSET:
            names[kind] = name
    request_id = request_id_of(frontend.request_id or False)
    if request_id is not None:
        names[ID] = request_id.name
        flags |= {"trusted": 0, "any": ID_ANY, "never": ID_NEVER}[request_id.accept]
        flags |= ID_RESPONSE if request_id.response else 0
        row = row._replace(id_name=request_id.name.encode(), id_format=ID_FORMATS[request_id.format])
    via = via_of(frontend.via or False)
    if via is not None:
        flags |= (VIA_REQUEST if via.request else 0) | (VIA_RESPONSE if via.response else 0)
        flags |= LOOPS if via.refuse_loops else 0
        row = row._replace(via=via.name.encode())
    header = client_header(frontend.client_address or False).lower()
    if header:
        flags |= CLIENT | (RFC7239 if header == "forwarded" else 0)
        row = row._replace(client=header.encode())
    strips: list[str] = []
    if frontend.trusted_proxies is not UNSET:
        row = row._replace(trusted=netset(frontend.trusted_proxies))
        taken = {name.lower() for name in names.values()}
        usual = dict.fromkeys(each.lower() for each in (*USUAL, header) if each)
        strips = [each for each in usual if each not in taken]
    if not (names or strips or flags):
        return None
    fields = [_field(name, kind) for kind, name in sorted(names.items())]
    return row._replace(fields=fields + [_field(each, STRIP) for each in strips], written=len(fields), flags=flags)


def monitor_row(given: str | MonitorModel, backends: Mapping[str, int]) -> MonitorRow:
    """Return a frontend's monitor; `backends` are their indices."""
    monitor = monitor_of(given)
    return MonitorRow(monitor.path.encode(), [(backends[name], least) for name, least in monitor.fail_below.items()])


def _field(name: str, kind: int) -> FieldRow:
    key = name.lower()
    return FieldRow(name.encode(), key.encode(), kind, KNOWN_NAMES.get(key, 0))


def _node(text: str) -> tuple[int, bytes]:
    return (NODES[text], b"") if text in NODES else (NODE_TEXT, text.encode())
