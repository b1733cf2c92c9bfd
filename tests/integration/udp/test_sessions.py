"""Datagrams that are answered: DNS, affinity, how sessions end."""

from __future__ import annotations

import random
import select
import socket

import pytest
from kit.datagram_stage import DNS, at, counters, dns, expire, serve, settings
from kit.datagrams import Server, ask_many, client, echoing, query, refused_port, silent
from kit.deadline import eventually
from kit.inprocess import InProcess
from kit.stage import Stage


@pytest.mark.smoke
def test_thousands_of_queries_are_answered_and_none_is_lost(net: Stage) -> None:
    net.start(settings(dns(net), DNS))
    tally = ask_many(at(net), 3000)
    assert (tally.answered, tally.wrong) == (3000, 0)
    assert tally.by_text == {"s1": 1500, "s2": 1500}
    c = counters(net, "dns")
    assert (c["conn_total"], c["datagrams_in"], c["datagrams_out"], c["datagrams_dropped"]) == (3000, 3000, 3000, 0)
    assert counters(net, "resolvers/s1")["sess_total"] == 1500
    assert counters(net, "resolvers")["chosen"] == 3000


def test_a_session_ends_with_its_answer(net: Stage) -> None:
    net.start(settings(dns(net), DNS))
    with client(at(net)) as c:
        assert [c.ask() for _ in range(4)] == ["s1", "s2", "s1", "s2"]
    records = net.records(4)
    assert {(each.frontend, each.backend, each.state) for each in records} == {("dns", "resolvers", "--")}
    assert [each.server for each in records] == ["s1", "s2", "s1", "s2"]
    assert all(each.bytes > 40 for each in records)


def test_a_session_waits_for_as_many_answers_as_are_due(net: Stage) -> None:
    server = Server(lambda data: [data + b"1", data + b"2", data + b"3"])
    serve(net, server)
    net.start(settings([server], {"udp": {"responses": 3}}))
    with client(at(net)) as c:
        c.send(b"x")
        assert [c.receive() for _ in range(3)] == [b"x1", b"x2", b"x3"]
    assert net.record().state == "--"


def test_what_is_due_counts_for_every_datagram(net: Stage) -> None:
    server = Server(echoing)
    serve(net, server)
    net.start(settings([server], {"udp": {"responses": 1, "requests": 3}}))
    with client(at(net)) as c:
        for i in range(7):
            assert c.talk(b"%d" % i) == b"%d" % i
        records = net.records(2)  # of three datagrams each; the third session waits for two more
        assert [each.bytes for each in records] == [3, 3]
        assert len(server.peers) == 3
        assert c.talk(b"x") == b"x"
        assert c.talk(b"y") == b"y"
        net.records(3)


def test_a_client_keeps_its_server(net: Stage) -> None:
    servers = dns(net, 3)
    net.start(settings(servers))
    clients = [client(at(net)) for _ in range(6)]
    opened = [each.__enter__() for each in clients]
    first = [each.ask() for each in opened]
    assert sorted(first) == ["s1", "s1", "s2", "s2", "s3", "s3"]
    for _ in range(5):
        assert [each.ask() for each in opened] == first
    for server in servers:
        assert len(server.peers) == 2  # one socket a client
    for each in clients:
        each.__exit__(None, None, None)
    assert counters(net, "dns")["cur"] == 6
    expire(net)


def test_a_session_ends_after_silence(net: Stage) -> None:
    server = Server(echoing)
    serve(net, server)
    net.start(settings([server], frontend={"timeouts": {"client": "200ms"}}))
    with client(at(net)) as c:
        for _ in range(5):
            assert c.talk(b"ping") == b"ping"
        record = net.record()
        assert (record.state, record.bytes, record.server) == ("--", 20, "s1")
        assert 200 <= record.timers[2] < 5000
        assert c.talk(b"again") == b"again"
        assert len(server.peers) == 2
        net.records(2)


def test_traffic_keeps_a_session(net: Stage) -> None:
    server = Server(echoing)
    serve(net, server)
    net.start(settings([server], frontend={"timeouts": {"client": "300ms"}}))
    with client(at(net)) as c:
        for _ in range(6):
            assert c.talk(b"x") == b"x"
            c.hears_nothing(0.1)
        assert len(server.peers) == 1
        net.record()


def test_a_server_that_owes_an_answer_has_its_own_timeout(net: Stage) -> None:
    server = Server(silent)
    serve(net, server)
    net.start(settings([server], {**DNS, "timeouts": {"server": "200ms"}}, {"timeouts": {"client": "60s"}}))
    with client(at(net)) as c:
        c.send(query(1, "a.example"))
        record = net.record()
    assert record.state == "sC"
    assert counters(net, "resolvers/s1")["server_aborts"] == 1


def test_a_late_answer_goes_to_nobody(net: Stage) -> None:
    """Each session has a socket of its own: what comes for one that has ended never reaches another client."""
    server = Server(silent)
    serve(net, server)
    net.start(settings([server], {**DNS, "timeouts": {"server": "100ms"}}))
    with client(at(net)) as c:
        c.send(b"question")
        net.record()
        server.sock.sendto(b"late", server.seen[0][1])
        c.hears_nothing()


def test_an_answer_from_elsewhere_is_not_believed(net: Stage) -> None:
    server = Server(silent)
    serve(net, server)
    net.start(settings([server], {**DNS, "timeouts": {"server": "500ms"}}))
    with client(at(net)) as c, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        c.send(b"question")
        server.wait(1)
        stranger.sendto(b"forged", server.seen[0][1])
        c.hears_nothing()
        server.sock.sendto(b"true", server.seen[0][1])
        assert c.receive() == b"true"


@pytest.mark.parametrize("size", [0, 1, 1472, 9000, 65_507])
def test_datagrams_of_every_size_pass_whole(net: Stage, size: int) -> None:
    server = Server(echoing)
    serve(net, server)
    net.start(settings([server], DNS))
    data = random.Random(size).randbytes(size)
    with client(at(net)) as c:
        for _ in range(3):
            assert c.talk(data) == data
    assert [each.bytes for each in net.records(3)] == [size] * 3


def test_a_burst_keeps_its_order(net: Stage) -> None:
    server = Server(echoing)
    serve(net, server)
    net.start(settings([server], frontend={"timeouts": {"client": "300ms"}}))
    with client(at(net)) as c:
        sent = [b"%d" % i for i in range(100)]
        for each in sent:
            c.send(each)
        assert [c.receive() for _ in sent] == sent
        assert [data for data, _ in server.seen] == sent
        net.record()


def test_a_refusing_server_is_left_for_another(net: Stage) -> None:
    alive = Server(name="s2")
    serve(net, alive)
    net.start(settings([f"127.0.0.1:{refused_port()}", alive.text], DNS, defaults={"timeouts": {"server": "500ms"}}))
    with client(at(net)) as c:
        c.send(query(7, "lost.example"))  # UDP: what the dead server got is lost
        eventually(lambda: counters(net, "resolvers/s1")["err_conn"] == 1, "the refusal")
        assert [c.ask() for _ in range(4)] == ["s2"] * 4
    assert counters(net, "resolvers/s1")["err_conn"] == 1
    states = [each.state for each in net.records(5)]
    assert states == ["SC", "--", "--", "--", "--"]


def test_what_is_in_hand_when_a_refusal_is_heard_goes_elsewhere(net: Stage) -> None:
    """Under a flow of datagrams only the first ones are lost."""
    servers = [Server(echoing, name="s1"), Server(echoing, name="s2")]
    serve(net, *servers)
    net.start(settings(servers, {"balance": "source"}, {"timeouts": {"client": "500ms"}}))
    with client(at(net)) as c:
        assert c.talk(b"x") == b"x"
        used = next(each for each in servers if each.seen)
        other = next(each for each in servers if not each.seen)
        used.close()
        for _ in range(50):
            c.send(b"y")
        c.send(b"z")
        eventually(lambda: c.receive() == b"z", "an answer of the other server")
        assert any(data == b"z" for data, _ in other.seen)
    eventually(lambda: counters(net, "dns")["cur"] == 0, "the sessions to end")


def test_a_server_that_comes_back_is_used_again(net: Stage) -> None:
    port = refused_port()
    net.start(settings([f"127.0.0.1:{port}"], DNS))
    with client(at(net)) as c:
        c.send(query(1, "a.example"))
        assert net.record().state == "SC"
        server = Server(port=port)
        serve(net, server)
        assert c.ask() == "s1"


def test_without_a_usable_server_datagrams_are_dropped_and_counted(net: Stage) -> None:
    servers = dns(net, 1)
    net.start(settings(servers, {**DNS, "servers": [{"name": "s1", "address": servers[0].text}]}))
    assert isinstance(net.proxy, InProcess)
    proxy = net.proxy
    proxy.ask(lambda: proxy.mapping.set_usable(proxy.oids["resolvers/s1"], False))
    with client(at(net)) as c:
        c.send(query(1, "a.example"))
        eventually(lambda: counters(net, "dns")["datagrams_dropped"] == 1, "the drop")
        assert counters(net, "resolvers")["err_conn"] == 1
        proxy.ask(lambda: proxy.mapping.set_usable(proxy.oids["resolvers/s1"], True))
        assert c.ask() == "s1"


def test_at_maxconn_the_least_recently_used_session_ends(net: Stage) -> None:
    server = Server(echoing)
    serve(net, server)
    net.start(settings([server], frontend={"maxconn": 3}))
    with client(at(net)) as a, client(at(net)) as b, client(at(net)) as c, client(at(net)) as d:
        for each in (a, b, c, a):
            assert each.talk(b"x") == b"x"
        assert d.talk(b"x") == b"x"
        record = net.record()
        assert record.state == "RD"
        host, port = b.sock.getsockname()
        assert record.client == f"{host}:{port}"
        assert counters(net, "dns")["sess_evicted"] == 1
        assert counters(net, "dns")["cur"] == 3
        peers = len(server.peers)
        for each in (a, c, d):
            assert each.talk(b"y") == b"y"
        assert len(server.peers) == peers
        expire(net)


def test_a_flood_of_clients_at_maxconn_leaves_nothing_behind(net: Stage) -> None:
    server = Server(silent)
    serve(net, server)
    net.start(settings([server], frontend={"maxconn": 5, "log": False}))
    for _ in range(500):
        with client(at(net)) as c:
            c.send(b"x")
    eventually(lambda: counters(net, "dns")["datagrams_in"] == 500, "all datagrams")
    # A client whose port is that of a session still open, by the kernel's choice, goes on in it.
    assert 450 <= counters(net, "dns")["sess_evicted"] <= 495
    assert counters(net, "dns")["sess_evicted"] == counters(net, "dns")["sess_total"]
    assert counters(net, "dns")["cur"] == 5
    assert counters(net, "resolvers/s1")["cur"] == 5
    expire(net)


@pytest.mark.parametrize("algorithm", ["roundrobin", "static-rr", "leastconn", "random"])
def test_algorithms_that_need_no_key(net: Stage, algorithm: str) -> None:
    servers = dns(net, 3)
    net.start(settings(servers, {**DNS, "balance": algorithm}))
    tally = ask_many(at(net), 300, sockets=4)
    assert tally.answered == 300
    assert all(tally.by_text[each.name] > 30 for each in servers)


def test_leastconn_counts_sessions(net: Stage) -> None:
    slow, quick = Server(silent, name="slow"), Server(name="quick")
    serve(net, slow, quick)
    net.start(settings([slow, quick], {**DNS, "balance": "leastconn", "timeouts": {"server": "1s"}}))
    with client(at(net)) as stuck:
        stuck.send(query(1, "a.example"))
        slow.wait(1)
        with client(at(net)) as c:
            assert [c.ask() for _ in range(10)] == ["quick"] * 10
        net.records(11)


def test_source_keeps_an_address_with_a_server_over_sessions(net: Stage) -> None:
    servers = dns(net, 4)
    balance = {"algorithm": "source", "type": "consistent"}
    net.start(settings(servers, {**DNS, "balance": balance}))
    found = {}
    for i in range(2, 30):
        with client(at(net), source=f"127.0.0.{i}") as c:
            texts = {c.ask() for _ in range(2)}
        with client(at(net), source=f"127.0.0.{i}") as c:
            texts.add(c.ask())
        assert len(texts) == 1
        found[i] = texts.pop()
    assert len(set(found.values())) > 1


def test_answers_leave_from_the_address_that_was_asked(net: Stage) -> None:
    net.start(settings(dns(net, 1), DNS, {"bind": ["0.0.0.0:0"]}))
    port = at(net)[1]
    for host in ("127.0.0.1", "127.0.0.2", "127.1.2.3"):
        with client((host, port)) as c:  # connected: it hears nobody else
            assert c.ask() == "s1"


def test_one_client_socket_has_a_session_for_each_address_it_asks(net: Stage) -> None:
    server = Server(echoing)
    serve(net, server)
    net.start(settings([server], None, {"bind": ["0.0.0.0:0"], "timeouts": {"client": "300ms"}}))
    port = at(net)[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
            sock.sendto(host.encode(), (host, port))
            assert sock.recvfrom(100) == (host.encode(), (host, port))
    assert len(server.peers) == 2
    net.records(2)


@pytest.mark.parametrize("bind", ["[::1]:0", "[::]:0"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ipv6_on_either_side(net: Stage, bind: str, host: str) -> None:
    server = Server(host=host)
    serve(net, server)
    net.start(settings([server], DNS, {"bind": [bind]}))
    with client(("::1", at(net)[1])) as c:
        assert [c.ask() for _ in range(3)] == ["s1"] * 3
    assert net.records(3)[0].client.startswith("::1:")


def test_several_binds_lead_to_the_same_servers(net: Stage) -> None:
    net.start(settings(dns(net, 1), DNS, {"bind": ["127.0.0.1:0", {"address": "[::1]:0", "name": "six"}]}))
    for address in net.proxy.addresses["dns"]:
        assert isinstance(address, tuple)
        assert ask_many(address, 50).answered == 50


def test_memory_that_is_short_drops_datagrams_and_nothing_else(net: Stage) -> None:
    """Pools and sockets that fail now and then: every query is answered or dropped, and nothing leaks."""
    if net.plane.name != "chaos":
        pytest.skip("needs the debug devices")
    net.start(settings(dns(net), DNS))
    assert isinstance(net.proxy, InProcess)
    proxy = net.proxy
    proxy.ask(lambda: proxy.engine.chaos(3, scarce=5))
    answered = dropped = 0
    for _ in range(200):
        with client(at(net)) as c:
            before = counters(net, "dns")["datagrams_dropped"]
            c.send(query(1, "a.example"))
            eventually(
                lambda c=c, before=before: counters(net, "dns")["datagrams_dropped"] > before or has_something(c.sock),
                "an answer or a drop",
            )
            if has_something(c.sock):
                answered += 1
            else:
                dropped += 1
    assert answered > 50
    assert dropped > 5
    proxy.calm()


def has_something(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])
