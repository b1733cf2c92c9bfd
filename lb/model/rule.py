"""Rules: conditions and actions, in HAProxy's language.

A rule has one action and at most one of `if` and `unless`. Values that name a format may hold `%[expression]`.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from lb.model.answer import Deny, Return, Status
from lb.model.capture import RuleCapture
from lb.model.kinds import Duration, Name, Size, Text

Condition = Annotated[Text, Meta(extra={"kind": "text"})]
Acl = Text | tuple[Text, ...]

Track = Annotated[int, Meta(ge=0, le=2)]

# How many they are is said by lb/config/actions, in better words.
_NUMBERS = Meta(extra={"kind": "list", "item": "number"})
_VALUES = Meta(extra={"kind": "list", "item": "number or expression"})
_MAP_KEY = Meta(min_length=2, max_length=2, extra={"kind": "list", "item": "file, format"})
_MAP_VALUE = Meta(min_length=3, max_length=3, extra={"kind": "list", "item": "file, format, format"})
_PAIR = Meta(min_length=2, max_length=2, extra={"kind": "list", "item": "name, format"})
_FIELD = Meta(min_length=3, max_length=3, extra={"kind": "list", "item": "name, regular expression, format"})
_REPLACE = Meta(min_length=2, max_length=2, extra={"kind": "list", "item": "regular expression, format"})


class RuleRedirect(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Send the client elsewhere. A string is short for `{location: ...}`."""

    location: Annotated[Text | UnsetType, Meta(description="The whole new address, a format.")] = UNSET
    prefix: Annotated[
        Text | UnsetType, Meta(description="A format that the request's path and query are put behind.")
    ] = UNSET
    scheme: Annotated[
        Text | UnsetType, Meta(description="The same address with another scheme.", examples=["https"])
    ] = UNSET
    drop_query: Annotated[bool, Meta(description="For `prefix` and `scheme`: leave the query out.")] = False
    keep_query: Annotated[bool, Meta(description="For `location`: put the request's query behind it.")] = False
    append_slash: Annotated[
        bool, Meta(description="For `prefix` with `drop_query`: a `/` behind a path that does not end with one.")
    ] = False
    ignore_empty: Annotated[
        bool, Meta(description="For `location`: when it turns out empty, the rule is passed over.")
    ] = False
    set_cookie: Annotated[
        Text | UnsetType, Meta(description="`NAME` or `NAME=value`: a cookie that the answer sets for `/`.")
    ] = UNSET
    clear_cookie: Annotated[
        Text | UnsetType, Meta(description="`NAME`: a cookie that the answer deletes.", examples=["session"])
    ] = UNSET
    code: Annotated[Annotated[int, Meta(ge=301, le=308)], Meta(description="301, 302, 303, 307 or 308.")] = 302


class SetStatus(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another status of a response. A number is short for `{status: ...}`."""

    status: Annotated[Status, Meta(description="The new status.")]
    reason: Annotated[str | UnsetType, Meta(description="Its reason phrase; the usual one if not given.")] = UNSET


LogLevel = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "silent"]


class SetTimeout(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Other timeouts of one stream: each a duration, or an expression of milliseconds."""

    client: Annotated[Text | UnsetType, Meta(description="Instead of `timeouts.client`.", examples=["5s"])] = UNSET
    server: Annotated[
        Text | UnsetType, Meta(description="Instead of `timeouts.server`.", examples=["req.hdr(x-patience)"])
    ] = UNSET
    tunnel: Annotated[Text | UnsetType, Meta(description="Instead of `timeouts.tunnel`.")] = UNSET


class WaitForBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Wait for the request's body. A duration is short for `{time: ...}`."""

    time: Annotated[Duration, Meta(description="The longest wait; then 408.", examples=["5s"])]
    at_least: Annotated[
        Size, Meta(description="So much of it is enough, at most 15,360 bytes; `0` is all of it, or what has room.")
    ] = "0"


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule: one action, and when. Rules are looked at in order."""

    if_: Annotated[
        Condition | UnsetType, Meta(description="Only when this holds.", examples=["{ path_beg /api } !internal"])
    ] = field(name="if", default=UNSET)
    unless: Annotated[Condition | UnsetType, Meta(description="Only when this does not hold.")] = UNSET
    allow: Annotated[bool | UnsetType, Meta(description="`true`: no more rules of this list.")] = UNSET
    accept: Annotated[
        bool | UnsetType,
        Meta(description="`true`: no more rules of this list (rules for connections, sessions, contents)."),
    ] = UNSET
    deny: Annotated[
        bool | Status | Deny | UnsetType,
        Meta(description="Answer with this error instead; `true` is 403. For responses 502."),
    ] = UNSET
    reject: Annotated[bool | UnsetType, Meta(description="`true`: close the connection without an answer.")] = UNSET
    tarpit: Annotated[
        bool | Status | Deny | UnsetType,
        Meta(description="Hold the request for `timeouts.tarpit`, then answer with this error; `true` is 500."),
    ] = UNSET
    return_: Annotated[Status | Return | UnsetType, Meta(description="Answer from here.")] = field(
        name="return", default=UNSET
    )
    redirect: Annotated[Text | RuleRedirect | UnsetType, Meta(description="Send the client elsewhere.")] = UNSET
    set_header: Annotated[
        Annotated[tuple[str, ...], _PAIR] | UnsetType,
        Meta(description="Name and format: the field has this value and no other.", examples=[["x-real-ip", "%[src]"]]),
    ] = UNSET
    add_header: Annotated[
        Annotated[tuple[str, ...], _PAIR] | UnsetType,
        Meta(description="Name and format: one more field."),
    ] = UNSET
    del_header: Annotated[Text | UnsetType, Meta(description="Name: all fields of it go.")] = UNSET
    set_method: Annotated[Text | UnsetType, Meta(description="Another method, a format.")] = UNSET
    set_path: Annotated[Text | UnsetType, Meta(description="Another path, a format; the query stays.")] = UNSET
    set_pathq: Annotated[Text | UnsetType, Meta(description="Another path and query, a format.")] = UNSET
    set_query: Annotated[
        str | UnsetType, Meta(description="Another query without `?`, a format; empty removes it.")
    ] = UNSET
    set_uri: Annotated[
        Text | UnsetType,
        Meta(
            description="Another target, a format: path and query, or a whole address whose host becomes Host.",
            examples=["http://%[req.hdr(host),lower]%[pathq]"],
        ),
    ] = UNSET
    replace_header: Annotated[
        Annotated[tuple[str, ...], _FIELD] | UnsetType,
        Meta(
            description="Name, regular expression, format: each field of this name that matches has this value instead; "
            "`\\0` to `\\9` in it are the match and its groups.",
            examples=[["cookie", "foo=([^;]*);(.*)", "foo=\\1;ip=%[src];\\2"]],
        ),
    ] = UNSET
    replace_value: Annotated[
        Annotated[tuple[str, ...], _FIELD] | UnsetType,
        Meta(
            description="The same for each element of comma-separated values.",
            examples=[["x-forwarded-for", "192.168.(.*)", "172.16.\\1"]],
        ),
    ] = UNSET
    replace_path: Annotated[
        Annotated[tuple[str, ...], _REPLACE] | UnsetType,
        Meta(
            description="Regular expression and format: a path that matches becomes this; the query stays.",
            examples=[["/v1/(.*)", "/\\1"]],
        ),
    ] = UNSET
    replace_pathq: Annotated[
        Annotated[tuple[str, ...], _REPLACE] | UnsetType,
        Meta(
            description="The same for path and query together.",
            examples=[["([^?]*)(.*)", "\\1/end\\2"]],
        ),
    ] = UNSET
    replace_uri: Annotated[
        Annotated[tuple[str, ...], _REPLACE] | UnsetType,
        Meta(
            description="The same for the whole target, which may be an absolute one.",
            examples=[["https?://[^/]*(/.*)", "\\1"]],
        ),
    ] = UNSET
    normalize_uri: Annotated[
        Text | UnsetType,
        Meta(
            description="One normalizer of the target: `path-merge-slashes`, `path-strip-dot`, `path-strip-dotdot [full]`, "
            "`percent-decode-unreserved [strict]`, `percent-to-uppercase [strict]`, `query-sort-by-name`, `fragment-strip`, "
            "`fragment-encode`.",
            examples=["path-strip-dotdot full"],
        ),
    ] = UNSET
    set_status: Annotated[Status | SetStatus | UnsetType, Meta(description="Another status of the response.")] = UNSET
    set_var: Annotated[
        Annotated[tuple[str, ...], Meta(min_length=2, max_length=2, extra={"kind": "list", "item": "name, expression"})]
        | UnsetType,
        Meta(
            description="Variable and expression: the variable has this value. Conditions may follow the name: `txn.a,ifset`.",
            examples=[["txn.client", "src"]],
        ),
    ] = UNSET
    set_var_fmt: Annotated[
        Annotated[tuple[str, ...], _PAIR] | UnsetType,
        Meta(
            description="Variable and format: the variable is this text.", examples=[["txn.who", "%[src]:%[src_port]"]]
        ),
    ] = UNSET
    capture: Annotated[
        RuleCapture | UnsetType,
        Meta(
            description="Keep a value for the log: in a slot of its own, or in one that `captures` declares.",
            examples=[{"expression": "req.cook(session)", "len": 40}],
        ),
    ] = UNSET
    unset_var: Annotated[Text | UnsetType, Meta(description="Variable: it has no value any more.")] = UNSET
    set_map: Annotated[
        Annotated[tuple[str, ...], _MAP_VALUE] | UnsetType,
        Meta(
            description="Give a key of a map this value, at once and for all workers: the file, formats of the key and the value.",
            examples=[["seen.map", "%[src]", "%[req.hdr(user-agent)]"]],
        ),
    ] = UNSET
    del_map: Annotated[
        Annotated[tuple[str, ...], _MAP_KEY] | UnsetType,
        Meta(description="Remove a key from a map: the file, and a format of the key."),
    ] = UNSET
    add_acl: Annotated[
        Annotated[tuple[str, ...], _MAP_KEY] | UnsetType,
        Meta(
            description="Add a pattern to an ACL file, if it is not there: the file, and a format of the pattern.",
            examples=[["banned.acl", "%[src]"]],
        ),
    ] = UNSET
    del_acl: Annotated[
        Annotated[tuple[str, ...], _MAP_KEY] | UnsetType,
        Meta(description="Remove a pattern from an ACL file: the file, and a format of the pattern."),
    ] = UNSET
    track: Annotated[
        Text | UnsetType,
        Meta(
            description="Count this request, until it ends, in a stick table: the expression of the key.",
            examples=["src"],
        ),
    ] = UNSET
    expect_proxy: Annotated[
        Literal["layer4"] | UnsetType,
        Meta(description="`layer4`: the connection has to begin with a PROXY header, which tells who the client is."),
    ] = UNSET
    wait_for_body: Annotated[
        Text | WaitForBody | UnsetType,
        Meta(description="Go on when the request's body is here.", examples=["5s", "{time: 5s, at_least: 100}"]),
    ] = UNSET
    table: Annotated[Name | UnsetType, Meta(description="With `track`: the table.")] = UNSET
    as_: Annotated[
        Annotated[int, Meta(ge=0, le=2)] | UnsetType,
        Meta(description="With `track`: 0, 1 or 2, by which `sc_...` fetches name it; 0 if not given."),
    ] = field(name="as", default=UNSET)
    sc_inc_gpc: Annotated[
        Annotated[tuple[int, ...], _NUMBERS] | UnsetType,
        Meta(
            description="[number, track]: count one in a counter of the array `gpc` of a tracked key.",
            examples=[[0, 1]],
        ),
    ] = UNSET
    sc_inc_gpc0: Annotated[Track | UnsetType, Meta(description="Count one in `gpc0` of a tracked key.")] = UNSET
    sc_inc_gpc1: Annotated[Track | UnsetType, Meta(description="Count one in `gpc1` of a tracked key.")] = UNSET
    sc_add_gpc: Annotated[
        Annotated[tuple[int | Text, ...], _VALUES] | UnsetType,
        Meta(
            description="[number, track, value]: add a number, or what an expression gives, to a counter of the array `gpc`.",
            examples=[[0, 0, "req.hdr_val(x-cost)"]],
        ),
    ] = UNSET
    sc_set_gpt: Annotated[
        Annotated[tuple[int | Text, ...], _VALUES] | UnsetType,
        Meta(description="[number, track, value]: mark a tracked key in the array `gpt`.", examples=[[0, 0, 1]]),
    ] = UNSET
    sc_set_gpt0: Annotated[
        Annotated[tuple[int | Text, ...], _VALUES] | UnsetType,
        Meta(description="[track, value]: mark a tracked key in `gpt0`.", examples=[[0, "rand(100)"]]),
    ] = UNSET
    use_backend: Annotated[
        Text | UnsetType,
        Meta(
            description="The backend, whatever routes say; a format may make its name, and one that no backend has is "
            "`default_backend`.",
            examples=["app", "%[req.hdr(host),lower,word(1,.)]"],
        ),
    ] = UNSET
    use_server: Annotated[
        Text | UnsetType,
        Meta(
            description="The server of this backend, if it is up, whatever `balance` says; a format may make its name."
        ),
    ] = UNSET
    auth: Annotated[
        bool | Text | UnsetType,
        Meta(
            description="Ask the client for a user and password (401, Basic): the realm that he is shown; `true` is the name of "
            "the frontend or backend.",
            examples=["Staff only"],
        ),
    ] = UNSET
    silent_drop: Annotated[
        bool | UnsetType, Meta(description="`true`: forget the connection without telling the client.")
    ] = UNSET
    set_log_level: Annotated[
        LogLevel | UnsetType,
        Meta(description="Severity of this stream's log records; `silent`: no record.", extra={"noun": "severity"}),
    ] = UNSET
    set_timeout: Annotated[SetTimeout | UnsetType, Meta(description="Other timeouts of this stream.")] = UNSET
    set_src: Annotated[
        Text | UnsetType,
        Meta(
            description="Who the client is from here on: an expression of an address.",
            examples=["req.hdr_ip(x-real-ip)"],
        ),
    ] = UNSET
    set_src_port: Annotated[
        Text | UnsetType, Meta(description="And his port: an expression of a number.", examples=["int(0)"])
    ] = UNSET
    set_dst: Annotated[
        Text | UnsetType,
        Meta(description="Where the client connected to: an expression of an address.", examples=["req.hdr_ip(x-dst)"]),
    ] = UNSET
    set_dst_port: Annotated[
        Text | UnsetType, Meta(description="And to which port: an expression of a number.", examples=["int(443)"])
    ] = UNSET
    early_hint: Annotated[
        Annotated[tuple[str, ...], _PAIR] | UnsetType,
        Meta(
            description="Name and format of a field of an interim answer (103), sent before the request goes on.",
            examples=[["link", "</style.css>; rel=preload"]],
        ),
    ] = UNSET
    pause: Annotated[
        Text | UnsetType,
        Meta(
            description="Wait so long before the next rule: a duration, or an expression of milliseconds.",
            examples=["1s"],
        ),
    ] = UNSET
    set_fc_mark: Annotated[
        int | Text | UnsetType,
        Meta(description="Mark of the client's connection for the kernel's routing and filters; needs CAP_NET_ADMIN."),
    ] = UNSET
    set_fc_tos: Annotated[
        int | Text | UnsetType, Meta(description="TOS or traffic class of packets to the client.", examples=[16])
    ] = UNSET
    strict_mode: Annotated[
        bool | UnsetType,
        Meta(description="`false`: from here on an edit that is not possible is left out, not answered with 500."),
    ] = UNSET
