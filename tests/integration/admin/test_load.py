"""What `show info` and `show stat` say of the workers' insides: pipes, memory, ages. Only a running lb has these."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

from kit.daemon import Lb
from kit.deadline import eventually
from kit.server import Connection
from kit.settings import relay
from kit.stage import Stage

from lb._speedups.face.engine import PIPES_MAX
from lb.admin.statistics import COLUMNS
from lb.supervisor.workers import ANSWER_S
from tests.kit.echo import Echo

BULK = 16 << 20


def info(text: str) -> dict[str, str]:
    return dict(line.split(": ") for line in text.strip().splitlines())


def test_pipes_are_counted_while_they_hold_bytes(daemon: Stage) -> None:
    def bulk(connection: Connection) -> None:
        connection.send(b"x" * BULK)

    lb = daemon.start(relay("tcp", daemon.server(bulk).text, workers=2))
    assert isinstance(lb, Lb)
    before = info(lb.admin("show info"))
    assert before["Maxpipes"] == str(2 * PIPES_MAX)
    assert (before["PipesUsed"], before["PipesFree"], before["Tasks"]) == ("0", "0", "0")
    # What a reader does not take stays in a pipe.
    client = daemon.client(receive_buffer=4096)
    eventually(lambda: info(lb.admin("show info"))["PipesUsed"] == "1", "a pipe in use")
    during = info(lb.admin("show info"))
    assert int(during["Tasks"]) >= 2  # a connection on either side, and what joins them
    assert int(during["PoolUsed_bytes"]) > 0
    assert int(during["PoolAlloc_bytes"]) >= int(during["PoolUsed_bytes"])
    assert len(client.read_to_end()) == BULK
    client.close()
    eventually(lambda: info(lb.admin("show info"))["PipesUsed"] == "0", "no pipe in use")
    after = info(lb.admin("show info"))
    assert (after["PipesFree"], after["Tasks"], after["PoolUsed_bytes"]) == ("1", "0", "0")


def test_a_worker_that_does_not_answer_counts_with_what_it_said_before(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=2) as lb, closing(lb.connect()) as connection:
        connection.sendall(b"x\n")
        assert connection.recv(2) == b"x\n"
        before = info(lb.command("show info"))
        assert int(before["PoolUsed_bytes"]) > 0
        stopped = lb.workers().values()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        after = info(lb.command("show info"))
        took_s = time.monotonic() - began
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        assert took_s < ANSWER_S / 2
        assert after["PoolUsed_bytes"] == before["PoolUsed_bytes"]


def test_what_is_not_built_is_empty_and_no_zero(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        for line in lb.command("show stat").splitlines()[1:]:
            row = dict(zip(COLUMNS, line.split(","), strict=False))
            for column in ("qcur", "qmax", "wrew", "idle_conn_cur"):
                assert row[column] == "", (row["svname"], column)


def test_a_server_that_a_reload_brings_is_younger_than_the_process(tmp_path: Path) -> None:
    def ages(lb: Echo) -> dict[str, int]:
        rows = [
            dict(zip(COLUMNS, line.split(","), strict=False)) for line in lb.command("show stat -1 4 -1").splitlines()
        ]
        return {row["svname"]: int(row["lastchg"]) for row in rows[1:]}

    with Echo(tmp_path) as lb:
        eventually(lambda: ages(lb)["s1"] >= 1, "the first second")
        configuration = lb.file.read_text().replace('"s1"', '"s2"')
        lb.write(configuration)
        assert lb.command("reload").startswith("Success=1")
        assert list(ages(lb)) == ["s2"]
        assert ages(lb)["s2"] < int(info(lb.command("show info"))["Uptime_sec"])
