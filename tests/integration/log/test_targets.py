"""What is written where: journald, the error log, samples, failures; and targets that do not take it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import DEADLINE, eventually
from kit.server import Server, answering
from kit.settings import Settings, relay

import lb.config
from lb._speedups.face.logdrain import LogDrain, Syslog
from lb._speedups.face.mapping import Mapping
from lb._speedups.face.testing_log import Ring

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(answering())
    yield server
    server.close()


def logging(server: Server, *targets: dict[str, Any], **frontend: Any) -> Settings:
    settings = relay("http", server.text)
    settings["global"]["log"] = list(targets)
    settings["global"]["workers"] = 1
    settings["frontends"]["web"].update(frontend)
    return settings


@contextlib.contextmanager
def running(settings: Settings, directory: Path) -> Iterator[Lb]:
    lb = Lb(settings, directory, log=False)
    try:
        yield lb
    finally:
        lb.stop()


def ask(lb: Lb, *targets: str) -> None:
    with contextlib.closing(Client(lb.addresses["web"][0])) as client:
        for target in targets:
            assert client.get(target).status == 200


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def fields_of(message: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in message.decode().removesuffix("\n").split("\n"))


@contextlib.contextmanager
def journal(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(DEADLINE)
        yield sock


def test_journald_gets_a_field_for_each_key(server: Server, tmp_path: Path) -> None:
    with journal(tmp_path / "journal") as sock:
        to = f"journald:{tmp_path}/journal"
        targets = [
            {"to": to, "tag": "edge", "facility": "local3"},
            {"to": to, "format": "haproxy", "severity": "notice"},
        ]
        with running(logging(server, *targets), tmp_path) as lb:
            ask(lb, '/a"b\\c')
            found = [fields_of(sock.recv(65536)) for _ in range(2)]
            found.sort(key=len)
            line, record = found
            assert (line["PRIORITY"], line["SYSLOG_FACILITY"], line["SYSLOG_IDENTIFIER"]) == ("5", "16", "lb")
            assert line["MESSAGE"].endswith('"GET /a#22b\\c HTTP/1.1"')
            assert (record["PRIORITY"], record["SYSLOG_FACILITY"], record["SYSLOG_IDENTIFIER"]) == ("6", "19", "edge")
            assert record["SYSLOG_PID"] == str(lb.process.pid)
            said = json.loads(record["MESSAGE"])
            assert record["LB_STATUS"] == "200"
            assert record["LB_TARGET"] == '/a"b\\c'
            assert record["LB_BACKEND"] == "app"
            # What did not happen has no field.
            assert {f"LB_{key.upper()}" for key, value in said.items() if value is not None} == {
                key for key in record if key.startswith("LB_")
            }


def test_journald_that_was_away_gets_what_waited(server: Server, tmp_path: Path) -> None:
    with running(logging(server, {"to": f"journald:{tmp_path}/journal"}), tmp_path) as lb:
        lb.expect_stderr("journald:.*(no such file or directory; records wait|takes records again)")
        ask(lb, "/early")
        eventually(lambda: "records wait" in lb.stderr(), "a line about it")
        with journal(tmp_path / "journal") as sock:
            assert fields_of(sock.recv(65536))["LB_TARGET"] == "/early"


def test_what_no_datagram_takes_goes_as_a_sealed_file(tmp_path: Path) -> None:
    mapping = Mapping.create()
    with journal(tmp_path / "journal") as sock:
        drain = LogDrain(mapping, [], [(Syslog(f"journald:{tmp_path}/journal", "journald", 30, "lb"), 5)])
        try:
            drain.write("lb: " + "x" * 400_000, 4)
            drain.write("lb: too little to be told", 6)
            drain.write("lb: short", 5)
            drain.flush()
            message, descriptors, _, _ = socket.recv_fds(sock, 65536, 4)
            assert message == b""
            with open(descriptors[0], "rb") as large:
                assert fields_of(os.pread(large.fileno(), 1 << 20, 0)) == {
                    "PRIORITY": "4",
                    "SYSLOG_FACILITY": "3",
                    "SYSLOG_IDENTIFIER": "lb",
                    "SYSLOG_PID": str(os.getpid()),
                    "MESSAGE": "x" * 400_000,
                }
                with pytest.raises(PermissionError):
                    os.ftruncate(os.open(f"/proc/self/fd/{large.fileno()}", os.O_RDWR), 0)
            assert fields_of(sock.recv(65536))["MESSAGE"] == "short"
        finally:
            drain.stop()
            mapping.close()


@pytest.mark.parametrize(
    "text",
    [
        *(b"{", b"{}", b'{"', b'{"a', b'{"a"', b'{"a":', b'{"a":"b', b'{"a":"b\\', b'{"a":n', b'{"a":1', b'{"a":"\n"}'),
        b"\xff" * 4095,
        b'{"' + b"k" * 200 + b'":"' + b"v" * 3000 + b'","b":2}',
        b'{"a":1,"b-c":"d","e":null,"f":"g"}',
    ],
)
def test_whatever_stands_in_a_ring_becomes_fields_or_none(text: bytes, tmp_path: Path) -> None:
    mapping = Mapping.create()
    mapping.reserve(1)
    with journal(tmp_path / "journal") as sock:
        drain = LogDrain(mapping, [Syslog(f"journald:{tmp_path}/journal", "journald", 30, "lb")])
        try:
            assert Ring(mapping, 1).write(text)
            drain.flush()
            message = sock.recv(65536)
        finally:
            drain.stop()
            mapping.close()
    head, _, rest = message.partition(b"MESSAGE=" + text + b"\n")
    assert head.startswith(b"PRIORITY=6\nSYSLOG_FACILITY=3\n")
    assert all(re.fullmatch(rb"LB_[A-Z0-9_]*=.*", line) for line in rest.splitlines())
    if text.endswith(b'"g"}'):
        assert rest == b"LB_A=1\nLB_B_C=d\nLB_F=g\n"


def test_the_error_log_has_lbs_own_lines(server: Server, tmp_path: Path) -> None:
    settings = logging(server, {"to": str(tmp_path / "access.log")})
    everything, grave = tmp_path / "error.log", tmp_path / "grave.log"
    with journal(tmp_path / "journal") as sock:
        settings["global"]["error_log"] = [
            str(everything),
            {"to": str(grave), "level": "warning"},
            {"to": f"journald:{tmp_path}/journal"},
        ]
        with running(settings, tmp_path) as lb:
            ask(lb, "/x")
            eventually(lambda: any("listening on" in each for each in lines(everything)), "own lines in the file")
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d lb: ready, 1 worker", lines(everything)[0])
            said = fields_of(sock.recv(65536))
            assert said["MESSAGE"].startswith("ready, 1 worker")
            assert (said["PRIORITY"], said["SYSLOG_FACILITY"]) == ("5", "3")
            assert lb.stderr() == ""
            lb.send_signal(signal.SIGUSR2)
            eventually(lambda: len(lines(grave)) == 1, "a warning")
            assert "lb: warning: SIGUSR2" in lines(grave)[0]
            # Rotation takes these files with it.
            everything.rename(tmp_path / "error.log.1")
            lb.send_signal(signal.SIGUSR1)
            eventually(lambda: any("log files reopened" in each for each in lines(everything)), "the new file")
            # Without a word about it, they go to stderr again.
            del settings["global"]["error_log"]
            lb.write(settings)
            lb.expect_stderr("reloaded, generation 2")
            lb.admin("reload")
            eventually(lambda: "reloaded" in lb.stderr(), "stderr")


def test_a_sample_is_exact(server: Server, tmp_path: Path) -> None:
    tenth, some, all_ = tmp_path / "tenth", tmp_path / "some", tmp_path / "all"
    targets = [
        {"to": str(tenth), "sample": "10%", "log_format": "%HU"},
        {"to": str(some), "sample": "2,4-5:5", "log_format": "%HU"},
        {"to": str(all_), "log_format": "%HU"},
    ]
    with running(logging(server, *targets), tmp_path) as lb:
        ask(lb, *(f"/{number}" for number in range(20)))
        eventually(lambda: len(lines(all_)) == 20, "all records")
        assert lines(tenth) == ["/0", "/10"]
        assert lines(some) == [f"/{number}" for number in range(20) if number % 5 in (1, 3, 4)]


def test_failures_can_be_told_apart(server: Server, tmp_path: Path) -> None:
    names = ("normal", "failed", "both", "syslog")
    files = {name: tmp_path / name for name in names}
    settings = logging(
        server,
        {"to": str(files["both"]), "log_format": "%HU"},
        {"to": str(files["failed"]), "log_format": "%HU", "level": "err"},
        {"to": f"unix:{tmp_path}/dev-log", "log_format": "%HU"},
        {"to": f"unix:{tmp_path}/dev-log", "log_format": "%HU", "min_level": "warning", "tag": "least"},
        log={"separate_errors": True},
    )
    with socket.socket() as gone, journal(tmp_path / "dev-log") as syslog:
        gone.bind(("127.0.0.1", 0))
        settings["defaults"] = {"retries": 0}
        settings["backends"]["gone"] = {"servers": [f"127.0.0.1:{gone.getsockname()[1]}"]}
        settings["frontends"]["web"]["routes"] = [{"match": {"path": "/gone"}, "to": "gone"}]
        settings["frontends"]["quiet"] = {
            **settings["frontends"]["web"],
            "log": {"targets": [{"to": str(files["normal"]), "log_format": "%HU %ST"}], "normal": False},
        }
        with running(settings, tmp_path) as lb:
            for name in ("web", "quiet"):
                with contextlib.closing(Client(lb.addresses[name][0])) as client:
                    assert client.get("/fine").status == 200
                with contextlib.closing(Client(lb.addresses[name][0])) as client:
                    assert client.get("/gone").status == 503
            eventually(lambda: lines(files["normal"]) == ["/gone 503"], "what failed alone")
            eventually(lambda: lines(files["both"]) == ["/fine", "/gone"], "both")
            assert lines(files["failed"]) == ["/gone"]
            severities = sorted(re.sub(rb"^<(\d+)>.* (\S+)\[\d+\]: ", rb"\1 \2 ", syslog.recv(999)) for _ in range(4))
            assert severities == [b"131 lb /gone", b"132 least /gone", b"134 lb /fine", b"134 least /fine"]


def test_connections_without_a_byte_can_be_left_out(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = relay("tcp", server.text)
    settings["global"]["log"] = [{"to": str(log), "log_format": "%ts %U"}]
    name = next(iter(settings["frontends"]))
    settings["frontends"][name]["log"] = {"null": False}
    with running(settings, tmp_path) as lb:
        for data in (b"", b"GET / HTTP/1.0\r\n\r\n"):
            with socket.create_connection(lb.addresses[name][0][:2], timeout=DEADLINE) as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
        eventually(lambda: lines(log) == ["-- 18"], "one record")


def test_a_full_disk_drops_counts_and_comes_back(tmp_path: Path) -> None:
    # /dev/full answers every write with ENOSPC.
    mapping = Mapping.create()
    mapping.reserve(1)
    ring = Ring(mapping, 1)
    drain = LogDrain(mapping, ["/dev/full", str(tmp_path / "fine")])
    try:
        for _ in range(3):
            ring.repeat(b"x" * 3999, 900)
            assert ring.write(b"last", 1)
            drain.flush(timeout_s=DEADLINE)
        (full, fine) = drain.stats()["targets"]
        assert full["error"] == "No space left on device"
        # 4 MiB wait; the rest is dropped and counted, and the other target has all of its own.
        assert full["dropped"] > 1000
        assert (fine["dropped"], fine["records"]) == (0, 3)
        assert lines(tmp_path / "fine") == ["last"] * 3
    finally:
        drain.stop()
        mapping.close()


def test_the_example_leads_where_it_says(tmp_path: Path, server: Server) -> None:
    text = (ROOT / "conf/logging.yaml").read_text()
    compiled = lb.config.compile(str(ROOT / "conf/logging.yaml"))
    assert [each.to for each in compiled.part.logs] == ["/var/log/lb/access.log", "/var/log/lb/failed.log", "stdout"]
    assert "separate_errors" in text
    import yaml

    settings = yaml.safe_load(text.replace("/var/log/lb", str(tmp_path)).replace(":8080", "127.0.0.1:0"))
    settings["frontends"]["db"]["bind"] = ["127.0.0.1:0"]
    settings["backends"]["app"]["servers"] = [server.text]
    settings["global"]["error_log"] = settings["global"]["error_log"][1:]
    with running(settings, tmp_path) as running_lb:
        ask(running_lb, "/shown")
        eventually(lambda: len(lines(tmp_path / "access.log")) == 1, "a line")
        assert lines(tmp_path / "access.log")[0].endswith('"GET /shown HTTP/1.1"')
        assert lines(tmp_path / "failed.log") == []
        eventually(lambda: running_lb.stdout() != "", "the first of ten records")
        assert list(json.loads(running_lb.stdout())) == ["time", "status", "uri", "ms"]
