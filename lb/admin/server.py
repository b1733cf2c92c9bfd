"""Connections of the admin socket: lines in, answers out, as HAProxy's tools expect to the byte.

A connection begins non-interactive: one line, which may hold several commands separated by `;`, then the answers, then it
is closed. A line that ends with `<<` is followed by a payload: lines up to an empty one, or up to the word behind the `<<`.
`prompt` makes it interactive. After each answer stands an empty line, or in prompt mode a line break and `> `.

Nobody here can hold the supervisor: lines, connections and idle time are bounded, and a reader that does not take its
answer is cut off with at most one piece of it in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence

from lb.admin.commands import DENIED, LEVELS, Session, find, help_text, unknown_text
from lb.admin.process import Process
from lb.config.part import Admin
from lb.supervisor.sockets import bind_path

LINE = 16 * 1024  # HAProxy's tune.bufsize
WORDS = 64
PAYLOAD = 1 << 20  # bytes; HAProxy has no more than fits a line
CONNECTIONS = 64
TIMEOUT_S = 10.0  # without a line, or without reading the answer; `set timeout cli` changes it
TIMEOUT_MAX_S = 86_400


class AdminServer:
    """The admin socket and its connections."""

    def __init__(self, admin: Admin, process: Process) -> None:
        self.path = admin.path
        self._admin = admin
        self._process = process
        self._server: asyncio.Server | None = None
        self._inode = (0, 0)
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Bind and listen. Raise OSError."""
        sock = bind_path(self.path, self._admin.mode)
        found = os.stat(self.path)
        self._inode = (found.st_dev, found.st_ino)
        self._server = await asyncio.start_unix_server(self._accept, sock=sock, limit=LINE)

    def settle(self, admin: Admin) -> None:
        """Go on with this mode and level, from the next connection on."""
        if admin.mode != self._admin.mode:
            os.chmod(self.path, admin.mode)
        self._admin = admin

    async def close(self) -> None:
        """End the connections and remove the socket, unless someone else has put another one there."""
        if self._server is not None:
            self._server.close()
        # The one that asked for what closes this server still gets its answer.
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self.path)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(self.path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await Connection(reader, writer, Session(self._process, LEVELS[self._admin.level])).serve()
        except (TimeoutError, ConnectionError):
            # It left, or did not take its answer.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()


class Connection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session) -> None:
        self._reader = reader
        self._writer = writer
        self._session = session
        self._timeout_s = TIMEOUT_S
        self._is_interactive = False
        self._has_prompt = False
        self._has_time = False
        # One piece of an answer and no more waits for a reader.
        writer.transport.set_write_buffer_limits(high=LINE)

    async def serve(self) -> None:
        """Answer until the far end or a command ends it. Raise TimeoutError, ConnectionError."""
        while True:
            line = await self._line()
            if line is None or not await self._answer(line):
                return
            if not self._is_interactive:
                return

    async def _line(self) -> str | None:
        async with asyncio.timeout(self._timeout_s):
            try:
                raw = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                # The last line need not end: telnet and scripts forget it.
                raw = error.partial
                if not raw:
                    return None
            except asyncio.LimitOverrunError:
                return None
        return raw.decode(errors="surrogateescape").rstrip("\r\n")

    async def _answer(self, line: str) -> bool:
        """Answer each command of a line; whether the connection goes on."""
        if self._is_interactive and not line.strip():
            await self._write(self._end(is_last=True))
            return True
        commands = split(line)
        payload = ""
        if commands[-1] and commands[-1][-1].startswith("<<"):
            found = await self._payload(commands[-1].pop()[2:])
            if found is None:
                await self._write("The payload is too long, or has no end.\n" + self._end(is_last=True))
                return False
            payload = found
        for index, words in enumerate(commands):
            if words[:1] == ["quit"]:
                return False
            await self._command(words, payload if index == len(commands) - 1 else "")
            await self._write(self._end(is_last=index == len(commands) - 1))
        return True

    def _end(self, *, is_last: bool) -> str:
        if not (self._has_prompt and is_last):
            return "\n"
        if not self._has_time:
            return "\n> "
        seconds = int(time.time() - self._session.process.started)
        return f"\n[{seconds // 86400}:{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}]> "

    async def _payload(self, end: str) -> str | None:
        """Read lines up to the one that ends them; None: there are too many, or the far end has closed."""
        lines: list[str] = []
        size = 0
        while size <= PAYLOAD:
            line = await self._line()
            if line is None:
                return None
            if line == end:
                return "\n".join(lines)
            lines.append(line)
            size += len(line) + 1
        return None

    async def _command(self, words: Sequence[str], payload: str = "") -> None:
        match words:
            case ["help", *rest]:
                await self._write(help_text(rest, self._session.level))
            case ["prompt", *rest]:
                await self._write(self._prompt(rest))
            case ["set", "timeout", "cli", *rest]:
                await self._write(self._set_timeout(rest))
            case _:
                command = find(words)
                if command is None:
                    await self._write(unknown_text(words, self._session.level))
                elif command.level > self._session.level:
                    await self._write(DENIED)
                else:
                    session = self._session._replace(payload=payload)
                    async for piece in command.run(session, words[len(command.words) :]):
                        await self._write(piece)

    def _prompt(self, rest: Sequence[str]) -> str:
        match rest:
            case []:
                self._has_prompt = self._is_interactive = not self._has_prompt
            case ["n"]:
                self._has_prompt = self._is_interactive = False
            case ["i"]:
                self._is_interactive, self._has_prompt = True, False
            case ["p"]:
                self._is_interactive = self._has_prompt = True
            case ["timed"]:
                self._is_interactive = self._has_prompt = True
                self._has_time = not self._has_time
            case _:
                return "Usage: prompt [n|i|p|timed]: non-interactive, interactive, with prompt, with time.\n"
        return ""

    def _set_timeout(self, rest: Sequence[str]) -> str:
        if len(rest) != 1 or not rest[0].isdecimal() or not 0 < int(rest[0]) <= TIMEOUT_MAX_S:
            return "Invalid timeout value.\n"
        self._timeout_s = float(rest[0])
        return ""

    async def _write(self, text: str) -> None:
        if not text:
            return
        self._writer.write(text.encode(errors="surrogateescape"))
        # drain() returns at once while there is room: without this a long answer would keep the loop to itself.
        await asyncio.sleep(0)
        async with asyncio.timeout(self._timeout_s):
            await self._writer.drain()


def split(line: str) -> list[list[str]]:
    r"""Return the commands of a line as words: `;` ends a command, `\;`, `\ ` and `\\` are the characters themselves."""
    commands: list[list[str]] = [[]]
    word = ""
    is_escaped = False
    for char in line:
        if is_escaped:
            word += char
            is_escaped = False
        elif char == "\\":
            is_escaped = True
        elif char in " \t;":
            if word:
                commands[-1].append(word)
                word = ""
            if char == ";":
                commands.append([])
        else:
            word += char
    if word:
        commands[-1].append(word)
    return [words[:WORDS] for words in commands]
