"""`show stat` as rows of words."""

from __future__ import annotations

import csv
import socket
from typing import TYPE_CHECKING

from kit.deadline import DEADLINE, Words, eventually
from kit.wire import READ

if TYPE_CHECKING:
    from kit.daemon import Lb

Rows = dict[tuple[str, str], dict[str, str]]


def command(path: str, text: str) -> str:
    """Send one command to an admin socket and return the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(path)
        sock.sendall(text.encode() + b"\n")
        answer = bytearray()
        while data := sock.recv(READ):
            answer += data
    return answer.decode()


def rows(path: str) -> Rows:
    """Return the rows of `show stat` by proxy and name."""
    lines = command(path, "show stat").removeprefix("# ").splitlines()
    return {(row["pxname"], row["svname"]): row for row in csv.DictReader(line for line in lines if line)}


def row(lb: Lb, server: str, backend: str = "app") -> dict[str, str]:
    """Return the row of a server, or of its backend: `BACKEND`."""
    return rows(lb.admin_path)[backend, server]


def becomes(lb: Lb, server: str, backend: str = "app", **columns: str) -> dict[str, str]:
    """Wait until the row of a server has these values; return it."""

    def shown() -> dict[str, str]:
        now = row(lb, server, backend)
        return {column: now[column] for column in columns}

    eventually(lambda: shown() == columns, Words(lambda: f"{backend}/{server} to be {columns}; it is {shown()}"))
    return row(lb, server, backend)
