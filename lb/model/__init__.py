"""The configuration model: frozen msgspec Structs, one description a field, unknown keys refused."""

from lb.model.answer import Content, Deny, Page, Return
from lb.model.backend import Backend, Balance, Datagrams, Server
from lb.model.check import Check, Step
from lb.model.configuration import Configuration
from lb.model.connection import Pool
from lb.model.frontend import Bind, Frontend, FrontendLog
from lb.model.limit import Limit
from lb.model.mirror import Mirror
from lb.model.persistence import PersistenceCookie, Stick
from lb.model.process import Admin, ErrorLog, Global, HttpAdmin, Log
from lb.model.proxy import AcceptProxy, SendProxy
from lb.model.routing import Match, Redirect, Reply, Route, RouteTimeouts, Sticky
from lb.model.table import Table
from lb.model.traffic import BackendTimeouts, Debug, Defaults, FrontendTimeouts, Keepalive, Timeouts

__all__ = [
    "AcceptProxy",
    "Admin",
    "Backend",
    "BackendTimeouts",
    "Balance",
    "Bind",
    "Check",
    "Configuration",
    "Content",
    "Datagrams",
    "Debug",
    "Defaults",
    "Deny",
    "ErrorLog",
    "Frontend",
    "FrontendLog",
    "FrontendTimeouts",
    "Global",
    "HttpAdmin",
    "Keepalive",
    "Limit",
    "Log",
    "Match",
    "Mirror",
    "Page",
    "PersistenceCookie",
    "Pool",
    "Redirect",
    "Reply",
    "Return",
    "Route",
    "RouteTimeouts",
    "SendProxy",
    "Server",
    "Step",
    "Stick",
    "Sticky",
    "Table",
    "Timeouts",
]
