"""Stick tables: counters by a key, shared by all workers."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Duration, Size, Text


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stick table: what is kept for each key."""

    key: Annotated[
        Text,
        Meta(
            description="Type of the keys: `ip`, `ipv6`, `integer`, `string`, `binary`; of the last two the longest in bytes "
            "may be given, up to 256 (32 if not).",
            examples=["ip", "string(64)"],
        ),
    ]
    size: Annotated[
        Annotated[int, Meta(ge=1)] | Size,
        Meta(description="How many keys have room; `k` is 1,024 and `m` its square.", examples=["100k"]),
    ]
    expire: Annotated[
        Duration | UnsetType,
        Meta(description="A key is forgotten when nothing touched it for so long; never if not given."),
    ] = UNSET
    nopurge: Annotated[
        bool, Meta(description="Refuse new keys when the table is full, instead of forgetting the oldest.")
    ] = False
    store: Annotated[
        tuple[Text, ...],
        Meta(
            description="What is kept: `conn_cnt`, `conn_cur`, `conn_rate(10s)`, `http_req_cnt`, `http_req_rate(10s)`, "
            "`http_err_cnt`, `http_err_rate(10s)`, `bytes_in_cnt`, `bytes_in_rate(10s)`, `bytes_out_cnt`, `bytes_out_rate(10s)`, "
            "`sess_cnt`, `sess_rate(10s)`, `http_fail_cnt`, `http_fail_rate(10s)`, `server_id`, counters `gpc0`, `gpc0_rate(10s)`, "
            "`gpc1`, `gpc1_rate(10s)` or arrays of them `gpc(4)`, `gpc_rate(4,10s)`, tags `gpt0` or `gpt(4)`.",
            extra={"kind": "list", "item": "what to keep"},
        ),
    ] = ()
