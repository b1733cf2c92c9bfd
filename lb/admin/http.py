"""The HTTP admin: metrics, health, the statistics page, and what the admin socket shows, as JSON.

It runs in the supervisor and can hold neither it nor traffic: connections and patience are bounded, and long answers are made in
pieces between which the loop turns. What changes anything needs the token in `Authorization: Bearer`, which no browser sends by
itself: no foreign page can use it.

The only place where lb serves HTTP by aiohttp; imported by a supervisor that is configured to.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

import lb
from lb.admin import datagrams, exposition, information, page, statistics, tables
from lb.admin.process import Process
from lb.config.part import HttpAdmin

if TYPE_CHECKING:
    from lb.supervisor.generation import Generation

CONNECTIONS = 256
PIECE = 32 * 1024
PATIENCE_S = 10.0  # with a reader that does not take its answer
IDLE_S = 75.0
BODY = 64 * 1024
EVENT_S = 1.0
LINES = 1000  # that wait for a reader of events; more are left out, and it is told so

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CSV = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


class HttpServer:
    """The HTTP admin of one address."""

    def __init__(self, admin: HttpAdmin, process: Process) -> None:
        self.admin = admin
        self.address = ""  # as bound
        self._process = process
        self._runner: web.AppRunner | None = None
        self._requests = 0

    def is_at(self, admin: HttpAdmin) -> bool:
        """Return whether this one listens where another is to."""
        return (admin.host, admin.port) == (self.admin.host, self.admin.port)

    async def open(self) -> None:
        """Bind and listen. Raise OSError."""
        family = socket.AF_INET6 if ":" in self.admin.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.admin.host, self.admin.port))
            host, port = sock.getsockname()[:2]
            self.address = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
            app = web.Application(middlewares=[self._guard], client_max_size=BODY)
            app.add_routes(
                [
                    web.get("/metrics", self._metrics),
                    web.get("/healthz", self._health),
                    web.get("/readyz", self._ready),
                    web.get("/events", self._events),
                    web.get("/api/info", self._info),
                    web.get("/api/stat", self._stat),
                    web.get("/api/tables", self._tables),
                    web.get("/api/tables/{name}", self._table),
                    web.get("/api/udp", self._udp),
                    web.get("/api/mirrors", self._mirrors),
                    web.get("/api/logs", self._logs),
                    web.post("/api/reload", self._reload),
                    web.post("/api/clear_counters", self._clear_counters),
                    # Also `/;csv`, `/haproxy?stats;csv` and whatever else readers of HAProxy's page are told to ask for.
                    web.get("/{tail:.*}", self._page),
                ]
            )
            self._runner = web.AppRunner(
                app, access_log=None, keepalive_timeout=IDLE_S, handle_signals=False, shutdown_timeout=1.0
            )
            await self._runner.setup()
            await web.SockSite(self._runner, sock, backlog=128).start()
        except BaseException:
            await self.close()
            sock.close()
            raise

    async def close(self) -> None:
        """End it with its connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # ---- every request -------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._requests >= CONNECTIONS:
            return _problem(503, "too many requests at once")
        if request.method not in ("GET", "HEAD") and (refusal := self._refusal(request)) is not None:
            return refusal
        self._requests += 1
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _problem(
                error.status, error.reason.lower(), {k: v for k, v in error.headers.items() if k == "Allow"}
            )
        finally:
            self._requests -= 1

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not self.admin.token:
            return _problem(403, "no token is configured; write 'token' under 'global.http'")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self.admin.token.encode()):
            return _problem(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        return None

    @property
    def _generation(self) -> Generation:
        generation = self._process.generation
        if generation is None:
            raise web.HTTPServiceUnavailable(reason="Not started yet")
        return generation

    # ---- health --------------------------------------------------------------------------------------------

    async def _health(self, request: web.Request) -> web.Response:
        return _json({"status": "ok", "version": lb.__version__})

    async def _ready(self, request: web.Request) -> web.Response:
        """Whether traffic should come: not before the start is complete, and no more once lb drains."""
        process = self._process
        if process.is_stopping:
            return _problem(503, "lb is stopping")
        if process.generation is None:
            return _problem(503, "lb has not started yet")
        if not process.is_beating():
            return _problem(503, "a worker does not answer")
        return _json({"status": "ready", "generation": process.generation.number})

    # ---- figures -------------------------------------------------------------------------------------------

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        is_open = "application/openmetrics-text" in request.headers.get("Accept", "")
        asked = request.query.getall("scope", ["*"])
        if unknown := [each for each in asked if each not in (*exposition.SCOPES, "*")]:
            return _problem(400, f"unknown scope '{unknown[0]}'; it is one of {', '.join(exposition.SCOPES)} and *")
        scopes = exposition.SCOPES if "*" in asked else tuple(asked)
        writer = exposition.Writer(is_open=is_open)
        kind = exposition.OPEN if is_open else exposition.PLAIN
        return await _stream(request, kind, self._exposed(writer, scopes))

    async def _exposed(self, writer: exposition.Writer, scopes: Iterable[str]) -> AsyncIterator[str]:
        generation = self._generation
        if "global" in scopes:
            load = information.load_of(await self._process.glance("load"))
            for text in exposition.process(writer, information.fields(self._process, load)):
                yield text
            for text in exposition.own(writer, generation, self._process):
                yield text
        rows = [row async for row in self._rows()]
        for text in exposition.proxies(writer, rows, scopes):
            yield text
        if "sticktable" in scopes:
            for text in exposition.stick_tables(writer, tables.heads(self._process.mapping, generation.tables)):
                yield text
        yield writer.end()

    async def _rows(self) -> AsyncIterator[statistics.Row]:
        process = self._process
        found = statistics.rows(
            process.mapping, self._generation, process.places(), rates=process.rates, states=process.states
        )
        for number, row in enumerate(found):
            if number % 64 == 63:
                await asyncio.sleep(0)
            yield row

    async def _page(self, request: web.Request) -> web.StreamResponse:
        asked = request.raw_path
        if asked.endswith(";csv"):
            return await _stream(request, CSV, self._csv())
        if asked.endswith(";json"):
            return await self._stat(request)
        if request.path not in ("/", "/stats"):
            raise web.HTTPNotFound
        load = information.load_of(await self._process.glance("load"))
        rows = [row async for row in self._rows()]
        return await _stream(request, HTML, _each(page.pieces(information.fields(self._process, load), rows)))

    async def _csv(self) -> AsyncIterator[str]:
        yield statistics.header()
        async for row in self._rows():
            yield statistics.line(row)

    async def _info(self, request: web.Request) -> web.Response:
        load = information.load_of(await self._process.glance("load"))
        return _json(information.fields(self._process, load))

    async def _stat(self, request: web.Request) -> web.StreamResponse:
        return await _stream(request, JSON, _listed(self._rows()))

    async def _tables(self, request: web.Request) -> web.Response:
        return _json(tables.heads(self._process.mapping, self._generation.tables))

    async def _table(self, request: web.Request) -> web.StreamResponse:
        # Keys are addresses and tokens of clients: as on the socket, not for everybody.
        if (refusal := self._refusal(request)) is not None:
            return refusal
        name = request.match_info["name"]
        for each in self._generation.tables:
            if each.part.name == name:
                return await _stream(request, JSON, _listed(_paced(tables.entries(self._process.mapping, each))))
        return _problem(404, f"no table is named '{name}'")

    async def _udp(self, request: web.Request) -> web.Response:
        return _json(datagrams.shown(self._process.mapping, self._generation))

    async def _mirrors(self, request: web.Request) -> web.Response:
        return _json(information.mirrors(self._process))

    async def _logs(self, request: web.Request) -> web.Response:
        return web.Response(text=self._process.journal.text(), content_type="text/plain", headers=_HEADERS)

    # ---- events --------------------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: each line that lb says of itself, and once a second the rates."""
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        lines: asyncio.Queue[str] = asyncio.Queue(LINES)
        missed = 0

        def hear(line: str, severity: int) -> None:
            nonlocal missed
            try:
                lines.put_nowait(_event("log", {"line": line, "severity": severity}))
            except asyncio.QueueFull:
                missed += 1

        journal = self._process.journal
        journal.listen(hear)
        try:
            while not self._process.is_stopping:
                text = _event("rates", self._seen())
                while not lines.empty():
                    text += lines.get_nowait()
                if missed:
                    text += _event("missed", {"lines": missed})
                    missed = 0
                await _write(request, response, text)
                await asyncio.sleep(EVENT_S)
        finally:
            journal.unlisten(hear)
        return response

    def _seen(self) -> list[dict[str, object]]:
        """Return what changes from second to second, of frontends and backends."""
        process, generation = self._process, self._generation
        found = []
        for kind, proxies in (("frontend", generation.part.frontends), ("backend", generation.part.backends)):
            for each in proxies:
                oid = generation.oid(each.object)
                rates = process.rates.of(oid)
                found.append(
                    {
                        "type": kind,
                        "name": each.name,
                        "current": process.mapping.counters(oid)["cur"],
                        **{name.removesuffix("_total") + "_rate": rate.now for name, rate in rates.items()},
                    }
                )
        return found

    # ---- changes -------------------------------------------------------------------------------------------

    async def _reload(self, request: web.Request) -> web.Response:
        worked = await self._process.reload()
        answer = {"success": worked, "log": self._process.journal.text().splitlines()}
        return _json(answer, 200 if worked else 422)

    async def _clear_counters(self, request: web.Request) -> web.Response:
        self._process.mapping.clear_counters(request.query.get("all") == "1")
        self._process.rates.clear()
        return _json({"success": True})


def _json(answer: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(answer), status=status, content_type=JSON, headers=_HEADERS)


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"status": status, "detail": detail})
    return web.Response(
        body=body, status=status, content_type="application/problem+json", headers={**_HEADERS, **(headers or {})}
    )


def _event(name: str, value: object) -> str:
    return f"event: {name}\ndata: {orjson.dumps(value).decode()}\n\n"


async def _each(texts: Iterable[str]) -> AsyncIterator[str]:
    for text in texts:
        yield text


async def _paced(values: Iterable[object]) -> AsyncIterator[object]:
    for number, value in enumerate(values):
        if number % 256 == 255:
            await asyncio.sleep(0)
        yield value


async def _listed(values: AsyncIterator[object]) -> AsyncIterator[str]:
    mark = "["
    async for value in values:
        yield mark + orjson.dumps(value).decode()
        mark = ",\n"
    yield "[]" if mark == "[" else "]"


async def _stream(request: web.Request, kind: str, texts: AsyncIterator[str]) -> web.StreamResponse:
    """Answer piece by piece: a slow reader holds one of them and not the whole."""
    first, ended = await _piece(texts)
    if ended:
        return web.Response(body=first, headers={**_HEADERS, "Content-Type": kind})
    response = web.StreamResponse(headers={**_HEADERS, "Content-Type": kind})
    await response.prepare(request)
    await _write(request, response, first)
    while not ended:
        text, ended = await _piece(texts)
        await _write(request, response, text)
    await response.write_eof()
    return response


async def _piece(texts: AsyncIterator[str]) -> tuple[bytes, bool]:
    made = ""
    async for text in texts:
        made += text
        if len(made) >= PIECE:
            await asyncio.sleep(0)
            return made.encode(), False
    return made.encode(), True


async def _write(request: web.Request, response: web.StreamResponse, text: bytes | str) -> None:
    """Write, and cut off who does not read."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await response.write(text.encode() if isinstance(text, str) else text)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("a reader of the HTTP admin does not read") from None
