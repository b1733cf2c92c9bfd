"""The commands of the admin socket, all of them in one table.

A command yields its output piece by piece, so that a slow reader holds one piece and not the whole answer. What a command
says on failure is a line like any other: the protocol has no status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import orjson

import lb
from lb.admin import datagrams, information, limits, references, servers, statistics, tables, typed, variables
from lb.admin.process import Process
from lb.checks.administrative import Admin

USER, OPERATOR, ADMIN = range(3)
LEVELS = {"user": USER, "operator": OPERATOR, "admin": ADMIN}

PIECE = 16 * 1024
BATCH = 64
"""Entries of a table that are looked at before others come to their turn."""


class Session(NamedTuple):
    """Who asks: the process asked, the level of the socket, and the lines that followed the command."""

    process: Process
    level: int
    payload: str = ""


Run = Callable[[Session, Sequence[str]], AsyncIterator[str]]


class Command(NamedTuple):
    """A command: its leading words, how `help` shows it, who may use it, what it does with the words after them."""

    words: tuple[str, ...]
    usage: str
    text: str
    level: int
    run: Run


async def _show_info(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    form, refusal = _form(arguments, ("typed", "json"))
    if refusal:
        yield refusal
        return
    process = session.process
    load = information.load_of(await process.glance("load"))
    if form == {"typed"}:
        yield typed.info_lines(information.fields(process, load))
    elif form == {"json"}:
        yield typed.info_json(information.fields(process, load)) + "\n"
    else:
        yield "".join(information.lines(process, load))


async def _show_mirrors(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    yield msgspec.json.encode(information.mirrors(session.process)).decode() + "\n"


async def _show_stat(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    process = session.process
    chosen = {"iid": -1, "types": -1, "sid": -1}
    if len(arguments) >= 3 and all(_is_number(each) for each in arguments[:3]):
        chosen = dict(zip(chosen, map(int, arguments[:3]), strict=True))
        arguments = arguments[3:]
    form, refusal = _form(arguments, ("typed", "json", "up", "no-maint"))
    if refusal:
        yield refusal
        return
    generation = process.generation
    assert generation is not None
    found = statistics.rows(
        process.mapping, generation, process.places(), rates=process.rates, states=process.states, **chosen
    )
    shown = (row for row in found if _is_asked(row, form))
    texts: Iterable[str]
    if "typed" in form:
        texts = map(typed.stat_lines, shown)
    elif "json" in form:
        texts = _listed(map(typed.stat_json, shown))
    else:
        texts = chain([statistics.header()], map(statistics.line, shown))
    piece = ""
    for text in texts:
        piece += text
        if len(piece) >= PIECE:
            yield piece
            piece = ""
    yield piece


def _is_asked(row: statistics.Row, form: set[str]) -> bool:
    """Return whether a row passes the filters `up` and `no-maint`, which only look at servers."""
    if row["type"] != statistics.SERVER:
        return True
    status = str(row["status"])
    is_maint = status.startswith("MAINT")
    return not (("up" in form and (status.startswith("DOWN") or is_maint)) or ("no-maint" in form and is_maint))


def _listed(texts: Iterable[str]) -> Iterator[str]:
    mark = "["
    for text in texts:
        yield mark + text
        mark = ","
    yield "[]\n" if mark == "[" else "]\n"


def _is_number(word: str) -> bool:
    return word.removeprefix("-").isdecimal()


def _form(arguments: Sequence[str], known: Sequence[str]) -> tuple[set[str], str]:
    """Return the words for an output format, and what to answer instead if one of them is HAProxy's and not ours.

    As in HAProxy, words that nobody knows are passed over, and of two formats the first wins.
    """
    for word in arguments:
        if word in ("desc", "float", "domain"):
            return set(), f"'{word}' is not built; {', '.join(known)} are.\n"
    form = {word for word in arguments if word in known}
    return form - {"json"} if "typed" in form else form, ""


async def _show_table(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    process = session.process
    assert process.generation is not None
    if not arguments:
        yield "".join(tables.head(process.mapping, each) for each in process.generation.tables)
        return
    try:
        request = tables.read("show", process.generation.tables, arguments)
    except tables.Refusal as refusal:
        yield str(refusal)
        return
    piece = tables.head(process.mapping, request.table)
    if session.level < OPERATOR:
        if request.key is not None:
            yield DENIED
        else:
            yield piece + "# contents not dumped due to insufficient privileges\n"
        return
    if request.key is not None:
        # Without the entry not even the table is shown.
        found = "".join(tables.lines(process.mapping, request))
        yield piece + found if found else ""
        return
    for number, line in enumerate(tables.lines(process.mapping, request)):
        piece += line
        if len(piece) >= PIECE:
            yield piece
            piece = ""
        if number % BATCH == BATCH - 1:
            await asyncio.sleep(0)
    yield piece


async def _set_table(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    process = session.process
    assert process.generation is not None
    try:
        request = tables.read("set", process.generation.tables, arguments)
        if request.key is not None:
            tables.change(process.mapping, request)
    except tables.Refusal as refusal:
        yield str(refusal)


async def _clear_table(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    process = session.process
    assert process.generation is not None
    try:
        request = tables.read("clear", process.generation.tables, arguments)
        for number, _ in enumerate(tables.clear(process.mapping, request)):
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0)
    except tables.Refusal as refusal:
        yield str(refusal)


async def _get_var(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    yield variables.get(session.process.mapping, arguments)


async def _set_var(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    yield variables.put(session.process.mapping, arguments)


async def _show_limits(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    process = session.process
    assert process.generation is not None
    yield msgspec.json.encode(limits.shown(process.mapping, process.generation)).decode() + "\n"


async def _show_udp(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    process = session.process
    assert process.generation is not None
    shown = datagrams.shown(process.mapping, process.generation)
    yield orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode() + "\n"


async def _show_version(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    yield f"{lb.__version__}\n"


async def _show_startup_logs(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    yield session.process.journal.text()


async def _show_pools(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    answers = await session.process.ask("pools")
    total: dict[str, dict[str, int]] = {}
    for pools in answers.values():
        assert isinstance(pools, dict)
        for name, pool in pools.items():
            into = total.setdefault(name, dict.fromkeys(pool, 0))
            for key, value in pool.items():
                # One size; everything else is counted by each worker.
                into[key] = value if key == "size" else into.get(key, 0) + value
    yield "Dumping pools usage.\n"
    allocated = used = 0
    for name, pool in sorted(total.items()):
        held = pool["live"] + pool["cached"]
        allocated += held * pool["size"]
        used += pool["live"] * pool["size"]
        yield (
            f"  - Pool {name} ({pool['size']} bytes) : {held} allocated ({held * pool['size']} bytes), {pool['live']} used, "
            f"{pool['peak']} peak, {pool['failed']} failures, {len(answers)} users\n"
        )
    yield f"Total: {len(total)} pools, {allocated} bytes allocated, {used} used.\n"


async def _clear_counters(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    clears_all = list(arguments) == ["all"]
    if clears_all and session.level < ADMIN:
        yield DENIED
        return
    session.process.mapping.clear_counters(clears_all)
    session.process.rates.clear()
    yield ""


def _told(act: Callable[[Process, Sequence[str]], str]) -> Run:
    """Return a command that answers with one text, nothing if all went well."""

    async def run(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
        yield act(session.process, arguments)

    return run


async def _show_servers_state(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    for text in servers.states(session.process, arguments):
        yield text


async def _show_backend(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    assert session.process.generation is not None
    yield servers.backends(session.process.generation)


async def _reload(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    worked = await session.process.reload()
    yield f"Success={int(worked)}\n--\n{session.process.journal.text()}"


def _reference(
    kind: references.Kind, verb: Callable[[references.Kind, Process, Sequence[str]], AsyncIterator[str]]
) -> Run:
    return lambda session, arguments: verb(kind, session.process, arguments)


def _add_map(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    return references.add(references.MAP, session.process, arguments, session.payload)


def _add_acl(session: Session, arguments: Sequence[str]) -> AsyncIterator[str]:
    return references.add(references.ACL, session.process, arguments, session.payload)


DENIED = "Permission denied\n"

COMMANDS = (
    Command(
        ("add", "acl"),
        "add acl [@<ver>] <acl> <pattern>",
        "add an acl entry (payload supported: patterns)",
        ADMIN,
        _add_acl,
    ),
    Command(
        ("add", "map"),
        "add map [@<ver>] <map> <key> <val>",
        "add a map entry (payload supported instead of key/val)",
        ADMIN,
        _add_map,
    ),
    Command(
        ("clear", "acl"),
        "clear acl [@<ver>] <acl>",
        "clear the contents of this acl",
        ADMIN,
        _reference(references.ACL, references.clear),
    ),
    Command(
        ("clear", "map"),
        "clear map [@<ver>] <map>",
        "clear the contents of this map",
        ADMIN,
        _reference(references.MAP, references.clear),
    ),
    Command(
        ("commit", "acl"),
        "commit acl @<ver> <acl>",
        "commit the ACL at this version",
        ADMIN,
        _reference(references.ACL, references.commit),
    ),
    Command(
        ("commit", "map"),
        "commit map @<ver> <map>",
        "commit the map at this version",
        ADMIN,
        _reference(references.MAP, references.commit),
    ),
    Command(
        ("del", "acl"),
        "del acl <acl> [<key>|#<ref>]",
        "delete acl entries matching <key>",
        ADMIN,
        _reference(references.ACL, references.delete),
    ),
    Command(
        ("del", "map"),
        "del map <map> [<key>|#<ref>]",
        "delete map entries matching <key>",
        ADMIN,
        _reference(references.MAP, references.delete),
    ),
    Command(
        ("get", "acl"),
        "get acl <acl> <value>",
        "report the patterns matching a sample for an ACL",
        USER,
        _reference(references.ACL, references.get),
    ),
    Command(
        ("get", "map"),
        "get map <acl> <value>",
        "report the keys and values matching a sample for a map",
        USER,
        _reference(references.MAP, references.get),
    ),
    Command(
        ("prepare", "acl"),
        "prepare acl <acl>",
        "prepare a new version for atomic ACL replacement",
        ADMIN,
        _reference(references.ACL, references.prepare),
    ),
    Command(
        ("prepare", "map"),
        "prepare map <acl>",
        "prepare a new version for atomic map replacement",
        ADMIN,
        _reference(references.MAP, references.prepare),
    ),
    Command(
        ("set", "map"),
        "set map <map> [<key>|#<ref>] <value>",
        "modify a map entry",
        ADMIN,
        _reference(references.MAP, references.put),
    ),
    Command(
        ("show", "acl"),
        "show acl [@<ver>] <acl>]",
        "report available acls or dump an acl's contents",
        USER,
        _reference(references.ACL, references.show),
    ),
    Command(
        ("show", "map"),
        "show map [@ver] [map]",
        "report available maps or dump a map's contents",
        USER,
        _reference(references.MAP, references.show),
    ),
    Command(
        ("clear", "counters"),
        "clear counters [all]",
        "clear max statistics (or all) counters",
        OPERATOR,
        _clear_counters,
    ),
    Command(
        ("clear", "table"),
        "clear table <table> [<filter>]*",
        "remove an entry from a table (filter: data/key)",
        OPERATOR,
        _clear_table,
    ),
    Command(
        ("get", "var"),
        "get var <name>",
        "retrieve contents of a process-wide variable",
        OPERATOR,
        _get_var,
    ),
    Command(
        ("disable", "health"),
        "disable health <backend>/<server>",
        "disable health checks",
        ADMIN,
        _told(lambda process, arguments: servers.pause_check(process, arguments, True)),
    ),
    Command(
        ("disable", "server"),
        "disable server <backend>/<server>",
        "disable a server for maintenance",
        ADMIN,
        _told(lambda process, arguments: servers.administer(process, arguments, Admin.FORCED_MAINT)),
    ),
    Command(
        ("enable", "health"),
        "enable health <backend>/<server>",
        "enable health checks",
        ADMIN,
        _told(lambda process, arguments: servers.pause_check(process, arguments, False)),
    ),
    Command(
        ("enable", "server"),
        "enable server <backend>/<server>",
        "enable a disabled server",
        ADMIN,
        _told(lambda process, arguments: servers.administer(process, arguments, Admin.READY)),
    ),
    Command(
        ("get", "weight"),
        "get weight <backend>/<server>",
        "report a server's current weight",
        USER,
        _told(servers.get_weight),
    ),
    Command(
        ("set", "server"),
        "set server <backend>/<server> [opts]",
        "change a server's state, weight or health",
        ADMIN,
        _told(servers.set_server),
    ),
    Command(
        ("set", "weight"),
        "set weight <backend>/<server> <weight>",
        "change a server's weight",
        ADMIN,
        _told(servers.set_weight),
    ),
    Command(("show", "backend"), "show backend", "list backends in the current running config", USER, _show_backend),
    Command(
        ("show", "servers", "state"),
        "show servers state [<backend>]",
        "dump volatile server information",
        USER,
        _show_servers_state,
    ),
    Command(("reload",), "reload", "read the configuration anew and put it in force", ADMIN, _reload),
    Command(
        ("set", "table"),
        "set table <table> key <k> [data.* <v>]*",
        "update or create a table entry's data",
        OPERATOR,
        _set_table,
    ),
    Command(
        ("set", "var"),
        "set var <name> [fmt|expr] {<fmt>|<expr>}",
        "set variable from an expression or format",
        OPERATOR,
        _set_var,
    ),
    Command(
        ("show", "info"),
        "show info [typed|json]",
        "report information about the running process",
        USER,
        _show_info,
    ),
    Command(("show", "limits"), "show limits", "report rate limits and what they refused, as JSON", USER, _show_limits),
    Command(("show", "mirrors"), "show mirrors", "report copies of requests, as JSON", USER, _show_mirrors),
    Command(("show", "pools"), "show pools", "report information about the memory pools usage", USER, _show_pools),
    Command(
        ("show", "startup-logs"),
        "show startup-logs",
        "report logs of the latest start or reload",
        USER,
        _show_startup_logs,
    ),
    Command(
        ("show", "stat"),
        "show stat [<iid> <type> <sid>] [typed|json] [up|no-maint]",
        "report counters for each proxy and server",
        USER,
        _show_stat,
    ),
    Command(
        ("show", "table"),
        "show table <table> [<filter>]*",
        "report table usage stats or dump this table's contents (filter: data/key)",
        USER,
        _show_table,
    ),
    Command(("show", "udp"), "show udp", "report sessions and datagrams of mode udp, as JSON", USER, _show_udp),
    Command(("show", "version"), "show version", "show version of the current process", USER, _show_version),
)

# The connection itself does these; help ends with the last three, in this order.
_OWN = (
    ("set timeout cli <delay>", "set a timeout for this connection, in seconds"),
    ("help [<command>]", "list matching or all commands"),
    ("prompt [help|n|i|p|timed]", "toggle interactive mode with prompt"),
    ("quit", "disconnect"),
)


def find(words: Sequence[str]) -> Command | None:
    """Return the command that these words begin with."""
    for command in COMMANDS:
        if tuple(words[: len(command.words)]) == command.words:
            return command
    return None


def help_text(words: Sequence[str], level: int) -> str:
    """Return the answer to `help <words>`: the commands that begin with these words, or all."""
    return "The following commands are valid at this level:\n" + _list(_matching(words, level) or _allowed(level))


def unknown_text(words: Sequence[str], level: int) -> str:
    """Return the answer to words that are no command."""
    matching = _matching(words, level)
    what = f"Unknown command: '{words[0]}'" if words else "Unknown command"
    if matching:
        return f"{what}, but maybe one of the following ones is a better match:\n" + _list(matching)
    return f"{what}. Please enter one of the following commands only:\n" + _list(_allowed(level))


def _allowed(level: int) -> list[tuple[str, str]]:
    found = [(each.usage, each.text) for each in COMMANDS if each.level <= level]
    return sorted([*found, _OWN[0]])


def _matching(words: Sequence[str], level: int) -> list[tuple[str, str]]:
    if not words:
        return []
    return [each for each in _allowed(level) if each[0].startswith(words[0])]


def _list(found: Sequence[tuple[str, str]]) -> str:
    return "".join(f"  {usage:<40}: {text}\n" for usage, text in (*found, *_OWN[1:]))
