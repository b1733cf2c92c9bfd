"""What rules see of connections, of the process and of traffic: fetches that ask the kernel, or count."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from kit import proxy
from kit.client import Client
from kit.inprocess import InProcess
from kit.message import Request, reply
from kit.proxy import LOCAL, tlv, v1, v2
from kit.server import answering
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

pytestmark = pytest.mark.ours


def shown(stage: Stage, *texts: str, bind: Settings | None = None, response: bool = False) -> None:
    """Start a frontend that shows expressions in `X-Seen` to the server, or to the client."""
    rule = {"set_header": ["x-seen", "|".join(f"%[{text}]" for text in texts)]}
    server = stage.server(answering(seen))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK, **(bind or {})}],
                    "default_backend": "app",
                    "response_rules" if response else "rules": [rule],
                }
            },
            "backends": {"app": {"servers": [{"name": "s1", "address": server.text, "weight": 7}]}},
        }
    )


def seen(request: Request) -> bytes:
    return reply(b"|".join(request.values("x-seen")))


def test_the_ends_of_both_connections(stage: Stage) -> None:
    shown(
        stage,
        *("fc_src", "fc_src_port", "fc_dst", "fc_dst_port", "fc_http_major", "fc_rcvd_proxy", "dst_conn"),
        *("bc_src", "bc_dst", "bc_http_major"),
    )
    client = stage.client()
    address, port = client.sock.getsockname()[:2]
    to, to_port = client.sock.getpeername()[:2]
    expected = [address.encode(), b"%d" % port, to.encode(), b"%d" % to_port, b"1", b"0", b"1", b"", b"", b""]
    assert client.get("/").body.split(b"|") == expected
    stage.client().get("/")
    assert client.get("/").body.split(b"|")[6] == b"2"


def test_the_connection_to_the_server(stage: Stage) -> None:
    shown(
        stage,
        "bc_src",
        "bc_src_port",
        "bc_dst",
        "bc_dst_port",
        "bc_rtt(us)",
        "bc_rttvar",
        "bc_http_major",
        response=True,
    )
    client = stage.client()
    found = client.get("/").values("x-seen")[0].split(b"|")
    server = stage.servers[0]
    assert found[0] == b"127.0.0.1"
    assert int(found[1]) > 0
    if stage.plane.name == "mux":  # the other engine stands between
        assert found[6] == b"2"
    else:
        assert (f"{found[2].decode()}:{found[3].decode()}", found[6]) == (server.text, b"1")
    assert int(found[4]) >= 0
    assert int(found[5]) >= 0


def test_what_the_kernel_measures(stage: Stage) -> None:
    shown(
        stage,
        *("fc_rtt", "fc_rtt(us)", "fc_rtt(ms)", "fc_rttvar(us)", "fc_unacked", "fc_sacked", "fc_lost", "fc_retrans"),
        *("fc_fackets", "fc_reordering"),
    )
    client = stage.client()
    client.get("/")
    found = [int(each) for each in client.get("/").body.split(b"|")]
    assert found[0] == found[2] == (found[1] + 500) // 1000
    assert 0 < found[1] < 10_000_000
    assert 0 < found[3] < 10_000_000
    assert found[4:9] == [0, 0, 0, 0, 0]
    assert found[9] >= 3


def test_addresses_of_this_machine(stage: Stage) -> None:
    bind: Settings = {"accept_proxy": ["loopback"]}
    shown(stage, "src_is_local", "dst_is_local", "fc_src_is_local", "fc_dst_is_local", bind=bind)
    client = stage.client()
    client.send(v1("127.0.0.9", 1, "192.0.2.1", 2))
    assert client.get("/").body == b"1|0|1|0"
    client = stage.client()
    client.send(v1("2001:db8::1", 1, "::1", 2))
    has_ipv6 = True
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            has_ipv6 = False
    assert client.get("/").body == b"0|%d|0|%d" % (has_ipv6, has_ipv6)


def test_proxy_headers(stage: Stage) -> None:
    bind: Settings = {"accept_proxy": ["loopback"]}
    shown(
        stage,
        *("fc_rcvd_proxy", "fc_src", "fc_src_port", "fc_dst", "fc_dst_port", "fc_pp_authority", "fc_pp_unique_id"),
        *("fc_pp_tlv(0xE0)", "fc_pp_tlv(ALPN)", "fc_pp_tlv(2)"),
        bind=bind,
    )
    client = stage.client()
    tlvs = tlv(proxy.AUTHORITY, b"app.example") + tlv(proxy.UNIQUE_ID, b"id7") + tlv(0xE0, b"one") + tlv(0xE0, b"two")
    client.send(v2("192.0.2.7", 40123, "198.51.100.2", 443, tlvs=tlvs, checksum=True))
    expected = b"1|192.0.2.7|40123|198.51.100.2|443|app.example|id7|one||app.example"
    assert client.get("/").body == expected
    assert client.get("/").body == expected
    client = stage.client()
    client.send(v2(command=LOCAL))
    found = client.get("/").body.split(b"|")
    assert found[:2] == [b"1", client.sock.getsockname()[0].encode()]
    assert found[5:] == [b"", b"", b"", b"", b""]


def test_the_process_and_its_settings(stage: Stage) -> None:
    shown(
        stage,
        *("pid", "proc", "nbproc", "nbthread", "thread", "fe_defbe", "fe_client_timeout", "srv_is_up(app/s1)"),
        *("srv_weight(app/s1)", "srv_iweight(app/s1)", "srv_uweight(app/s1)", "env(PATH)", "env(LB_NOT_SET)"),
    )
    found = stage.client().get("/").body.split(b"|")
    assert found[0] == b"%d" % os.getpid()
    assert int(found[1]) >= 1
    assert found[2:6] == [b"1", b"1", b"0", b"app"]
    assert int(found[6]) > 0
    assert found[7:11] == [b"1", b"7", b"7", b"7"]
    assert found[11:] == [os.environ["PATH"].encode(), b""]


def test_the_status_of_the_server_is_kept(stage: Stage) -> None:
    stage.http(
        stage.server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        frontend={"response_rules": [{"set_header": ["x-seen", "%[status] %[server_status]"]}]},
        backend={"response_rules": [{"set_status": 503}]},
    )
    answer = stage.client().get("/")
    assert (answer.status, answer.values("x-seen")) == (503, [b"503 404"])
    assert stage.record().status == 503


def test_weights_and_states_that_changed_at_run_time(tmp_path: Path) -> None:
    texts = "srv_weight(app/s1) srv_uweight(app/s1) srv_iweight(app/s1) srv_is_up(app/s1)".split()  # noqa: SIM905
    body = "|".join(f"%[{text}]" for text in texts)
    lb = InProcess(
        {
            "version": 1,
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK}],
                    "default_backend": "app",
                    "rules": [{"return": {"status": 200, "body": body}}],
                }
            },
            "backends": {"app": {"servers": [{"name": "s1", "address": "127.0.0.1:1", "weight": 7}]}},
        },
        tmp_path,
    )
    client = Client(lb.addresses["web"][0])
    server = lb.oids["app/s1"]
    assert client.get("/").body == b"7|7|7|1"
    lb.mapping.set_weight(server, 3)
    assert client.get("/").body == b"3|3|7|1"
    lb.mapping.set_weight(server, 0)
    assert client.get("/").body == b"0|3|7|1"
    lb.mapping.set_usable(server, False)
    assert client.get("/").body == b"0|3|7|0"
    client.close()
    lb.settle()
    lb.stop()


def test_rates_count_what_came_in_the_last_second(stage: Stage) -> None:
    shown(stage, "fe_req_rate", "fe_sess_rate", "be_sess_rate(app)", "srv_sess_rate(app/s1)", "fe_req_rate(web)")
    clients = [stage.client() for _ in range(3)]
    began = time.monotonic()
    most = [0, 0, 0, 0, 0]
    for number in range(30):
        found = [int(each) for each in clients[number % 3].get("/").body.split(b"|")]
        assert found[0] == found[4]
        most = [max(pair) for pair in zip(most, found, strict=True)]
    if time.monotonic() - began < 0.5:
        # All within one second, or within two that touch: of the first the part that is not older counts.
        assert 15 <= most[0] <= 30
        assert 1 <= most[1] <= 3
        assert 14 <= most[2] <= 30
        assert 14 <= most[3] <= 30
