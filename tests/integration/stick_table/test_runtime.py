"""`show table`, `set table`, `clear table` beside HAProxy: the same commands in the same order, the same answers byte for byte."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.deadline import DEADLINE, eventually
from kit.server import Connection
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")

TABLES = {
    "ips": ("ip", "1h", "server_id conn_cnt conn_cur bytes_in_rate(10s) gpt(2) gpc(3) gpc_rate(2,10s)"),
    "six": ("ipv6", "1h", "gpc0"),
    "num": ("integer", "1h", "gpc0"),
    "bin": ("binary(4)", "1h", "gpc0"),
    "str": (
        "string(10)",
        "",
        "gpt0 gpc0 gpc0_rate(10s) http_req_rate(10s) bytes_in_cnt gpc1 http_fail_cnt http_fail_rate(10s)",
    ),
}

# `set table <name>` alone is not among them: HAProxy 2.6 then empties the table.
COMMANDS = [
    line.strip()
    for line in """
    show table nosuch
    show table ips
    set table ips key 1.2.3.4 data.gpc 5
    set table ips key 1.2.3.4 data.gpc_rate 7 data.gpt 9 data.conn_cnt 3
    set table ips key 1.2.3.5 data.bytes_in_rate 7 data.server_id 4
    set table ips key 10.0.0.1
    show table ips
    show table ips data.gpt gt 8
    show table ips data.gpc_rate gt 6
    show table ips data.gpc_rate lt 6
    show table ips data.gpc0 gt 0
    show table ips data.foo gt 0
    show table ips data.server_key eq 1
    show table ips data. gt 1
    show table ips data.conn_cnt
    show table ips data.conn_cnt xx 1
    show table ips data.conn_cnt gt
    show table ips data.conn_cnt gt x
    show table ips data.conn_cnt gt 5x
    show table ips data.conn_cnt gt -1
    show table ips data
    show table ips foo
    show table ips ptr 0x1
    show table ips key
    show table ips key 1.2.3.4
    show table ips key 1.2.3.4 x
    show table ips key 1.2.3.9
    set table
    set table nosuch
    set table nosuch key 1
    set table ips key
    set table ips foo
    set table ips ptr 0x1
    set table ips data.conn_cnt 5
    set table ips key 1.2.3.4 data.gpc0 6
    set table ips key 1.2.3.4 data.foo 5
    set table ips key 1.2.3.4 data. 5
    set table ips key 1.2.3.4 data.conn_cnt
    set table ips key 1.2.3.4 data.conn_cnt x
    set table ips key 1.2.3.4 data.conn_cnt 5x
    set table ips key 1.2.3.4 foo 5
    set table ips key 1.2.3.4 data.conn_cnt -5
    show table ips key 1.2.3.4
    set table ips key 1.2.3.4 data.conn_cnt 99999999999
    show table ips key 1.2.3.4
    set table six key ::1 data.gpc0 3
    set table six key 2001:DB8::5 data.gpc0 4
    set table six key 1.2.3.4 data.gpc0 3
    set table six key zz data.gpc0 3
    show table six
    show table six key 0:0::1
    clear table six key ::1
    show table six
    clear table six
    show table six
    set table num key 5 data.gpc0 1
    set table num key 4294967295 data.gpc0 1
    set table num key 300 data.gpc0 1
    set table num key x data.gpc0 1
    set table num key -1 data.gpc0 1
    set table num key 4294967296 data.gpc0 1
    show table num
    show table num key 5
    show table num key x
    clear table num key x
    set table bin key ab data.gpc0 1
    show table bin key ab
    clear table bin key ab
    show table bin
    set table str key abcdefghijklmnop data.gpc0 1
    show table str key abcdefghijklmnop
    show table str key abcdefghij
    set table str key a data.gpc0 1 data.gpc1 2
    set table str key b data.gpc0 4
    set table str key c data.bytes_in_cnt 99999999999 data.gpc0_rate 8
    show table str
    show table str data.gpc0 gt 0 x
    show table str data.gpc0 gt 0 key a
    show table str data.gpc0 gt 0 data.gpc1 gt 1
    show table str data.gpc0 eq 4
    show table str data.gpc0 ne 4
    show table str data.gpc0 le 1
    show table str data.gpc0 lt 1
    show table str data.gpc0 ge 4
    show table str data.bytes_in_cnt gt 99999999998
    show table str data.gpt0 eq 0 data.gpc0 eq 1 data.gpc1 eq 0 data.bytes_in_cnt ge 0
    show table str data.gpt0 eq 0 data.gpc0 eq 0 data.gpc1 eq 0 data.bytes_in_cnt ge 0 data.gpc0 eq 0
    clear table
    clear table nosuch
    clear table str foo
    clear table str key
    clear table str key zz
    clear table str data.gpc0
    clear table str data.gpc0 eq 4 x
    clear table str data.gpc0 eq 4
    show table str
    clear table str key a
    show table str
    clear table str
    show table str
    """.strip().splitlines()
]


def ask(path: Path, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(path))
        sock.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


def told(answer: str) -> str:
    """Return an answer without what no two programs have in common, and without what HAProxy 2.6 does not show yet."""
    return re.sub(r"0x[0-9a-f]+:", "0x:", re.sub(r"exp=(?!0 )\d+", "exp=", answer)).replace(" shard=0", "")


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Path]:
    """The admin socket of a HAProxy with the tables."""
    path = tmp_path / "peer.sock"
    lines = ["global", f" stats socket {path} level admin", "defaults", " mode http"]
    lines += [f" timeout {each} 30s" for each in ("client", "server", "connect")]
    for name, (kind, expire, stores) in TABLES.items():
        word, _, length = kind.rstrip(")").partition("(")
        type_ = f"{word} len {length}" if length else word
        ending = f" expire {expire}" if expire else ""
        lines += [f"backend {name}", f" stick-table type {type_} size 100{ending} store {','.join(stores.split())}"]
    sock = socket.create_server(("127.0.0.1", 0))
    lines += ["frontend web", f" bind fd@{sock.fileno()}"]
    config = tmp_path / "peer.cfg"
    config.write_text("\n".join(lines) + "\n")
    with (tmp_path / "peer.stderr").open("wb") as err:
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=err, pass_fds=[sock.fileno()]
        )
    sock.close()
    eventually(path.exists, "HAProxy's socket")
    yield path
    process.send_signal(signal.SIGTERM)
    process.wait(DEADLINE)


def settings(server: str) -> Settings:
    tables = {
        name: {"key": kind, "size": 100, "store": stores.split(), **({"expire": expire} if expire else {})}
        for name, (kind, expire, stores) in TABLES.items()
    }
    return {
        "version": 1,
        "global": {"workers": 1},
        "tables": tables,
        "frontends": {
            "web": {
                "bind": [{"address": LOOPBACK}],
                "default_backend": "app",
                "rules": [{"track": "req.hdr(x-key)", "table": "str"}],
            }
        },
        "backends": {"app": {"servers": [server]}},
    }


@haproxy
def test_the_same_answers(peer: Path, daemon: Stage) -> None:
    lb = daemon.start(settings("127.0.0.1:1"))
    differ = []
    for command in COMMANDS:
        ours, theirs = told(lb.admin(command)), told(ask(peer, command))
        if ours != theirs:
            differ.append((command, ours, theirs))
    assert not differ, "\n".join(map(str, differ))


def keeping(connection: Connection) -> None:
    """Read a request and never answer."""
    connection.request()
    connection.wait_end()


def test_what_is_held_stays(daemon: Stage) -> None:
    server = daemon.server(keeping)
    lb = daemon.start(settings(server.text))
    client = daemon.client()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Key: mine\r\n\r\n")
    server.wait_requests(1)
    assert lb.admin("set table str key other data.gpc0 1") == "\n"
    assert lb.admin("clear table str key mine") == "Entry currently in use, cannot remove\n\n"
    assert lb.admin("set table ips key 1.2.3.4 data.conn_cur 7") == (
        "conn_cur is how many hold the key; it cannot be set\n\n"
    )
    assert lb.admin("clear table str") == "\n"
    assert re.fullmatch(
        r"# table: str, type: string, size:100, used:1\n0x[0-9a-f]+: key=mine use=1 exp=0 .*\n\n",
        lb.admin("show table str"),
    )
    client.close()
    eventually(lambda: "use=0" in lb.admin("show table str"), "nobody to hold the entry")
    assert lb.admin("clear table str key mine") == "\n"
    assert lb.admin("show table str key mine") == "\n"


def test_who_may(tmp_path: Path, daemon: Stage) -> None:
    path = tmp_path / "user.sock"
    given = settings("127.0.0.1:1")
    given["global"]["admin"] = {"path": str(path), "level": "user"}
    daemon.start(given)
    assert ask(path, "show table six") == (
        "# table: six, type: ipv6, size:100, used:0\n# contents not dumped due to insufficient privileges\n\n"
    )
    assert ask(path, "show table six key ::1") == "Permission denied\n\n"
    assert ask(path, "set table six key ::1 data.gpc0 1") == "Permission denied\n\n"
    assert ask(path, "clear table six") == "Permission denied\n\n"
