"""Rules: conditions and actions, in HAProxy's language.

A rule has one action and at most one of `if` and `unless`. Values that name a format may hold `%[expression]`.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from lb.model.kinds import Name, Text

Status = Annotated[int, Meta(ge=200, le=599)]
Condition = Annotated[Text, Meta(extra={"kind": "text"})]
Acl = Text | tuple[Text, ...]

_PAIR = Meta(min_length=2, max_length=2, extra={"kind": "list", "item": "name, format"})


class Return(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An answer made here. A number is short for `{status: ...}`."""

    status: Annotated[Status, Meta(description="Status of the answer.")] = 200
    content_type: Annotated[Text | UnsetType, Meta(description="Content-Type; `text/plain` if there is a body.")] = (
        UNSET
    )
    body: Annotated[str | UnsetType, Meta(description="The body, a format of at most 8,192 bytes when written.")] = (
        UNSET
    )
    headers: Annotated[dict[str, str], Meta(description="Fields of the answer: name and format.")] = {}


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
    code: Annotated[Annotated[int, Meta(ge=301, le=308)], Meta(description="301, 302, 303, 307 or 308.")] = 302


class SetStatus(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another status of a response. A number is short for `{status: ...}`."""

    status: Annotated[Status, Meta(description="The new status.")]
    reason: Annotated[str | UnsetType, Meta(description="Its reason phrase; the usual one if not given.")] = UNSET


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule: one action, and when. Rules are looked at in order."""

    if_: Annotated[
        Condition | UnsetType, Meta(description="Only when this holds.", examples=["{ path_beg /api } !internal"])
    ] = field(name="if", default=UNSET)
    unless: Annotated[Condition | UnsetType, Meta(description="Only when this does not hold.")] = UNSET
    allow: Annotated[bool | UnsetType, Meta(description="`true`: no more rules of this list.")] = UNSET
    deny: Annotated[
        bool | Status | UnsetType,
        Meta(description="Answer with this error status instead; `true` is 403. For responses 502."),
    ] = UNSET
    reject: Annotated[bool | UnsetType, Meta(description="`true`: close the connection without an answer.")] = UNSET
    tarpit: Annotated[
        bool | Status | UnsetType,
        Meta(description="Hold the request for `timeouts.tarpit`, then answer with this error status; `true` is 500."),
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
    unset_var: Annotated[Text | UnsetType, Meta(description="Variable: it has no value any more.")] = UNSET
    track: Annotated[
        Text | UnsetType,
        Meta(
            description="Count this request, until it ends, in a stick table: the expression of the key.",
            examples=["src"],
        ),
    ] = UNSET
    table: Annotated[Name | UnsetType, Meta(description="With `track`: the table.")] = UNSET
    as_: Annotated[
        Annotated[int, Meta(ge=0, le=2)] | UnsetType,
        Meta(description="With `track`: 0, 1 or 2, by which `sc_...` fetches name it; 0 if not given."),
    ] = field(name="as", default=UNSET)
    use_backend: Annotated[
        Name | UnsetType,
        Meta(description="The backend, whatever routes say.", extra={"kind": "backend"}),
    ] = UNSET
