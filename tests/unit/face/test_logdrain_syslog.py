"""The log thread and syslog servers: headers, framing, and what happens when a server is slow, full or gone."""

from __future__ import annotations

import os
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lb._speedups.face.logdrain import LogDrain, Syslog
from lb._speedups.face.mapping import Mapping
from lb._speedups.face.testing_log import Ring

HOST = re.sub("[^!-~]", "-", socket.gethostname())
PATIENCE_S = 20


class Logged:
    """A ring, and log threads that read it."""

    def __init__(self) -> None:
        self.mapping = Mapping.create()
        self.mapping.reserve(1)
        self.ring = Ring(self.mapping, 1)
        self.drains: list[LogDrain] = []

    def start(self, *targets: str | Syslog) -> LogDrain:
        self.drains.append(LogDrain(self.mapping, targets))
        return self.drains[-1]

    def stop(self) -> None:
        for drain in self.drains:
            drain.stop(0)


@pytest.fixture
def logged() -> Iterator[Logged]:
    before = set(os.listdir("/proc/self/fd"))
    logged = Logged()
    yield logged
    logged.stop()
    logged.drains.clear()
    logged.mapping.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def eventually(holds: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until
        # Only between looks at a thread that does not announce itself.
        select.select([], [], [], 0.005)


def udp(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    server.settimeout(PATIENCE_S)
    return server


def unix(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(path))
    server.settimeout(PATIENCE_S)
    return server


def tcp(port: int = 0) -> socket.socket:
    server = socket.create_server(("127.0.0.1", port))
    server.settimeout(PATIENCE_S)
    return server


def at(server: socket.socket, form: str = "rfc3164", priority: int = 134, tag: str = "lb") -> Syslog:
    name = server.getsockname()
    if server.family == socket.AF_UNIX:
        return Syslog(f"unix:{name}", form, priority, tag)  # type: ignore[arg-type]
    transport = "udp" if server.type == socket.SOCK_DGRAM else "tcp"
    host = f"[{name[0]}]" if server.family == socket.AF_INET6 else name[0]
    return Syslog(f"{transport}:{host}:{name[1]}", form, priority, tag)  # type: ignore[arg-type]


class Frames:
    """Messages with octet counting, read a few bytes at a time."""

    def __init__(self, server: socket.socket, piece: int = 65536) -> None:
        self.connection, _ = server.accept()
        self.connection.settimeout(PATIENCE_S)
        self.piece = piece
        self.held = b""

    def _more(self) -> None:
        data = self.connection.recv(self.piece)
        assert data, f"the stream ended with {self.held!r} held"
        self.held += data

    def read(self) -> bytes:
        while b" " not in self.held:
            self._more()
        digits, _, self.held = self.held.partition(b" ")
        assert re.fullmatch(rb"[1-9][0-9]*", digits), digits
        while len(self.held) < int(digits):
            self._more()
        message, self.held = self.held[: int(digits)], self.held[int(digits) :]
        return message

    def close(self) -> None:
        self.connection.close()


def texts(server: socket.socket, count: int) -> list[bytes]:
    return [server.recv(65536).partition(b": ")[2] for _ in range(count)]


# ---- headers ----------------------------------------------------------------------------------------------


def without_clock(message: bytes, form: str) -> bytes:
    """Check the time of a header, which is now, and write `NOW` instead."""
    if form == "rfc5424":
        found = re.match(rb"<\d+>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}([+-]\d\d):(\d\d)) ", message)
        assert found, message
        at_s = time.mktime(time.strptime(found[1][:19].decode(), "%Y-%m-%dT%H:%M:%S"))
        assert found[2] + found[3] == time.strftime("%z").encode()
    else:
        found = re.match(rb"<\d+>([A-Z][a-z][a-z] [ 123]\d \d\d:\d\d:\d\d) ", message)
        assert found, message
        year = time.strftime("%Y ")
        at_s = time.mktime(time.strptime(year + found[1].decode(), "%Y %b %d %H:%M:%S"))
    assert abs(time.time() - at_s) < PATIENCE_S
    return message[: found.start(1)] + b"NOW" + message[found.end(1) :]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("local", "<134>NOW edge-1[{pid}]: {{}} a "),
        ("rfc3164", "<134>NOW {host} edge-1[{pid}]: {{}} a "),
        ("rfc5424", "<134>1 NOW {host} edge-1 {pid} - - {{}} a "),
    ],
)
def test_a_header_is_byte_for_byte(logged: Logged, form: str, expected: str) -> None:
    with udp() as server:
        logged.start(at(server, form, tag="edge-1"))
        logged.ring.write(b"{} a ")
        message = without_clock(server.recv(65536), form)
        assert message == expected.format(pid=os.getpid(), host=HOST).replace("{{}}", "{}").encode()


def test_the_severity_of_a_message_is_its_own_and_that_of_an_access_record_the_targets(logged: Logged) -> None:
    with udp() as server:
        logged.start(at(server, priority=16 * 8 + 5))
        for level in (0, 1, 7):
            logged.ring.write(b"x", 0, level)
        assert [server.recv(65536)[:5] for _ in range(3)] == [b"<133>", b"<129>", b"<135>"]


def test_headers_of_several_targets_differ_and_a_file_gets_none(logged: Logged, tmp_path: Path) -> None:
    with udp() as one, unix(tmp_path / "log") as other:
        drain = logged.start(at(one), str(tmp_path / "a.log"), at(other, "local"))
        logged.ring.write(b"all", 0xFFFF)
        drain.flush()
        assert without_clock(one.recv(99), "rfc3164") == f"<134>NOW {HOST} lb[{os.getpid()}]: all".encode()
        assert without_clock(other.recv(99), "local") == f"<134>NOW lb[{os.getpid()}]: all".encode()
        assert (tmp_path / "a.log").read_bytes() == b"all\n"


# ---- datagrams --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ipv4", "ipv6", "unix"])
def test_a_burst_of_a_thousand_records_arrives_in_order(logged: Logged, tmp_path: Path, kind: str) -> None:
    server = unix(tmp_path / "log") if kind == "unix" else udp(socket.AF_INET6 if kind == "ipv6" else socket.AF_INET)
    with server:
        # Room for all: what a full UDP receiver throws away, nobody is told.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        drain = logged.start(at(server))
        for number in range(1000):
            logged.ring.write(b"%d" % number)
        received = []
        while len(received) < 1000:
            received += texts(server, 1)
        assert received == [b"%d" % number for number in range(1000)]
        (stats,) = drain.stats()["targets"]
        assert (stats["records"], stats["dropped"], stats["error"]) == (1000, 0, "")


def test_a_unix_server_that_does_not_read_gets_all_that_fits_and_the_rest_is_counted(
    logged: Logged, tmp_path: Path
) -> None:
    with unix(tmp_path / "log") as server:
        drain = logged.start(at(server), str(tmp_path / "a.log"))
        sent = 0
        while not drain.dropped(0):
            logged.ring.repeat(b"x" * 1000, 500)
            sent += 500
            drain.flush()
        # Others go on, and nobody has waited.
        logged.ring.write(b"fine", 1)
        drain.flush()
        assert (tmp_path / "a.log").read_bytes() == b"fine\n"
        kept = sent - drain.dropped(0)
        assert 3000 < kept < sent
        assert texts(server, kept) == [b"x" * 1000] * kept
        logged.ring.write(b"again")
        assert texts(server, 1) == [b"again"]


def test_a_unix_server_may_come_late_go_and_return(logged: Logged, tmp_path: Path) -> None:
    path = tmp_path / "log"
    drain = logged.start(Syslog(f"unix:{path}", "rfc3164", 134, "lb"))
    logged.ring.write(b"early")
    eventually(lambda: drain.stats()["targets"][0]["error"] == "No such file or directory")
    with unix(path) as server:
        assert texts(server, 1) == [b"early"]
    path.unlink()
    logged.ring.write(b"while it is away")
    eventually(lambda: drain.stats()["targets"][0]["error"])
    with unix(path) as server:
        assert texts(server, 1) == [b"while it is away"]
    assert drain.stats()["dropped"] == 0


def test_what_a_udp_server_that_is_gone_refuses_is_dropped_and_counted(logged: Logged) -> None:
    with udp() as server:
        drain = logged.start(at(server))
        logged.ring.write(b"one")
        assert texts(server, 1) == [b"one"]
        address = server.getsockname()
    sent = 0

    def is_refused() -> bool:
        nonlocal sent
        sent += 10
        logged.ring.repeat(b"nobody", 10)
        drain.flush()
        return drain.stats()["targets"][0]["error"] == "Connection refused"

    # The kernel tells with a later datagram.
    eventually(is_refused)
    assert 1 <= drain.dropped(0) <= sent
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server:
        server.bind(address)
        server.settimeout(PATIENCE_S)
        logged.ring.write(b"returned")
        assert texts(server, 1) == [b"returned"]


# ---- tcp --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 65536])
def test_tcp_messages_are_counted_in_octets(logged: Logged, piece: int) -> None:
    with tcp() as server:
        drain = logged.start(at(server, "rfc5424"))
        frames = Frames(server, piece)
        for size in (0, 1, 900, 4000):
            logged.ring.write(b"y" * size)
        for size in (0, 1, 900, 4000):
            message = without_clock(frames.read(), "rfc5424")
            assert message == f"<134>1 NOW {HOST} lb {os.getpid()} - - ".encode() + b"y" * size
        logged.ring.repeat(b"z", 1000)
        for _ in range(1000):
            assert frames.read().endswith(b" - - z")
        drain.flush()
        assert drain.stats()["dropped"] == 0
        frames.close()


def test_a_tcp_server_that_stops_reading_loses_records_and_only_it(logged: Logged, tmp_path: Path) -> None:
    with tcp() as server:
        drain = logged.start(at(server), str(tmp_path / "a.log"))
        frames = Frames(server)
        sent = 0
        while not drain.dropped(0):
            logged.ring.repeat(b"%07d" % sent + b"x" * 1000, 500)
            sent += 500
            drain.flush()
        logged.ring.write(b"fine", 1)
        drain.flush()
        assert (tmp_path / "a.log").read_bytes() == b"fine\n"
        kept = sent - drain.dropped(0)
        for _ in range(kept):
            assert frames.read().endswith(b"x" * 1000)
        logged.ring.write(b"again")
        assert frames.read().endswith(b": again")
        frames.close()


def test_a_tcp_server_that_returns_gets_whole_messages(logged: Logged) -> None:
    with tcp() as server:
        drain = logged.start(at(server))
        frames = Frames(server)
        logged.ring.write(b"before")
        assert frames.read().endswith(b": before")
        port = server.getsockname()[1]
        frames.close()
    eventually(lambda: drain.stats()["targets"][0]["error"] == "Connection refused")
    logged.ring.repeat(b"away", 1000)
    drain.flush()
    with tcp(port) as server:
        frames = Frames(server)
        for _ in range(1000):
            assert frames.read().endswith(b": away")
        frames.close()
    assert drain.stats()["dropped"] == 0


def test_a_message_cut_by_the_end_of_a_connection_is_sent_again_whole(logged: Logged) -> None:
    with tcp() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        drain = logged.start(at(server))
        frames = Frames(server)
        # More than the kernel's buffers hold: it stops somewhere inside a message.
        while not drain.dropped(0):
            logged.ring.repeat(b"x" * 1000, 500)
            drain.flush()
        frames.close()
        frames = Frames(server)
        for _ in range(100):
            assert frames.read().endswith(b": " + b"x" * 1000)
        frames.close()


def test_a_tcp_server_that_closes_is_seen_before_records_go_to_it(logged: Logged) -> None:
    with tcp() as server:
        drain = logged.start(at(server))
        for turn in range(3):
            frames = Frames(server)
            logged.ring.write(b"turn %d" % turn)
            assert frames.read().endswith(b": turn %d" % turn)
            # Nothing is sent; that it ended is seen all the same, and the next connection comes.
            frames.close()
        Frames(server).close()
        assert drain.stats()["dropped"] == 0


def test_what_a_tcp_server_sends_is_not_looked_at(logged: Logged) -> None:
    with tcp() as server:
        logged.start(at(server))
        frames = Frames(server)
        frames.connection.sendall(b"hello, who is there?\n" * 1000)
        logged.ring.write(b"me")
        assert frames.read().endswith(b": me")
        frames.close()


def test_stopping_waits_for_a_tcp_server_and_not_for_one_that_is_gone(logged: Logged) -> None:
    with tcp() as server, tcp() as other:
        drain = logged.start(at(server))
        logged.ring.repeat(b"last", 1000)
        assert drain.stop(PATIENCE_S)
        frames = Frames(server)
        for _ in range(1000):
            assert frames.read().endswith(b": last")
        assert frames.connection.recv(1) == b""
        frames.close()
        gone = at(other)
    drain = logged.start(gone)
    logged.ring.write(b"nobody")
    eventually(lambda: drain.stats()["targets"][0]["error"])
    began = time.monotonic()
    assert not drain.stop(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S / 2
    assert drain.stats()["dropped"] == 1


# ---- other targets ----------------------------------------------------------------------------------------


def test_a_target_that_stays_keeps_its_connection(logged: Logged) -> None:
    with tcp() as server, udp() as other:
        drain = logged.start(at(server))
        frames = Frames(server)
        drain.set_targets([at(other), at(server)])
        logged.ring.write(b"stayed", 1)
        logged.ring.write(b"new", 0)
        assert frames.read().endswith(b": stayed")
        assert texts(other, 1) == [b"new"]
        assert drain.reopen() == []
        drain.set_targets([at(server, tag="other")])
        assert frames.connection.recv(1) == b""
        frames.close()
        frames = Frames(server)
        logged.ring.write(b"renamed")
        assert f" other[{os.getpid()}]: renamed".encode() in frames.read()
        frames.close()


def test_what_waits_for_a_removed_server_is_counted(logged: Logged, tmp_path: Path) -> None:
    drain = logged.start(Syslog(f"unix:{tmp_path}/nobody", "local", 134, "lb"))
    logged.ring.repeat(b"x", 7)
    drain.set_targets([])
    assert drain.stats()["dropped"] == 7


@pytest.mark.parametrize("to", ["udp:localhost:514", "tcp:[::g]:514", "unix:/" + "x" * 107])
def test_an_address_that_is_none_is_refused(logged: Logged, to: str) -> None:
    with pytest.raises(ValueError, match="log target"):
        logged.start(Syslog(to, "local", 134, "lb"))
