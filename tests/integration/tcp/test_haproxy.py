"""Content rules beside HAProxy's: the same conditions, the same first bytes, and the same connections let through.

Each condition has a frontend of its own in both, which accepts by it and refuses the rest.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kit.deadline import DEADLINE, eventually
from kit.inprocess import InProcess
from kit.server import Connection, Server
from kit.tls import extension, hello, message, protocols, records, server_name

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

DELAY = "150ms"

RDP = b"\3\0\0\x2a\x25\xe0\0\0\0\0\0Cookie: mstshash=User.1\r\n\1\0\x08\0\3\0\0\0"
V2 = b"\x01\x03\x01" + (3).to_bytes(2, "big") + bytes(2) + (16).to_bytes(2, "big") + b"\1\2\3" + bytes(16)
INPUTS: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"a",
    "text": b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "lengths": b"\x00\x03abcdefgh\x00\x00\x00\x02xyz",
    "ssh": b"SSH-2.0-x\r\n",
    "rdp": RDP,
    "rdp, other name": RDP.replace(b"mstshash", b"msts"),
    "rdp, cut": RDP[:30],
    "rdp, none": RDP.replace(b"Cookie", b"Biscuit"),
    "tls": hello("www.example.com", ("h2", "http/1.1")),
    "tls without names": hello(None),
    "tls, cut": hello("www.example.com")[:200],
    "tls, upper case": hello("WWW.Example.COM"),
    "tls, made": records(message(server_name((0, b"made.example")), protocols(b"acme-tls/1"), extension(35, b""))),
    "tls, old": records(message(version=b"\3\1", is_old=True), version=b"\3\0"),
    "tls, with a ticket": records(message(extension(35, b"ticket"), extension(10, b"\0\2\0\x1d"))),
    "tls, another record": b"\x17\3\3\0\4abcd",
    "tls, alert": b"\x15\3\1\0\2\2\x28",
    "sslv2": (0x8000 | len(V2)).to_bytes(2, "big") + V2,
    "sslv2, long": b"\0" + bytes([len(V2)]) + b"\0" + V2,
}

# Nothing that already holds of no bytes: whether the first of them are there when a connection is looked at first, is chance.
# Nor an offset of payload_lv without a sign: HAProxy 2.6 halves it, and counts an odd one from the end of the length; here it is
# what its manual says, an offset from the beginning.
CONDITIONS = [
    line.strip()
    for line in """
    req.len gt 3
    req.len 1
    req_len ge 20
    req.len 10:40
    req.payload(0,3) -m str GET SSH
    req.payload(0,3) -m bin 474554
    req.payload(2,3) -m str abc
    req.payload(0,0) -m len gt 12
    req.payload(4,0) -m found
    req.payload(0,0) -m sub example
    req.payload(100,5) -m found
    req.payload(16384,1) -m found
    payload(0,1) -m bin 16
    req.payload_lv(0,2) -m str abc
    req.payload_lv(0,2) -m found
    req.payload_lv(0,2,+1) -m str bcd
    req.payload_lv(0,2,-1) -m found
    req.payload_lv(10,4) -m str xy
    payload_lv(10,4,+1) -m str yz
    req_ssl_hello_type 1
    req.ssl_hello_type 1
    req.ssl_hello_type -m found
    req.ssl_ver 3.3
    req.ssl_ver 3.1
    req.ssl_ver 3.0:3.1
    req.ssl_ver gt 3
    req.ssl_ver -m found
    req_ssl_ver 3.1:3.3
    req.ssl_sni www.example.com
    req.ssl_sni -i www.example.com
    req.ssl_sni -m found
    req.ssl_sni -m end .example
    req_ssl_sni -m beg made
    req.ssl_sni,lower,field(2,.) example
    req.ssl_alpn h2
    req.ssl_alpn h2,http/1.1
    req.ssl_alpn -m sub acme
    req.ssl_alpn -m found
    req.ssl_ec_ext
    req.ssl_ec_ext -m found
    req.ssl_st_ext 0
    req.ssl_st_ext 1
    req.ssl_st_ext 2
    req.rdp_cookie(mstshash) -m found
    req.rdp_cookie(mstshash) User.1
    req.rdp_cookie -m found
    rdp_cookie(MSTSHASH) -m beg User
    req.rdp_cookie_cnt(mstshash) 1
    rdp_cookie_cnt gt 0
    req_rdp_cookie_cnt(none) 0
    wait_end
    """.strip().splitlines()
]
ACLS = ["WAIT_END", "REQ_CONTENT", "RDP_COOKIE", "TRUE", "LOCALHOST"]
ALL = [
    *(f"{{ {each} }}" for each in CONDITIONS),
    *ACLS,
    *(f"!{{ {each} }}" for each in CONDITIONS[::5] if each != "wait_end"),
]


def passed(connection: Connection) -> None:
    connection.send(b"passed")
    connection.wait_end()


def frontends(server: Server, folder: Path) -> str:
    lines = ["global", "  maxconn 1000", "defaults", "  mode tcp", "  timeout connect 5s", "  timeout client 20s",
             "  timeout server 20s", "  option dontlognull"]  # fmt: skip
    for i, condition in enumerate(ALL):
        lines += [
            f"frontend f{i}",
            f"  bind unix@{folder}/h{i}",
            f"  tcp-request inspect-delay {DELAY}",
            f"  tcp-request content accept if {condition}",
            "  tcp-request content reject",
            "  default_backend app",
        ]
    return "\n".join([*lines, "backend app", f"  server a {server.text}", ""])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the sockets of both: `h0` HAProxy's, `l0` ours."""
    folder = tmp_path_factory.mktemp("b")
    server = Server(passed)
    (folder / "haproxy.cfg").write_text(frontends(server, folder))
    with (folder / "haproxy.log").open("wb") as log:
        theirs = subprocess.Popen(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], stdout=log, stderr=log)
    ours = InProcess(
        {
            "version": 1,
            "frontends": {
                f"f{i}": {
                    "mode": "tcp",
                    "bind": [{"address": f"unix@{folder}/l{i}"}],
                    "content_rules": [{"accept": True, "if": condition}, {"reject": True}],
                    "inspect_delay": DELAY,
                    "default_backend": "app",
                }
                for i, condition in enumerate(ALL)
            },
            "backends": {"app": {"servers": [server.text]}},
        },
        folder,
    )
    try:
        eventually(lambda: (folder / f"h{len(ALL) - 1}").exists() or theirs.poll() is not None, "HAProxy is there")
        assert theirs.poll() is None, (folder / "haproxy.log").read_text()
        yield folder
    finally:
        theirs.send_signal(signal.SIGKILL)
        theirs.wait(DEADLINE)
        ours.stop()
        server.close()


def is_let_through(path: Path, data: bytes, is_ended: bool) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(DEADLINE)
        client.connect(str(path))
        try:
            client.sendall(data)
            if is_ended:
                client.shutdown(socket.SHUT_WR)
            return client.recv(6) == b"passed"
        except ConnectionError:
            return False


@pytest.mark.parametrize("is_ended", [False, True], ids=["waiting", "ended"])
@pytest.mark.parametrize("name", INPUTS)
def test_the_same_connections_are_let_through(folder: Path, name: str, is_ended: bool) -> None:
    def asked(job: tuple[int, str]) -> bool:
        i, who = job
        return is_let_through(folder / f"{who}{i}", INPUTS[name], is_ended)

    jobs = [(i, who) for i in range(len(ALL)) for who in "hl"]
    with ThreadPoolExecutor(16) as pool:
        found = dict(zip(jobs, pool.map(asked, jobs), strict=True))
    assert [ALL[i] for i in range(len(ALL)) if found[i, "h"] != found[i, "l"]] == []
