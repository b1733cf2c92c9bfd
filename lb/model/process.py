"""What concerns the whole process: the section ``global``."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Connections, Duration, Mode, Text

WORKERS_MAX = 64


class Admin(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The admin socket: HAProxy's Runtime API on a unix socket."""

    path: Annotated[Text, Meta(description="Path of the unix socket.", examples=["/run/lb/admin.sock"])]
    mode: Annotated[Mode, Meta(description="Permissions of the socket: octal digits in quotes.", examples=["0660"])] = (
        "0600"
    )
    level: Annotated[
        Literal["user", "operator", "admin"],
        Meta(
            description="What one who connects may do: `user` reads, `operator` also resets counters, `admin` does everything.",
            extra={"noun": "level"},
        ),
    ] = "admin"


class Log(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One target of the access log."""

    to: Annotated[
        Text,
        Meta(
            description="`stdout`, `stderr` or the absolute path of a file, which SIGUSR1 reopens.",
            examples=["stdout", "/var/log/lb/access.log"],
        ),
    ]
    format: Annotated[
        Literal["json", "haproxy"],
        Meta(
            description="`json`: one object a line. `haproxy`: HAProxy's `httplog` line for frontends of mode http, "
            "its `tcplog` line for mode tcp.",
            extra={"noun": "log format"},
        ),
    ] = "json"


class Global(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What concerns the whole process."""

    workers: Annotated[
        Annotated[int, Meta(ge=0, le=WORKERS_MAX)] | Literal["auto"],
        Meta(
            description="Number of worker processes. `auto` is one per usable core; 0 runs the data plane inside the calling "
            "process (for embedding and tests: nothing then keeps the control plane from delaying traffic).",
            extra={"kind": "workers"},
        ),
    ] = "auto"
    maxconn: Annotated[
        Connections | UnsetType,
        Meta(
            description="Client connections of all workers together. Above it accepting pauses and connections wait in the kernel. "
            "Without it the limit on descriptors decides."
        ),
    ] = UNSET
    grace: Annotated[
        Duration,
        Meta(
            description="How long SIGTERM waits for running requests and connections before it ends them.",
            examples=["30s"],
        ),
    ] = "30s"
    admin: Annotated[
        Admin | UnsetType,
        Meta(
            description="The admin socket. `lb reload`, `lb stats` and `lb ctl` talk to it; without it there is none."
        ),
    ] = UNSET
    log: Annotated[
        tuple[Log, ...],
        Meta(
            description="Targets of the access log; `[]` writes none.",
            extra={"kind": "list", "item": "{to: stdout, format: json}"},
        ),
    ] = (Log(to="stdout"),)
