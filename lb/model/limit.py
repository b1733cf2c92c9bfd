"""Rate limits: how many requests of a client, a user or a key may come in a period."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Duration, Size, Text, Unchecked

LIMITS_MAX = 8
BURST_MAX = 10_000_000

LimitNames = tuple[Unchecked, ...]
LIMITS = "Names of rate limits that requests must keep; when one is exceeded, the answer is 429 (mode http)."


class Limit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rate limit. Frontends, routes and backends name it; all of them count together."""

    rate: Annotated[
        Text,
        Meta(
            description="Requests in a period, such as `100/1m`; `10/s`, `5000/h` and `1000/d` leave the 1 out. They come back "
            "one by one, spread over the period.",
            examples=["100/1m", "10/s"],
        ),
    ]
    burst: Annotated[
        Annotated[int, Meta(ge=1, le=BURST_MAX)] | UnsetType,
        Meta(
            description="Requests that may come at once; those of the period if not given. With 1 each must keep its distance."
        ),
    ] = UNSET
    by: Annotated[
        Text,
        Meta(
            description="Whose requests are counted together: an expression such as `src`, `req.hdr(x-api-key)` or "
            '`src,ipmask(32,64)`; `str("all")` for everybody\'s. Who has no such value is counted by address.',
            examples=["src", "req.hdr(x-api-key)"],
        ),
    ] = "src"
    mode: Annotated[
        Literal["enforce", "shadow"],
        Meta(
            description="`shadow` refuses nothing: it counts and logs what would have been refused.",
            extra={"noun": "mode"},
        ),
    ] = "enforce"
    size: Annotated[
        Annotated[int, Meta(ge=1)] | Size,
        Meta(
            description="For how many keys there is room; `k` is 1,024 and `m` its square. When it is used up, the key that "
            "came longest ago is forgotten."
        ),
    ] = "100k"
    expire: Annotated[
        Duration | UnsetType,
        Meta(
            description="A key is forgotten when it has not come for so long; when it has all its requests back, if not given."
        ),
    ] = UNSET
    headers: Annotated[
        Literal["standard", "legacy", "none"],
        Meta(
            description="What answers tell of the limit: `RateLimit` and `RateLimit-Policy` (IETF); with `legacy` also "
            "`X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`. `Retry-After` comes with every refusal.",
            extra={"noun": "choice"},
        ),
    ] = "standard"
