"""A worker of the real engine dies with a lock in its hand: the others go on, and every number is right again."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit.echo import Echo, wait_until

POINTS = (
    "gauge.locked",
    "gauge.row",
    "gauge.counted",
    "gauge.left",
    "balance.locked",
    "balance.chosen",
    "balance.sifted",
)
RUN = "import sys; from lb.supervisor.run import main; sys.exit(main(sys.argv[1], int(sys.argv[2])))"


@contextmanager
def named_server(name: bytes) -> Iterator[str]:
    """Say a name to each connection and keep it until the other side ends."""

    def serve(sock: socket.socket) -> None:
        # A worker that dies resets its connections.
        with closing(sock), suppress(ConnectionError):
            sock.sendall(name)
            while sock.recv(1024):
                pass

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(sock,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=accept)
    thread.start()
    try:
        host, port = listener.getsockname()
        yield f"{host}:{port}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for each in threads:
            each.join()


class Relaying(Echo):
    """lb with its own engine before two servers."""

    servers: tuple[str, ...] = ()

    def arguments(self, ready_fd: int) -> list[str]:
        return ["-c", RUN, str(self.file), str(ready_fd)]

    def proxies(self) -> dict[str, object]:
        servers = [{"name": f"s{at}", "address": address} for at, address in enumerate(self.servers)]
        return {
            "defaults": {"timeouts": {"connect": "5s", "client": "30s", "server": "30s"}},
            "frontends": {"web": {"mode": "tcp", "maxconn": 40, "bind": self.binds, "default_backend": "app"}},
            "backends": {"app": {"mode": "tcp", "servers": servers}},
        }

    def stat(self, proxy: str, name: str, column: str) -> int:
        """Return one figure of `show stat`."""
        header, *rows = self.command("show stat").lstrip("# ").splitlines()
        at = header.split(",").index(column)
        (figure,) = [row.split(",")[at] for row in rows if row.split(",")[:2] == [proxy, name]]
        return int(figure)


def visit(lb: Relaying, opened: ExitStack) -> bytes:
    """Connect and return the name of the server that answers, b"" if the worker died with the connection."""
    sock = opened.enter_context(lb.connect())
    try:
        return sock.recv(16)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_dies_with_a_lock_leaves_everything_right(tmp_path: Path, point: str) -> None:
    token = tmp_path / "token"
    with named_server(b"one") as one, named_server(b"two") as two:
        lb = Relaying(tmp_path)
        lb.servers = (one, two)
        lb.environment["LB_KILL_AT"] = f"{point}@{token}"
        lb.write()
        with lb:
            token.touch()
            for _ in range(100):
                with ExitStack() as opened:
                    visit(lb, opened)
                if not token.exists():
                    break
            assert not token.exists()
            lb.said("SIGKILL")
            # Its replacement is at work, and nothing dead holds a place: the limit fits exactly.
            wait_until(lambda: lb.stat("web", "FRONTEND", "scur") == 0)
            with ExitStack() as opened:
                answers = Counter(visit(lb, opened) for _ in range(40))
                assert answers == {b"one": 20, b"two": 20}
                assert lb.stat("web", "FRONTEND", "scur") == 40
            wait_until(lambda: lb.stat("web", "FRONTEND", "scur") == 0)
            wait_until(lambda: "CurrConns: 0" in lb.command("show info"))
