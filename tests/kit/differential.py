"""lb beside Debian's HAProxy with the same expressions and conditions: what each answers to one request."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kit.client import Client
from kit.deadline import DEADLINE
from kit.inprocess import InProcess
from kit.settings import LOOPBACK

Groups = Sequence[Sequence[str]]
"""Expressions, in the groups that one request asks for by `X-Case: e<number>`."""


def body_of(group: Sequence[str]) -> str:
    """Return a format that shows each expression of a group in its own line."""
    return "".join(f"#{i}={text if text[0] == '%' else f'%[{text}]'};" for i, text in enumerate(group))


def quoted(text: str) -> str:
    """Return a word as HAProxy's configuration has it."""
    return "'" + text.replace("'", "'\\''") + "'"


class Peer:
    """HAProxy with all rows."""

    def __init__(self, groups: Groups, conditions: Sequence[str], directory: Path) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.address = sock.getsockname()
        lines = ["defaults", " mode http", *(f" timeout {each} 30s" for each in ("client", "server", "connect"))]
        lines += ["frontend web", f" bind fd@{sock.fileno()}"]
        for i, group in enumerate(groups):
            lines.append(
                f" http-request return status 200 content-type text/plain lf-string {quoted(body_of(group))}"
                f" if {{ req.fhdr(x-case) e{i} }}"
            )
        for i, condition in enumerate(conditions):
            lines.append(f" http-request return status 202 if {{ req.fhdr(x-case) c{i} }} {condition}")
        lines.append(" http-request return status 204")
        config = directory / "peer.cfg"
        config.write_text("\n".join(lines) + "\n")
        with (directory / "peer.stderr").open("wb") as err:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=err, pass_fds=[sock.fileno()]
            )
        sock.close()

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)


def settings(groups: Groups, conditions: Sequence[str]) -> dict[str, Any]:
    """Return lb's configuration with all rows."""
    rules: list[dict[str, Any]] = [
        {
            "return": {"content_type": "text/plain", "body": body_of(group)},
            "if": f"{{ req.fhdr(x-case) e{i} }}",
        }
        for i, group in enumerate(groups)
    ]
    rules += [
        {"return": 202, "if": f"{{ req.fhdr(x-case) c{i} }} {condition}"} for i, condition in enumerate(conditions)
    ]
    return {
        "version": 1,
        "global": {"workers": 1},
        "frontends": {
            "web": {
                "bind": [{"address": LOOPBACK}],
                "dot_segments": "keep",
                "rules": [*rules, {"return": 204}],
                "default_backend": "app",
            }
        },
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }


@contextmanager
def paired(
    groups: Groups, conditions: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Client]]:
    """Run both; yield a client of lb and one of HAProxy."""
    ours = InProcess(settings(groups, conditions), tmp_path_factory.mktemp("lb"))
    peer = Peer(groups, conditions, tmp_path_factory.mktemp("peer"))
    clients = [Client(ours.addresses["web"][0]), Client(peer.address)]
    yield clients
    for client in clients:
        client.close()
    ours.settle()
    ours.stop()
    peer.stop()


def asked(client: Client, line: str, fields: tuple[str, ...], case: str) -> tuple[int, bytes]:
    """Ask for a case; return status and body."""
    head = "\r\n".join([line, *fields, f"X-Case: {case}", "", ""])
    used = client if line.endswith("1.1") else Client(client.sock.getpeername())
    used.send(head.encode("latin-1"))
    answer = used.response(line.split(maxsplit=1)[0])
    if used is not client:
        used.close()
    return answer.status, answer.body


def values(body: bytes, group: Sequence[str]) -> dict[str, bytes]:
    """Return what each expression of a group gave."""
    found: dict[str, bytes] = {}
    rest = body
    for i, text in enumerate(group):
        begin = f"#{i}=".encode()
        assert rest.startswith(begin), rest
        end = rest.index(f";#{i + 1}=".encode()) if i + 1 < len(group) else len(rest) - 1
        found[text] = rest[len(begin) : end]
        rest = rest[end + 1 :]
    return found
