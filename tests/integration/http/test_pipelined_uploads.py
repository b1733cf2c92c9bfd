"""Requests that share a read: what stands behind a head belongs to the body, wherever it was put meanwhile."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE_S = 20

CONFIG = """
version: 1
global: {{workers: 1, admin: {{path: {directory}/admin.sock}}, log: [{{to: {directory}/log, format: json}}]}}
frontends:
  web: {{mode: http, bind: ["127.0.0.1:0"], forwarded_for: true, default_backend: app}}
backends:
  app: {{servers: ["127.0.0.1:{server}"]}}
"""


class Uploads:
    """A server that answers each upload with `ok` and keeps the bodies."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.bodies: list[bytes] = []
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,))
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rwb") as stream:
            while stream.readline():
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                self.bodies.append(stream.read(length))
                stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                stream.flush()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture
def uploads() -> Iterator[Uploads]:
    server = Uploads()
    yield server
    server.close()


@pytest.fixture
def port(uploads: Uploads, tmp_path: Path) -> Iterator[int]:
    (tmp_path / "lb.yaml").write_text(CONFIG.format(directory=tmp_path, server=uploads.port))
    command = [sys.executable, "-P", "-m", "lb", "run", "-f", str(tmp_path / "lb.yaml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as lb:
        assert lb.stderr
        try:
            for line in lb.stderr:
                if "listening on" in line:
                    break
            yield int(line.split()[3].rpartition(":")[2])
        finally:
            lb.send_signal(signal.SIGINT)
            lb.stderr.read()
            lb.wait(PATIENCE_S)
    assert lb.returncode == 0


def upload(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: h1.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_a_second_upload_in_the_first_ones_last_read_arrives_whole(port: int, uploads: Uploads) -> None:
    # The second request stood 15 to 16 KiB long in the buffer of the first: its last KiB went where edits go, and
    # X-Forwarded-For was written over it.
    rng = random.Random(1)
    for length in range(15_000, 17_000, 61):
        first, second = rng.randbytes(length), rng.randbytes(20_000)
        uploads.bodies.clear()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
            sock.sendall(upload(first) + upload(second))
            got = b""
            while got.count(b"\r\n\r\nok") < 2:
                piece = sock.recv(65536)
                assert piece, got
                got += piece
        assert uploads.bodies == [first, second], length
