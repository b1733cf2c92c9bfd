"""Maps and ACL files by hand: HAProxy's commands, and what HAProxy answers to the same."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kit.daemon import Lb
from kit.deadline import DEADLINE, eventually
from kit.settings import LOOPBACK
from kit.stage import Stage

pytestmark = pytest.mark.ours

FILES = {
    "str.map": "/a A\n/b   B b  \n\n/c\n/a A2\n#x y\n",
    "beg.map": "/a 1\n/ab 2\n/ 0\n/abc 3\n",
    "ip.map": "10.0.0.0/8 eight\n10.1.0.0/16 sixteen\n10.1.2.3 host\n2001:db8::/32 six\n",
    "int.map": "1 one\n1:10 ten\n5 five\n20: big\n:0 neg\n",
    "num.map": "/a 12\n/b -4\n/e\n",
    "sub.map": "b first\nab second\nabc third\n",
    "addr.map": "/a 1.2.3.4\n/b ::1\n",
    "bad.acl": "10.0.0.0/8\n#c2\n  192.168.0.1\n\n::1\nfe80::/10\n",
    "names.acl": "One\ntwo\n",
}
SHOWN = (
    "%[path,map(str.map,none)] %[path,map_beg(beg.map)] %[src,map_ip(ip.map)] %[src_port,map_int(int.map)] "
    "%[path,map_str_int(num.map,7)] %[path,map_sub(sub.map)] %[path,map_str_ip(addr.map)]"
)


def settings(workers: int = 2) -> dict[str, Any]:
    return {
        "version": 1,
        "global": {"workers": workers},
        "frontends": {
            "web": {
                "bind": [LOOPBACK],
                "rules": [
                    {"deny": 403, "if": "{ src -f bad.acl } { path -i -f names.acl }"},
                    {"set_map": ["str.map", "%[req.hdr(key)]", "%[req.hdr(value)]"], "if": "{ path /set }"},
                    {"return": {"body": "%[req.hdr(key),map(str.map,none)]"}, "if": "{ req.hdr(key) -m found }"},
                    {"return": {"body": SHOWN}},
                ],
            }
        },
    }


@pytest.fixture
def lb(daemon: Stage) -> Lb:
    for name, content in FILES.items():
        (daemon.directory / name).write_text(content)
    proxy = daemon.start(settings())
    assert isinstance(proxy, Lb)
    return proxy


class Peer:
    """HAProxy with the same files."""

    def __init__(self, directory: Path) -> None:
        for name, content in FILES.items():
            (directory / name).write_text(content)
        self.path = str(directory / "peer.sock")
        sock = socket.create_server(("127.0.0.1", 0))
        config = directory / "peer.cfg"
        config.write_text(
            f"global\n stats socket {self.path} mode 600 level admin\n"
            "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 30s\n"
            f"frontend web\n bind fd@{sock.fileno()}\n"
            " http-request deny if { src -f bad.acl } { path -i -f names.acl }\n"
            f" http-request return status 200 content-type text/plain lf-string '{SHOWN}'\n"
        )
        with (directory / "peer.stderr").open("wb") as err:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-C", str(directory), "-f", str(config)], stdin=subprocess.DEVNULL, stderr=err,
                pass_fds=[sock.fileno()],
            )  # fmt: skip
        sock.close()
        eventually(lambda: Path(self.path).exists(), "HAProxy's socket")

    def admin(self, command: str) -> str:
        return asked(self.path, command)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)


def asked(path: str, command: str) -> str:
    """Send a command and return the answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(path)
        sock.sendall(command.encode() + b"\n")
        answer = b""
        while data := sock.recv(65536):
            answer += data
        return answer.decode()


@pytest.fixture
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    found = Peer(tmp_path_factory.mktemp("peer"))
    yield found
    found.stop()


COMMANDS = """
show map str.map
show map nope
show map #99
show map bad.acl
show acl str.map
show acl bad.acl
get map str.map /a
get map str.map /c
get map beg.map /abx
get map ip.map 10.1.2.3
get map ip.map 10.1.9.9
get map ip.map nobody
get map int.map 5
get map int.map -3
get map num.map /a
get map addr.map /a
get map addr.map /b
get map sub.map xabcx
get map str.map zzz
get acl bad.acl 10.2.3.4
get acl bad.acl 11.2.3.4
get acl names.acl ONE
get acl names.acl three
get map
get acl
get map str.map
get map nope x
get acl nope x
add map str.map /n new val
add map str.map /n
add map str.map
add map
add map nope a b
add map num.map /q abc
add map ip.map 10.0.0.0/33 x
add map int.map 9:2 x
add map int.map x y
add map addr.map /x nobody
add acl bad.acl 1.2.3.4
add acl bad.acl 1.2.3.4 x
add acl bad.acl zzz
add acl
add acl nope x
show acl bad.acl
get acl bad.acl 1.2.3.4
set map str.map /a changed
set map str.map /zzz changed
set map str.map /a
set map nope a b
show map str.map
del map str.map /n
del map str.map /n
del map str.map #0x1
del map str.map
del map nope x
del acl bad.acl 1.2.3.4
del acl bad.acl
show acl bad.acl
prepare map str.map
prepare acl bad.acl
prepare map
prepare acl nope
add map @1 str.map /v1 new
add map @1 str.map /a newer
add map @9 str.map /v9 new
add acl @9 bad.acl 9.9.9.9
show map @1 str.map
show map @0 str.map
show map @7 str.map
get map str.map /v1
commit map @9 str.map
commit map str.map
commit map @0 str.map
commit map @1 nope
commit map @1 str.map
get map str.map /v1
get map str.map /b
show map str.map
commit map @1 str.map
prepare map str.map
add map @2 str.map /w1 next
clear map @2 str.map
show map @2 str.map
clear map @1 str.map
show map str.map
clear map nope
clear map
clear acl
clear map beg.map
show map beg.map
get map beg.map /a
clear acl bad.acl
show acl bad.acl
add map @x beg.map a b
show map beg.map
add map beg.map <<\\n/p1 v1\\n/p2 v two\\n
show map beg.map
add map beg.map <<\\n/p3\\n
add map nope <<\\n/p3 x\\n
""".strip().splitlines()


def neutral(answer: str) -> str:
    """Without what cannot be the same: the addresses of entries."""
    return re.sub(r"^0x[0-9a-f]+ ", "0x ", answer, flags=re.MULTILINE)


def test_answers_are_those_of_haproxy(lb: Lb, peer: Peer) -> None:
    for line in COMMANDS:
        command = line.replace("\\n", "\n")
        ours, theirs = asked(lb.admin_path, command), peer.admin(command)
        assert (line, neutral(ours)) == (line, neutral(theirs))
    heads = [
        {
            line.split(" ", 1)[1].split(")")[0]: line.split(". curr")[1]
            for line in answer.splitlines()
            if ". curr" in line
        }
        for answer in (asked(lb.admin_path, "show map"), peer.admin("show map"))
    ]
    for name in ("(str.map", "(beg.map", "(sub.map"):  # of others HAProxy counts an entry less for each that it refused
        assert heads[0][name] == heads[1][name]


def test_entries_have_names_that_stay(lb: Lb) -> None:
    def entries() -> dict[str, str]:
        return {line.split(" ", 1)[1]: line.split(" ", 1)[0] for line in lb.admin("show map str.map").splitlines()[:-1]}

    first = entries()["/a A"]
    assert lb.admin(f"set map str.map #{first} other") == "\n"
    assert entries()["/a other"] == first
    assert "/a A2" in entries()
    lb.admin("prepare map str.map")
    lb.admin("clear map @1 str.map")
    second = entries()["/a A2"]
    assert lb.admin(f"del map str.map #{second}") == "\n"
    assert "/a A2" not in entries()
    assert lb.admin(f"del map str.map #{second}") == "Key not found.\n\n"
    assert lb.admin("del map str.map #x").startswith("Malformed identifier")
    number = re.search(r"^(\d+) \(str\.map\)", lb.admin("show map"), re.MULTILINE)
    assert number is not None
    assert lb.admin(f"show map #{number[1]}") == lb.admin("show map str.map")


def test_who_may_only_look_may_not_change(daemon: Stage) -> None:
    for name, content in FILES.items():
        (daemon.directory / name).write_text(content)
    wanted = settings(1)
    path = str(daemon.directory / "user.sock")
    wanted["global"]["admin"] = {"path": path, "level": "user"}
    daemon.start(wanted)
    assert "/a A" in asked(path, "show map str.map")
    for command in ("add map str.map a b", "set map str.map /a b", "del map str.map /a", "clear map str.map",
                    "prepare map str.map", "commit map @1 str.map", "add acl bad.acl 1.1.1.1"):  # fmt: skip
        assert asked(path, command) == "Permission denied\n\n"


def test_a_payload_may_be_large_and_end_by_a_word(lb: Lb) -> None:
    lines = "".join(f"/k{number} v{number}\n" for number in range(20_000))
    assert asked(lb.admin_path, f"add map str.map <<END\n{lines}END") == "\n"
    assert 'value="v19999"' in lb.admin("get map str.map /k19999")
    with contextlib.suppress(ConnectionError):  # what was not read resets the connection
        assert "too long" in asked(lb.admin_path, "add map str.map <<\n" + "y y\n" * 300_000)
    interactive = "prompt i\nadd acl bad.acl <<\n1.1.1.1\n2.2.2.2\n\nget acl bad.acl 2.2.2.2\nquit"
    assert "match=yes" in asked(lb.admin_path, interactive)


def _have_looked(looked: list[int], goals: list[int], faults: list[str]) -> bool:
    return bool(faults) or all(now >= goal for now, goal in zip(looked, goals, strict=True))


def test_a_commit_is_seen_whole_under_load(daemon: Stage) -> None:
    count = 400
    (daemon.directory / "m.map").write_text("".join(f"k{number} v0\n" for number in range(count)))
    keys = [0, count // 2, count - 1]
    body = "|".join(f"%[str(k{number}),map(m.map,none)]" for number in keys)
    lb = daemon.start(
        {
            "version": 1,
            "global": {"workers": 4},
            "frontends": {"web": {"bind": [LOOPBACK], "rules": [{"return": {"body": body}}]}},
        }
    )
    assert isinstance(lb, Lb)
    stop = threading.Event()
    faults: list[str] = []
    looked = [0] * 8

    def look(number: int) -> None:
        client = clients[number]
        latest = 0
        while not stop.is_set():
            answer = client.get().body.decode()
            values = answer.split("|")
            version = int(values[0][1:])
            if set(values) != {values[0]} or version < latest:
                faults.append(answer)
                return
            latest = version
            looked[number] += 1

    clients = [daemon.client() for _ in looked]
    threads = [threading.Thread(target=look, args=(number,)) for number in range(len(looked))]
    for thread in threads:
        thread.start()
    for version in range(1, 9):
        assert lb.admin("prepare map m.map") == f"New version created: {version}\n\n"
        lines = "".join(f"k{number} v{version}\n" for number in range(count))
        assert asked(lb.admin_path, f"add map @{version} m.map <<\n{lines}") == "\n"
        goals = [was + 1 for was in looked]
        assert lb.admin(f"commit map @{version} m.map") == "\n"
        # From the answer on, whoever asks has the new version.
        assert daemon.client().get().body == f"v{version}|v{version}|v{version}".encode()
        eventually(partial(_have_looked, looked, goals, faults), "all have looked")
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
