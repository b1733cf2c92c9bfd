"""Persistence: what brings a client back to the server it had."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from lb.model.kinds import Duration, Text, Unchecked

STICKS_MAX = 32
DOMAINS_MAX = 8

Condition = Text | tuple[Text, ...]


class PersistenceCookie(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cookie that names the server of a client, as HAProxy's `cookie` does it; servers have their values in `cookie`."""

    name: Annotated[Text, Meta(description="Name of the cookie.", examples=["SRV"])]
    mode: Annotated[
        Literal["insert", "rewrite", "prefix", "passive"],
        Meta(
            description="`insert`: lb sets the cookie. `rewrite`: the application sets it, and lb puts the server's value into it. "
            "`prefix`: the server's value and `~` stand in front of the application's own value. `passive`: the cookie is only "
            "read.",
            extra={"noun": "mode"},
        ),
    ] = "insert"
    indirect: Annotated[
        bool, Meta(description="Servers do not see the cookie, and it is set only when it must change.")
    ] = False
    nocache: Annotated[
        bool, Meta(description="Answers that get the cookie and could be cached are marked `Cache-Control: private`.")
    ] = False
    preserve: Annotated[
        bool, Meta(description="A server may set or delete the cookie itself; lb leaves that alone.")
    ] = False
    postonly: Annotated[bool, Meta(description="Set the cookie in answers to POST only.")] = False
    httponly: Annotated[bool, Meta(description="Keep the cookie from scripts (`HttpOnly`).")] = False
    secure: Annotated[bool, Meta(description="Have the cookie sent over TLS only (`Secure`).")] = False
    domain: Annotated[
        tuple[Text, ...],
        Meta(
            description="Domains of the cookie; without one only the host itself gets it back.",
            extra={"kind": "list", "item": ".example.com"},
        ),
    ] = ()
    max_idle: Annotated[
        Duration | UnsetType, Meta(description="Forget the server of a client that has stayed away for so long.")
    ] = UNSET
    max_life: Annotated[
        Duration | UnsetType, Meta(description="Forget the server of a client that was led to it for so long.")
    ] = UNSET
    attr: Annotated[
        tuple[Text, ...],
        Meta(
            description="Further attributes of the cookie, as they are written.",
            examples=["[SameSite=Lax]"],
            extra={"kind": "list", "item": "SameSite=Lax"},
        ),
    ] = ()


class Stick(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule of stickiness: one of `on`, `match`, `store_request` and `store_response`, each an expression of the key."""

    on: Annotated[
        Text | UnsetType,
        Meta(
            description="Look the key up, and remember the server when it has answered: `match` and `store_request` in one.",
            examples=["src"],
        ),
    ] = UNSET
    match: Annotated[Text | UnsetType, Meta(description="Lead to the server that the table has for this key.")] = UNSET
    store_request: Annotated[
        Text | UnsetType, Meta(description="Remember the server for a key of the request, when it has answered.")
    ] = UNSET
    store_response: Annotated[
        Text | UnsetType,
        Meta(
            description="Remember the server for a key of its answer.",
            examples=["res.cook(JSESSIONID)"],
        ),
    ] = UNSET
    table: Annotated[Unchecked, Meta(description="The stick table; it must store `server_id`.")]
    if_: Annotated[Text | UnsetType, Meta(description="Condition under which the rule holds.")] = field(
        name="if", default=UNSET
    )
    unless: Annotated[Text | UnsetType, Meta(description="Condition under which it does not.")] = UNSET
