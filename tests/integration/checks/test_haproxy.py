"""Beside HAProxy: the same servers die and come back, and both show and say the same of them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from kit.daemon import Lb
from kit.deadline import DEADLINE, Words, eventually
from kit.server import Connection, Refused, Script, answering, silent
from kit.settings import relay
from kit.stage import Stage
from kit.stat import Rows, rows

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

COLUMNS = """
    status weight act bck chkfail chkdown check_status check_code last_chk check_desc check_rise check_fall check_health
    hanafail tracked
""".split()  # noqa: SIM905
NUMBERS = ("lastchg", "downtime", "check_duration")
SPOKEN = re.compile(r"((?:Backup )?Server app/\S+ is (?:UP|DOWN).*|backend app has no server available!)")


class Peer:
    """HAProxy with checks and an admin socket."""

    def __init__(self, directory: Path, servers: list[str], *options: str) -> None:
        self.admin = str(directory / "peer.sock")
        self.path = directory / "peer.log"
        config = directory / "peer.cfg"
        config.write_text(
            "global\n log stdout format raw local0\n stats socket " + self.admin + "\n"
            "defaults\n mode http\n log global\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
            "backend app\n" + "".join(f" {line}\n" for line in [*options, *(f"server {each}" for each in servers)])
        )
        with self.path.open("wb") as out:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL
            )
        eventually(lambda: Path(self.admin).exists(), "HAProxy's admin socket")

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)


ANSWERS: dict[str, bytes] = {
    "well": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "moved": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "old": b"HTTP/1.0 200 Fine\r\n\r\nhello",
    "lost": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "full": b'HTTP/1.1 503 "Full" up\r\nContent-Length: 0\r\n\r\n',
    "garbage": b"garbage\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("content", [False, True])
def test_both_find_the_same_in_responses(daemon: Stage, tmp_path: Path, content: bool) -> None:
    def script(answer: bytes) -> Script:
        def say(connection: Connection) -> None:
            connection.head()
            connection.send(answer)

        return say

    addresses = {name: daemon.server(script(answer)).text for name, answer in ANSWERS.items()}
    addresses["silent"] = daemon.server(silent).text
    addresses["refused"] = daemon.refused().text
    options = ["http-check expect string ok"] if content else []
    servers = [f"{name} {address} check inter 1s" for name, address in addresses.items()]
    peer = Peer(tmp_path, servers, "option httpchk GET /", *options)
    daemon.defer(peer.stop)
    check = {"http": "GET /", "every": "1s", **({"string": "ok", "status": "100-599"} if content else {})}
    lb = daemon.start(
        relay("http", *({"name": n, "address": a} for n, a in addresses.items()), backend={"check": check})
    )
    assert isinstance(lb, Lb)
    well = {"well"} if content else {"well", "moved", "old"}

    def settled(given: Rows) -> bool:
        return all(given["app", name]["status"] == ("UP" if name in well else "DOWN") for name in addresses)

    eventually(
        lambda: settled(rows(lb.admin_path)) and settled(rows(peer.admin)),
        Words(lambda: f"{shown(rows(lb.admin_path))}, HAProxy {shown(rows(peer.admin))}"),
    )

    def differences() -> list[str]:
        ours, theirs = shown(rows(lb.admin_path)), shown(rows(peer.admin))
        return [f"{name}: {ours[name]}, HAProxy {theirs[name]}" for name in ours if ours[name] != theirs[name]]

    # Not at any moment: HAProxy's code is 0 while the next check runs.
    eventually(lambda: not differences(), Words(lambda: str(differences())))

    def reasons(text: str) -> list[str]:
        return [line.partition(". ")[0] for line in spoken(text) if " DOWN" in line]

    eventually(lambda: len(reasons(lb.stderr())) == len(addresses) - len(well), "every line")
    assert reasons(lb.stderr()) == reasons(peer.path.read_text())


def shown(given: Rows) -> dict[str, list[str]]:
    """Return what both must show of each server and the backend."""
    return {
        name: [values[column].removeprefix("* ") for column in COLUMNS]
        for (backend, name), values in given.items()
        if backend == "app"
    }


def spoken(text: str) -> list[str]:
    """Return the lines of health without their measured time, sorted: two servers may go in either order."""
    return sorted(re.sub(r"duration: \d+ms", "duration: ms", line) for line in SPOKEN.findall(text))


def test_both_show_and_say_the_same(daemon: Stage, tmp_path: Path) -> None:
    first, second, spare = daemon.refused(), daemon.refused(), daemon.refused()
    hole = daemon.black_hole()
    servers = [
        {"name": "one", "address": first.text, "weight": 5},
        {"name": "two", "address": second.text, "check": {"rise": 3, "fall": 1}},
        {"name": "spare", "address": spare.text, "backup": True},
        {"name": "hole", "address": hole.text, "check": {"every": "500ms"}},
        {"name": "none", "address": first.text, "weight": 0, "check": False, "observe": "none"},
    ]
    peer = Peer(
        tmp_path,
        [
            f"one {first.text} weight 5 check inter 250ms",
            f"two {second.text} check inter 250ms rise 3 fall 1",
            f"spare {spare.text} backup check inter 250ms",
            f"hole {hole.text} check inter 500ms",
            f"none {first.text} weight 0",
        ],
    )
    daemon.defer(peer.stop)
    lb = daemon.start(relay("http", *servers, backend={"check": {"every": "250ms"}}))
    assert isinstance(lb, Lb)

    def agree(names: str, status: str) -> None:
        """Wait until these servers are settled on both sides; then everything must be the same."""

        def settled(given: Rows) -> bool:
            return all(given["app", name]["status"] == status for name in names.split())

        eventually(
            lambda: settled(rows(lb.admin_path)) and settled(rows(peer.admin)),
            Words(lambda: f"{names} to be {status}: {shown(rows(lb.admin_path))}, HAProxy {shown(rows(peer.admin))}"),
        )
        ours, theirs = rows(lb.admin_path), rows(peer.admin)
        assert shown(ours) == shown(theirs)
        for key, values in ours.items():
            if key[0] == "app":
                assert [bool(values[column]) for column in NUMBERS] == [bool(theirs[key][column]) for column in NUMBERS]

    def back(refused: Refused) -> None:
        refused.close()
        daemon.server(answering(), address=refused.address)

    agree("one two spare hole", "DOWN")
    back(spare)
    agree("spare", "UP")
    back(first)
    agree("one", "UP")
    back(second)
    agree("two", "UP")
    for server in daemon.servers:
        server.close()
    agree("one two spare", "DOWN")
    eventually(lambda: len(spoken(lb.stderr())) == len(spoken(peer.path.read_text())), "both to have said the same")
    ours, theirs = spoken(lb.stderr()), spoken(peer.path.read_text())
    # Who goes in which order decides what is left at each.
    first_part = [line.partition(". ")[0] for line in ours]
    assert first_part == [line.partition(". ")[0] for line in theirs]
    assert [re.sub(r"\d+", "N", line) for line in ours if "UP" in line] == [
        re.sub(r"\d+", "N", line) for line in theirs if "UP" in line
    ]
    assert {re.sub(r"\d+ active and \d+", "", re.sub("Running on backup. ", "", line)) for line in ours} == {
        re.sub(r"\d+ active and \d+", "", re.sub("Running on backup. ", "", line)) for line in theirs
    }
