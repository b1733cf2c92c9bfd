"""The whole configuration, as a frozen tree.

It is what somebody wrote, decoded and nothing more: `lb.config.effective` fills in what was left out, and its result is a
configuration of the same type that says everything.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from lb.model.answer import Pages
from lb.model.backend import Backend
from lb.model.frontend import Frontend
from lb.model.kinds import Name
from lb.model.limit import Limit
from lb.model.process import Global
from lb.model.table import Table
from lb.model.traffic import Defaults
from lb.model.users import UserList

VERSION = 1


class Configuration(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A configuration of lb."""

    version: Annotated[Literal[1], Meta(description="Version of this language: 1.", extra={"noun": "version"})]
    global_: Annotated[Global, Meta(description="What concerns the whole process.")] = field(
        name="global", default=Global()
    )
    defaults: Annotated[Defaults, Meta(description="What frontends and backends inherit.")] = Defaults()
    tables: Annotated[dict[Name, Table], Meta(description="Stick tables, by name.")] = {}
    limits: Annotated[dict[Name, Limit], Meta(description="Rate limits, by name.")] = {}
    http_errors: Annotated[
        dict[Name, Pages],
        Meta(description="Groups of error pages, by name, that `errorfiles` take."),
    ] = {}
    userlists: Annotated[dict[Name, UserList], Meta(description="Users that rules ask passwords of, by name.")] = {}
    frontends: Annotated[dict[Name, Frontend], Meta(description="Where clients connect, by name.")]
    backends: Annotated[dict[Name, Backend], Meta(description="Groups of servers, by name.")] = {}
