"""What concerns the whole process: the section ``global``."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Connections, Duration, Mode, Tag, Text

WORKERS_MAX = 64

# HAProxy's words (manual 4.2, `log`); the place in the list is the number in RFC 5424 6.2.1.
Facility = Literal[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news",
    "uucp", "cron", "auth2", "ftp", "ntp", "audit", "alert", "cron2",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip
Severity = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]


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


class HttpAdmin(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP admin: metrics, health, the statistics page, figures as JSON."""

    address: Annotated[
        Text,
        Meta(
            description="IP address and port to listen on; a loopback address unless others may read it.",
            examples=["127.0.0.1:8404", "[::1]:8404"],
        ),
    ]
    token: Annotated[
        Text | UnsetType,
        Meta(
            description="Where the token stands that changes need, such as a reload: `env:NAME` or `file:PATH`; a relative "
            "path begins at the configuration's folder. Without it nothing can be changed.",
            examples=["env:LB_TOKEN", "file:/etc/lb/token"],
        ),
    ] = UNSET


class Log(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One target of the access log."""

    to: Annotated[
        Text,
        Meta(
            description="`stdout`, `stderr`, the absolute path of a file, which SIGUSR1 reopens, `journald` (its native "
            "protocol), or a syslog server: `udp:ADDRESS:PORT`, `tcp:ADDRESS:PORT` (octet counting), `unix:PATH` (datagrams).",
            examples=[
                "stdout",
                "/var/log/lb/access.log",
                "journald",
                "udp:127.0.0.1:514",
                "tcp:[::1]:601",
                "unix:/dev/log",
            ],
        ),
    ]
    format: Annotated[
        Literal["json", "haproxy"],
        Meta(
            description="`json`: one object a line. `haproxy`: HAProxy's `httplog` line for frontends of mode http, "
            "its `tcplog` line for mode tcp, or what `log_format` of the frontend says.",
            extra={"noun": "log format"},
        ),
    ] = "json"
    log_format: Annotated[
        Text | UnsetType,
        Meta(
            description="The line of this target, whatever frontends say: a text in HAProxy's `log-format` language, or `http`, "
            "`tcp`, `clf` for its `httplog`, `tcplog`, `httplog clf`.",
            examples=["%ci [%tr] %{+Q}r %ST %B", "clf"],
        ),
    ] = UNSET
    fields: Annotated[
        tuple[Text | dict[str, Text], ...] | UnsetType,
        Meta(
            description="With `format: json`: the keys of a record in this order. `{name: what}` gives a key another name; `what` "
            "is a key of the usual record or a text in HAProxy's `log-format` language.",
            extra={"item": '"status", {uri: "%HU"}'},
        ),
    ] = UNSET
    sample: Annotated[
        Text | UnsetType,
        Meta(
            description="Which records are written: a part such as `10%`, or HAProxy's `ranges:size`, such as `1-3,5:10`. Each "
            "worker counts for itself.",
            examples=["10%", "1:100"],
        ),
    ] = UNSET
    level: Annotated[
        Severity | UnsetType,
        Meta(
            description="Write only records of this severity or a graver one. Failures have the severity `err` where a frontend "
            "says `log: {separate_errors: true}`, all others `severity`.",
            extra={"noun": "severity"},
        ),
    ] = UNSET
    min_level: Annotated[
        Severity | UnsetType,
        Meta(
            description="Graver records are sent with this severity (syslog and journald).", extra={"noun": "severity"}
        ),
    ] = UNSET
    syslog: Annotated[
        Literal["local", "rfc3164", "rfc5424"] | UnsetType,
        Meta(
            description="Header of syslog messages. `local` is `rfc3164` without the host name, which daemons on the same "
            "machine expect. Without it: `local` for `unix:`, `rfc3164` for `udp:` and `tcp:`.",
            extra={"noun": "syslog header"},
        ),
    ] = UNSET
    facility: Annotated[
        Facility | UnsetType,
        Meta(description="Syslog facility; `local0` if not given.", extra={"noun": "facility"}),
    ] = UNSET
    severity: Annotated[
        Severity | UnsetType,
        Meta(
            description="Severity of access records, in HAProxy's words; `info` if not given.",
            extra={"noun": "severity"},
        ),
    ] = UNSET
    tag: Annotated[
        Tag | UnsetType,
        Meta(description="Who sends the syslog messages; `lb` if not given.", examples=["edge"]),
    ] = UNSET


class ErrorLog(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One target of what lb itself says. A string is short for `{to: ...}`."""

    to: Annotated[
        Text,
        Meta(
            description="Where it goes: as in `log`.",
            examples=["stderr", "/var/log/lb/error.log", "journald", "unix:/dev/log"],
        ),
    ]
    level: Annotated[
        Severity | UnsetType,
        Meta(description="Write only lines of this severity or a graver one.", extra={"noun": "severity"}),
    ] = UNSET
    syslog: Annotated[
        Literal["local", "rfc3164", "rfc5424"] | UnsetType,
        Meta(description="Header of syslog messages: as in `log`.", extra={"noun": "syslog header"}),
    ] = UNSET
    facility: Annotated[
        Facility | UnsetType,
        Meta(description="Syslog facility; `daemon` if not given.", extra={"noun": "facility"}),
    ] = UNSET
    tag: Annotated[
        Tag | UnsetType,
        Meta(description="Who sends the messages; `lb` if not given.", examples=["edge"]),
    ] = UNSET


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
    max_idle: Annotated[
        Connections | UnsetType,
        Meta(
            description="Idle server connections of all workers together. Whatever it says, a worker keeps at most a quarter of "
            "its descriptors for them."
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
    http: Annotated[
        HttpAdmin | UnsetType,
        Meta(description="The HTTP admin; without it there is none."),
    ] = UNSET
    set_var: Annotated[
        dict[Text, Text],
        Meta(
            description="Variables of the process and the expressions of their first values; one that has a value keeps it.",
            examples=[{"proc.limit": "int(100)"}],
        ),
    ] = {}
    set_var_fmt: Annotated[
        dict[Text, Text],
        Meta(description="The same with formats.", examples=[{"proc.site": "edge-%[hostname]"}]),
    ] = {}
    spread_checks: Annotated[
        Annotated[int, Meta(ge=0, le=50)],
        Meta(
            description="Health checks come up to this percentage sooner or later than their `every`, so that they do not come "
            "in bursts."
        ),
    ] = 5
    log: Annotated[
        tuple[Log, ...],
        Meta(
            description="Targets of the access log; `[]` writes none.",
            extra={"kind": "list", "item": "{to: stdout, format: json}"},
        ),
    ] = (Log(to="stdout"),)
    error_log: Annotated[
        tuple[Annotated[Text, Meta(extra={"kind": "error_log"})] | ErrorLog, ...] | UnsetType,
        Meta(
            description="Targets of what lb itself says: starts, reloads, servers, errors. `stderr` if not given; `[]` says "
            "nothing once lb has started.",
            extra={"kind": "list", "item": "stderr, {to: /var/log/lb/error.log}"},
        ),
    ] = UNSET
