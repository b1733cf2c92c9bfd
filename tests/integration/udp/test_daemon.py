"""Datagrams through real processes: workers, reloads, deaths, drains."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from kit.daemon import Lb, descriptors_of
from kit.datagram_stage import DNS, at, dns, serve, settings
from kit.datagrams import Server, Tally, ask_many, client, echoing, silent
from kit.deadline import DEADLINE, eventually
from kit.settings import Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/udp.yaml"


def lb_of(stage: Stage) -> Lb:
    assert isinstance(stage.proxy, Lb)
    return stage.proxy


def reload(lb: Lb) -> None:
    lb.expect_stderr("lb: reloaded, generation")
    assert lb.admin("reload").startswith("Success=1")


@contextmanager
def traffic(address: tuple[str, int]) -> Iterator[Tally]:
    """Keep queries coming meanwhile; the tally is whole afterwards."""
    over = threading.Event()
    tally = Tally()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            ask_many(address, 1 << 30, sockets=4, is_over=over.is_set, tally=tally)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield tally
    finally:
        over.set()
        thread.join(2 * DEADLINE)
    assert not failures, failures


def stat(lb: Lb) -> dict[str, dict[str, str]]:
    lines = lb.admin("show stat").splitlines()
    names = lines[0].removeprefix("# ").split(",")
    rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line]
    return {f"{row['pxname']}/{row['svname']}": row for row in rows}


@pytest.mark.smoke
def test_four_workers_answer_thousands_of_queries(daemon: Stage) -> None:
    daemon.start(settings(dns(daemon), DNS, process={"workers": 4}))
    tally = ask_many(at(daemon), 4000, sockets=32)
    assert (tally.answered, tally.wrong) == (4000, 0)
    assert tally.by_text == {"s1": 2000, "s2": 2000}
    lb = lb_of(daemon)
    eventually(lambda: stat(lb)["dns/FRONTEND"]["scur"] == "0", "the sessions to end")
    rows = stat(lb)
    assert (rows["dns/FRONTEND"]["mode"], rows["dns/FRONTEND"]["stot"]) == ("udp", "4000")
    assert rows["resolvers/s1"]["stot"] == "2000"
    assert rows["resolvers/BACKEND"]["lbtot"] == "4000"
    assert [row["proto"] for row in rows.values() if row["type"] == "3"] == ["udp"]
    assert len(daemon.records(4000)) == 4000


def test_datagram_counters_are_shown(daemon: Stage) -> None:
    daemon.start(settings(dns(daemon, 1), DNS, process={"workers": 2}))
    assert ask_many(at(daemon), 50).answered == 50
    lb = lb_of(daemon)
    eventually(lambda: json.loads(lb.admin("show udp"))["frontends"][0]["sessions"] == 0, "the sessions to end")
    shown = json.loads(lb.admin("show udp"))
    (frontend,) = shown["frontends"]
    assert frontend == {
        "name": "dns", "sessions": 0, "sessions_total": 50, "evicted": 0, "datagrams_in": 50, "datagrams_out": 50,
        "datagrams_dropped": 0, "bytes_in": frontend["bytes_in"], "bytes_out": frontend["bytes_out"],
    }  # fmt: skip
    (backend,) = shown["backends"]
    assert backend["servers"][0]["datagrams_out"] == 50


def test_a_client_stays_with_its_worker_and_server(daemon: Stage) -> None:
    servers = dns(daemon, 3)
    daemon.start(settings(servers, None, {"timeouts": {"client": "1s"}}, process={"workers": 4}))
    with client(at(daemon)) as a, client(at(daemon)) as b:
        first = (a.ask(), b.ask())
        for _ in range(20):
            assert (a.ask(), b.ask()) == first
    assert sum(len(each.peers) for each in servers) == 2


def test_reloads_lose_no_query(daemon: Stage) -> None:
    servers = dns(daemon, 4)
    config = settings(servers[:2], DNS, process={"workers": 2})
    daemon.start(config)
    lb = lb_of(daemon)
    with traffic(at(daemon)) as tally:
        for i in range(6):
            chosen = servers[i % 2 : i % 2 + 2 + i % 3]
            lb.write(settings(chosen, DNS, process={"workers": 2}))
            reload(lb)
            so_far = tally.answered
            eventually(lambda so_far=so_far: tally.answered > so_far + 50, "queries after the reload")
    assert tally.lost == tally.wrong == 0
    assert tally.sent > 300


def test_a_reload_keeps_sessions_of_servers_that_stay_and_moves_the_others(daemon: Stage) -> None:
    servers = [Server(echoing, name=f"s{i}") for i in (1, 2)]
    serve(daemon, *servers)
    daemon.start(settings(servers, None, {"timeouts": {"client": "2s"}}))
    lb = lb_of(daemon)
    with client(at(daemon)) as a, client(at(daemon)) as b:
        for each in (a, b):
            assert each.talk(b"x") == b"x"
        peers = [set(each.peers) for each in servers]
        assert [len(each) for each in peers] == [1, 1]
        only = settings(servers, None, {"timeouts": {"client": "2s"}})
        del only["backends"]["resolvers"]["servers"][0]
        lb.write(only)
        reload(lb)
        for each in (a, b):
            assert each.talk(b"y") == b"y"
        assert servers[0].peers == peers[0]
        assert len([data for data, _ in servers[0].seen if data == b"y"]) == 0
        assert peers[1] < servers[1].peers  # the one that stayed on its socket, and the one that came
        assert len(servers[1].peers) == 2


def test_binds_come_and_go(daemon: Stage) -> None:
    servers = dns(daemon, 1)
    daemon.start(settings(servers, DNS, process={"workers": 2}))
    lb = lb_of(daemon)
    port = at(daemon)[1]
    more = settings(servers, DNS, {"bind": ["127.0.0.1:0", {"address": f"127.0.0.2:{port}", "name": "two"}]},
                    process={"workers": 2})  # fmt: skip
    lb.write(more)
    reload(lb)
    assert ask_many(("127.0.0.2", port), 20).answered == 20
    assert ask_many(at(daemon), 20).answered == 20
    lb.write(settings(servers, DNS, process={"workers": 2}))
    reload(lb)
    eventually(lambda: is_refused(("127.0.0.2", port)), "the address to be free")
    assert ask_many(at(daemon), 20).answered == 20


def is_refused(address: tuple[str, int]) -> bool:
    with client(address) as c:
        try:
            c.send(b"x")
            c.hears_nothing(0.02)
            c.send(b"x")
        except (AssertionError, ConnectionRefusedError):
            return True
    return False


def test_a_bind_that_moves_to_another_frontend_loses_no_query(daemon: Stage) -> None:
    servers = dns(daemon, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = settings(servers, DNS, {"bind": [f"127.0.0.1:{port}"]})
    daemon.start(config)
    lb = lb_of(daemon)
    with traffic(("127.0.0.1", port)) as tally:
        for name in ("other", "dns", "third"):
            moved = settings(servers, DNS, {"bind": [f"127.0.0.1:{port}"]})
            moved["frontends"][name] = moved["frontends"].pop("dns")
            lb.write(moved)
            reload(lb)
            so_far = tally.answered
            eventually(lambda so_far=so_far: tally.answered > so_far + 20, "queries after the reload")
    assert tally.lost == 0


def test_the_number_of_workers_changes(daemon: Stage) -> None:
    """A client may come to another worker then, so its session begins anew; nothing goes to a worker that is gone."""
    servers = dns(daemon, 2)
    daemon.start(settings(servers, DNS, process={"workers": 4}))
    lb = lb_of(daemon)
    for workers in (1, 3, 2, 4):
        lb.write(settings(servers, DNS, process={"workers": workers}))
        reload(lb)
        eventually(lambda workers=workers: len(lb.workers()) == workers, f"{workers} workers")
        tally = ask_many(at(daemon), 200)
        assert tally.answered == 200
    lb.rest()


def test_a_killed_worker_loses_only_what_it_held(daemon: Stage) -> None:
    daemon.start(settings(dns(daemon), {**DNS, "timeouts": {"server": "1s"}}, process={"workers": 2}))
    lb = lb_of(daemon)
    lb.expect_stderr(r"worker .*(SIGKILL|killed|signal 9)")
    before = lb.workers()
    assert ask_many(at(daemon), 100).answered == 100
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(lb.workers()) == 2 and before[0] not in lb.workers(), "the successor")
    tally = ask_many(at(daemon), 500)
    assert tally.answered == 500
    assert {each["scur"] for each in stat(lb).values()} == {"0"}
    lb.rest()


def test_the_sessions_of_a_killed_worker_are_not_counted_any_more(daemon: Stage) -> None:
    server = Server(silent)
    serve(daemon, server)
    daemon.start(settings([server], None, {"timeouts": {"client": "60s"}}))
    lb = lb_of(daemon)
    lb.expect_stderr(r"worker .*(SIGKILL|killed|signal 9)")
    for _ in range(5):
        with client(at(daemon)) as c:
            c.send(b"x")
    server.wait(5)
    assert stat(lb)["dns/FRONTEND"]["scur"] == "5"
    os.kill(lb.workers()[0], signal.SIGKILL)
    eventually(lambda: stat(lb)["dns/FRONTEND"]["scur"] == "0", "the gauge to be mended")
    assert stat(lb)["resolvers/s1"]["scur"] == "0"
    eventually(lambda: len(lb.workers()) == 1, "the successor")
    lb.rest()


def test_a_drain_serves_what_is_due_and_begins_nothing(daemon: Stage) -> None:
    server = Server(silent)
    serve(daemon, server)
    config = settings([server], {"udp": {"responses": 1, "requests": 2}})
    daemon.start(config)
    lb = lb_of(daemon)
    processes = lb.processes()
    with client(at(daemon)) as c, client(at(daemon)) as late:
        c.send(b"one")
        server.wait(1)
        (worker,) = lb.workers()
        before = descriptors_of(worker)["socket"]
        lb.send_signal(signal.SIGTERM)
        eventually(lambda: descriptors_of(worker)["socket"] < before, "the worker to drain")
        late.send(b"nobody")
        c.send(b"two")  # of a session that is open
        server.wait(2)
        assert [data for data, _ in server.seen] == [b"one", b"two"]
        for _, peer in server.seen:
            server.sock.sendto(b"answer", peer)
        assert [c.receive(), c.receive()] == [b"answer", b"answer"]
    lb.wait_exit(0, processes)


def test_sigint_ends_sessions_at_once(daemon: Stage) -> None:
    server = Server(silent)
    serve(daemon, server)
    daemon.start(settings([server]))
    lb = lb_of(daemon)
    with client(at(daemon)) as c:
        c.send(b"x")
        server.wait(1)
        lb.stop(signal.SIGINT)
    assert daemon.record().state == "KD"


def test_an_address_in_use_is_an_error(daemon: Stage, tmp_path: Path) -> None:
    servers = dns(daemon, 1)
    daemon.start(settings(servers, DNS))
    port = at(daemon)[1]
    second = tmp_path / "second.yaml"
    second.write_text(yaml.safe_dump(settings(servers, DNS, {"bind": [f"127.0.0.1:{port}"]})))
    run = subprocess.run(
        [sys.executable, "-P", "-m", "lb", "run", "-f", str(second)],
        capture_output=True, text=True, timeout=DEADLINE * 2, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert f"frontend 'dns': cannot listen on '127.0.0.1:{port}': address in use; 'ss -lunp' shows" in run.stderr
    assert ask_many(at(daemon), 10).answered == 10


def test_tcp_and_udp_have_ports_of_their_own(daemon: Stage) -> None:
    servers = dns(daemon, 1)
    # On an address of this test's own: nobody takes the port between its release here and lb's bind.
    host = str(ipaddress.IPv4Address((127 << 24) + (1 << 22) + os.getpid() % (1 << 22)))
    with socket.socket() as stream:
        stream.bind((host, 0))
        port = stream.getsockname()[1]
    upstream = daemon.server()
    config = settings(servers, DNS, {"bind": [f"{host}:{port}"]})
    config["frontends"]["web"] = {"mode": "http", "bind": [f"{host}:{port}"], "default_backend": "app"}
    config["backends"]["app"] = {"servers": [upstream.text]}
    daemon.start(config)
    assert daemon.client().get("/").status == 200
    assert ask_many(at(daemon), 10).answered == 10


def test_maxconn_holds_over_all_workers(daemon: Stage) -> None:
    server = Server(silent)
    serve(daemon, server)
    daemon.start(settings([server], None, {"maxconn": 8, "timeouts": {"client": "2s"}}, process={"workers": 4}))
    lb = lb_of(daemon)
    for _ in range(100):
        with client(at(daemon)) as c:
            c.send(b"x")
    eventually(lambda: int(stat(lb)["dns/FRONTEND"]["bin"]) == 100, "the datagrams")
    assert int(stat(lb)["dns/FRONTEND"]["scur"]) == 8
    assert int(stat(lb)["dns/FRONTEND"]["smax"]) == 8


def test_an_inherited_socket_is_served_by_one_worker(tmp_path: Path) -> None:
    server = Server(echoing)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
        path = tmp_path / "lb.yaml"
        path.write_text(
            yaml.safe_dump(
                settings(
                    [server],
                    {"udp": {"responses": 1}},
                    {"bind": [f"fd@{sock.fileno()}"]},
                    process={"workers": 3, "log": []},
                )
            )
        )
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lb", "run", "-f", str(path)],
            pass_fds=[sock.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        with client(address) as c:
            assert c.talk(b"x") == b"x"  # it waits in the socket until lb reads it
            for _ in range(20):
                assert c.talk(b"y") == b"y"
    finally:
        process.terminate()
        process.wait(DEADLINE)
        server.close()
    assert process.returncode == 0


def proxy_header(data: bytes) -> tuple[bytes, tuple[str, int], tuple[str, int]]:
    """Read a PROXY header of version 2 for UDP; return what stands behind it, the client and where it came to."""
    assert data[:12] == b"\r\n\r\n\0\r\nQUIT\n"
    assert data[12] == 0x21
    (length,) = struct.unpack("!H", data[14:16])
    if data[13] == 0x12:
        family, size = socket.AF_INET, 4
    else:
        assert data[13] == 0x22
        family, size = socket.AF_INET6, 16
    assert length == 2 * size + 4
    ends = data[16 : 16 + length]
    ports = struct.unpack("!HH", ends[2 * size :])
    names = (socket.inet_ntop(family, ends[:size]), socket.inet_ntop(family, ends[size : 2 * size]))
    return data[16 + length :], (names[0], ports[0]), (names[1], ports[1])


@pytest.mark.parametrize("wanted", ["each", "first"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_proxy_header_tells_the_client(daemon: Stage, wanted: str, host: str) -> None:
    server = Server(silent)
    serve(daemon, server)
    bind = "0.0.0.0:0" if host == "127.0.0.1" else "[::]:0"
    daemon.start(settings([server], {"udp": {"send_proxy": wanted}}, {"bind": [bind], "timeouts": {"client": "500ms"}}))
    address = (host, at(daemon)[1])
    with client(address) as c:
        for i in range(5):
            c.send(b"%d" % i)
            server.wait(i + 1)
        me = c.sock.getsockname()[:2]
    got = [data for data, _ in server.seen]
    headed = got if wanted == "each" else got[:1]
    for i, data in enumerate(headed):
        assert proxy_header(data) == (b"%d" % i, me, address)
    assert got[len(headed) :] == [b"%d" % i for i in range(len(headed), 5)]


def test_a_proxy_header_before_each_line_of_a_flow(daemon: Stage) -> None:
    server = Server(silent)
    serve(daemon, server)
    daemon.start(settings([server], {"udp": {"responses": 0, "send_proxy": "each"}}))
    with client(at(daemon)) as a, client(at(daemon)) as b:
        for _ in range(3):
            a.send(b"a")
            b.send(b"b")
        server.wait(6)
        names = {b"a": a.sock.getsockname(), b"b": b.sock.getsockname()}
    for data, _ in server.seen:
        line, peer, local = proxy_header(data)
        assert (peer, local) == (names[line], at(daemon))
    config = settings([server])
    lb_of(daemon).write(config)
    reload(lb_of(daemon))


def test_the_example_serves_dns_and_syslog(daemon: Stage) -> None:
    config: Settings = yaml.safe_load(EXAMPLE.read_text())
    resolvers = dns(daemon, 2)
    collectors = serve(daemon, *(Server(silent, name=f"log{i}") for i in (1, 2)))
    for name, servers in (("resolvers", resolvers), ("collectors", collectors)):
        for given, server in zip(config["backends"][name]["servers"], servers, strict=True):
            given["address"] = server.text
    config["frontends"]["dns"]["bind"] = ["127.0.0.1:0", {"address": "[::1]:0", "name": "six"}]
    config["frontends"]["syslog"]["bind"] = ["127.0.0.1:0"]
    daemon.start({**config, "global": {"workers": 2}})
    lb = lb_of(daemon)
    for address in lb.addresses["dns"]:
        assert isinstance(address, tuple)
        tally = ask_many(address, 200)
        assert (tally.answered, set(tally.by_text)) == (200, {"s1", "s2"})
    address = lb.addresses["syslog"][0]
    assert isinstance(address, tuple)
    with client(address) as c:
        for i in range(20):
            c.send(b"<134>1 2026-11-22T10:00:00Z host app - - - line %d" % i)
        eventually(lambda: sum(len(each.seen) for each in collectors) == 20, "the lines")
    assert sorted(len(each.seen) for each in collectors) == [0, 20]
    assert lb.log_lines() == []
    # one socket a server is kept for the lines; another configuration ends them
    lb.write({**config, "backends": {**config["backends"], "collectors": {**config["backends"]["collectors"],
             "udp": {"responses": 0}, "servers": ["127.0.0.1:9"]}}, "global": {"workers": 2}})  # fmt: skip
    reload(lb)
