"""PROXY headers to servers: in front of every connection, and a connection for one client only."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from kit import proxy
from kit.client import Client
from kit.deadline import eventually
from kit.message import Request, ask, reply
from kit.proxy import Told, take, tlv, v2
from kit.server import HELLO, Connection, Script
from kit.settings import LOOPBACK, relay
from kit.stage import Stage

SOURCE, TARGET = ("192.0.2.7", 40123), ("198.51.100.2", 443)
BIND = {"address": LOOPBACK, "accept_proxy": ["loopback"]}
GET = ask("/", host="lb.test")
Seen = list[tuple[Told, list[Request]]]


def behind_proxy(seen: Seen, answer: Callable[[Told, Request], bytes] = lambda told, request: HELLO) -> Script:
    """Make a script that reads a header, then answers every request."""

    def script(connection: Connection) -> None:
        told = take(connection)
        requests: list[Request] = []
        seen.append((told, requests))
        while True:
            request = connection.request()
            requests.append(request)
            connection.send(answer(told, request))

    return script


def echo_behind_proxy(seen: list[Told]) -> Script:
    def script(connection: Connection) -> None:
        seen.append(take(connection))
        while data := connection.read():
            connection.send(data)

    return script


@pytest.mark.ours
@pytest.mark.smoke
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_server_is_told_who_the_client_is(stage: Stage, version: str) -> None:
    seen: Seen = []
    stage.http(stage.server(behind_proxy(seen)), backend={"send_proxy": version})
    client = stage.client()
    assert client.get("/a").body == b"hello"
    assert client.get("/b").body == b"hello"
    ((told, requests),) = seen
    assert (told.version, told.local, told.source, told.target) == (
        int(version[1]), False, client.local, stage.address(),
    )  # fmt: skip
    assert [request.target for request in requests] == ["/a", "/b"]
    assert told.tlvs == []


@pytest.mark.ours
@pytest.mark.h1_only
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_of_tcp_too(stage: Stage, version: str) -> None:
    seen: list[Told] = []
    stage.tcp(stage.server(echo_behind_proxy(seen)), backend={"send_proxy": version})
    data = random.Random(1).randbytes(stage.bulk // 4)
    clients = [stage.client() for _ in range(3)]
    for client in clients:
        sender = threading.Thread(target=lambda client=client: (client.send(data), client.half_close()))
        sender.start()
        assert client.read_to_end() == data
        sender.join()
    assert {told.source for told in seen} == {client.local for client in clients}
    assert {told.target for told in seen} == {stage.address()}
    assert [record.bytes for record in stage.records(3)] == [len(data)] * 3


@pytest.mark.ours
@pytest.mark.h1_only
def test_of_tcp_it_comes_before_the_client_speaks(stage: Stage) -> None:
    seen: list[Told] = []

    def greet(connection: Connection) -> None:
        seen.append(take(connection))
        connection.send(b"220 ready\r\n")
        connection.wait_end()

    stage.tcp(stage.server(greet), backend={"send_proxy": "v2"})
    client = stage.client()
    assert client.read_exactly(11) == b"220 ready\r\n"
    assert seen[0].source == client.local


@pytest.mark.ours
def test_a_connection_carries_one_client_s_requests_only(stage: Stage) -> None:
    """Every server checks each request against the header of its connection."""
    seen: Seen = []
    failures: list[str] = []

    def check(told: Told, request: Request) -> bytes:
        said = request.values("x-forwarded-for")[-1].decode()
        assert told.source is not None
        if told.source[0] != said or request.value("x-port") != str(told.source[1]).encode():
            failures.append(f"{told.source} carried a request of {request.fields}")
        return HELLO

    servers = [stage.server(behind_proxy(seen, check)) for _ in range(3)]
    stage.http(
        *servers, frontend={"bind": [BIND], "forwarded_for": True}, backend={"send_proxy": "v2", "balance": "random"}
    )

    def work(number: int) -> None:
        dice = random.Random(number)
        for turn in range(3):
            source = (f"192.0.2.{number}", 1000 * turn + number)
            with Client(stage.address()) as client:
                client.send(v2(*source, *TARGET))
                for _ in range(dice.randrange(1, 12)):
                    client.send(ask("/", f"X-Port: {source[1]}", host="lb.test"))
                    assert client.response().body == b"hello"

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    # Keep-alive does work: fewer connections than requests.
    assert 36 <= len(seen) < sum(len(requests) for _, requests in seen)


@pytest.mark.ours
def test_what_the_client_s_header_says_goes_on(stage: Stage) -> None:
    seen: Seen = []
    stage.http(stage.server(behind_proxy(seen)), frontend={"bind": [BIND]}, backend={"send_proxy": "v1"})
    for source, target in ((SOURCE, TARGET), (("2001:db8::7", 1), ("2001:db8::2", 2)), (SOURCE, ("203.0.113.9", 0))):
        client = stage.client()
        client.send(v2(*source, *target) + GET)
        client.response()
        assert (seen[-1][0].source, seen[-1][0].target) == (source, target)


TLVS = [
    (proxy.ALPN, b"http/1.1"),
    (proxy.AUTHORITY, b"app.example"),
    (proxy.NOOP, b"xxx"),
    (proxy.UNIQUE_ID, b"theirs"),
    (0xE0, b"own" * 10),
]


@pytest.mark.ours
@pytest.mark.parametrize(
    ("options", "passed"),
    [
        ({}, []),
        ({"crc32c": True}, [proxy.CRC32C]),
        ({"authority": True}, [proxy.AUTHORITY]),
        ({"tlvs": True}, [proxy.ALPN, proxy.AUTHORITY, proxy.UNIQUE_ID, 0xE0]),
        (
            {"tlvs": True, "authority": True, "crc32c": True, "unique_id": True},
            [proxy.CRC32C, proxy.UNIQUE_ID, proxy.ALPN, proxy.AUTHORITY, 0xE0],
        ),
    ],
    ids=["none", "crc32c", "authority", "all", "all and own"],
)
@pytest.mark.parametrize("padding", [0, 1000, 12000], ids=["short", "long", "longest"])
def test_tlvs_are_passed_on_if_asked_for(
    stage: Stage, options: dict[str, bool], passed: list[int], padding: int
) -> None:
    seen: Seen = []
    given = [*TLVS, (0xEE, bytes(padding))] if padding else TLVS
    accept = {"from": ["loopback"], "max_header": 16000}
    stage.http(
        stage.server(behind_proxy(seen)),
        frontend={"bind": [{**BIND, "accept_proxy": accept}]},
        backend={"send_proxy": {"version": "v2", **options}},
    )
    if stage.plane.name == "mux" and padding:
        pytest.skip("between the engines headers have the usual limit")
    client = stage.client()
    client.send(v2(*SOURCE, *TARGET, tlvs=b"".join(tlv(*each) for each in given), checksum=True))
    client.send(ask("/", "X-Long: " + "x" * 14000, host="lb.test"))
    assert client.response().status == 200
    told, _ = seen[0]
    expected = [*passed, *([0xEE] if padding and options.get("tlvs") else [])]
    assert [kind for kind, _ in told.tlvs] == expected
    for kind, value in told.tlvs:
        if kind == proxy.UNIQUE_ID and options.get("unique_id"):
            assert len(value) == 32
            assert int(value, 16)
        elif kind != proxy.CRC32C:
            assert value == dict(given)[kind]


@pytest.mark.ours
def test_the_largest_head_waits_until_the_longest_header_has_left(stage: Stage) -> None:
    """Both do not fit one buffer, and a server need not take the header at once."""
    if stage.plane.name == "mux":
        pytest.skip("between the engines headers have the usual limit")
    seen: Seen = []
    stage.http(
        stage.server(behind_proxy(seen)),
        frontend={"bind": [{**BIND, "accept_proxy": {"from": ["loopback"], "max_header": 16000}}]},
        backend={"send_proxy": {"version": "v2", "tlvs": True}},
    )
    for _ in range(20):
        client = stage.client()
        client.send(v2(*SOURCE, *TARGET, tlvs=tlv(0xEE, bytes(12000))))
        client.send(ask("/", "X-Long: " + "x" * 14000, host="lb.test"))
        assert client.response().status == 200
        client.close()
    assert [told.tlvs for told, _ in seen] == [[(0xEE, bytes(12000))]] * 20


@pytest.mark.ours
@pytest.mark.h1_only
def test_a_server_may_differ_from_its_backend(stage: Stage) -> None:
    seen: Seen = []
    plain = stage.server()
    told = stage.server(behind_proxy(seen))
    stage.http(
        {"address": plain.text, "send_proxy": "off"}, told, {"address": told.text, "send_proxy": "v1", "name": "old"},
        backend={"send_proxy": "v2", "balance": "static-rr"},
    )  # fmt: skip
    client = stage.client()
    for _ in range(3):
        assert client.get("/").body == b"hello"
    assert sorted(each.version for each, _ in seen) == [1, 2]
    assert len(plain.connections) == 1


@pytest.mark.ours
def test_a_plain_server_s_connections_are_still_anyone_s(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    for _ in range(4):
        client = stage.client()
        client.get("/")
        client.close()
    assert len(server.connections) == 1


@pytest.mark.ours
@pytest.mark.h1_only
def test_with_the_client_its_connections_go(stage: Stage) -> None:
    seen: Seen = []
    server = stage.server(behind_proxy(seen))
    stage.http(server, backend={"send_proxy": "v2"})
    clients = [stage.client() for _ in range(4)]
    for client in clients:
        client.get("/")
    eventually(lambda: stage.proxy.counters("app/s1")["idle"] == 4, "four idle connections")  # type: ignore[attr-defined]
    for client in clients[:3]:
        client.close()
    server.wait(lambda s: sum(c.closed.is_set() for c in s.connections) == 3, "the end of three connections")
    eventually(lambda: stage.proxy.counters("app/s1")["idle"] == 1, "one idle connection")  # type: ignore[attr-defined]
    clients[3].get("/")
    assert len(seen) == 4


@pytest.mark.ours
@pytest.mark.h1_only
def test_a_client_keeps_a_few_connections_only(stage: Stage) -> None:
    seen: Seen = []
    servers = [stage.server(behind_proxy(seen)) for _ in range(9)]
    stage.http(*servers, backend={"send_proxy": "v2", "balance": "static-rr"})
    client = stage.client()
    for _ in range(27):
        client.get("/")

    def idle() -> int:
        return sum(stage.proxy.counters(f"app/s{i}")["idle"] for i in range(1, 10))  # type: ignore[attr-defined]

    eventually(lambda: idle() == 5, "five idle connections")
    eventually(lambda: sum(not c.closed.is_set() for s in servers for c in s.connections) == 5, "five connections")


@pytest.mark.ours
@pytest.mark.h1_only
def test_a_retry_tells_it_again(stage: Stage) -> None:
    seen: Seen = []
    good = stage.server(behind_proxy(seen))
    stage.http(stage.refused().text, good, backend={"send_proxy": "v2"}, retries=2)
    clients = [stage.client() for _ in range(4)]
    for client in clients:
        assert client.get("/").body == b"hello"
    assert [told.source for told, _ in seen] == [client.local for client in clients]


@pytest.mark.ours
@pytest.mark.h1_only
def test_a_request_that_is_sent_again_has_a_header_too(stage: Stage) -> None:
    seen: list[Told] = []

    def once(connection: Connection) -> None:
        """Answer one request, and close when the next one comes."""
        seen.append(take(connection))
        connection.request()
        connection.send(HELLO)
        connection.wait_readable()

    stage.http(stage.server(once), backend={"send_proxy": "v1"})
    client = stage.client()
    for _ in range(3):
        assert client.get("/").body == b"hello"
    assert [told.source for told in seen] == [client.local] * 3


@pytest.mark.ours
@pytest.mark.h1_only
def test_a_client_of_a_unix_socket_is_told_as_unknown(stage: Stage) -> None:
    seen: Seen = []
    path = str(stage.directory / "in.sock")
    server = stage.server(behind_proxy(seen))
    stage.http(
        server, {"address": server.text, "send_proxy": "v1", "name": "old"}, frontend={"bind": [path]},
        backend={"send_proxy": "v2", "balance": "static-rr"},
    )  # fmt: skip
    client = Client(path)
    stage.clients.append(client)
    client.get("/")
    client.get("/")
    assert sorted(told.raw for told, _ in seen) == sorted([v2(), b"PROXY UNKNOWN\r\n"])


@pytest.mark.ours
@pytest.mark.h1_only
def test_a_server_on_a_unix_socket_is_told_too(stage: Stage) -> None:
    seen: Seen = []
    server = stage.server(behind_proxy(seen), address=str(stage.directory / "server.sock"))
    stage.http(server, backend={"send_proxy": "v2"})
    client = stage.client()
    client.get("/")
    assert seen[0][0].source == client.local


@pytest.mark.ours
@pytest.mark.h1_only
def test_a_copy_tells_whose_request_it_is(stage: Stage) -> None:
    seen: Seen = []
    settings = relay("http", stage.server().text, frontend={"mirror": {"to": "shadow"}})
    settings["backends"]["shadow"] = {"servers": [stage.server(behind_proxy(seen)).text], "send_proxy": "v2"}
    stage.start(settings)
    clients = [stage.client() for _ in range(3)]
    for client in clients:
        client.get("/")
        client.get("/")
    eventually(lambda: len(seen) == 6, "six copies, each on a connection of its own")
    assert {told.source for told, _ in seen} == {client.local for client in clients}
    assert {told.target for told, _ in seen} == {("0.0.0.0", 0)}


@pytest.mark.ours
def test_large_bodies_behind_a_header(stage: Stage) -> None:
    seen: Seen = []
    body = random.Random(3).randbytes(stage.bulk // 4)
    stage.http(
        stage.server(behind_proxy(seen, lambda told, request: reply(request.body))), backend={"send_proxy": "v1"}
    )
    client = stage.client()
    for _ in range(2):
        assert client.get("/", method="POST", body=body).body == body
    assert len(seen) == 1


@pytest.mark.ours
@pytest.mark.h1_only
def test_an_upgrade_behind_a_header(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        take(connection)
        connection.head_only()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := connection.read():
            connection.send(data)

    stage.http(stage.server(script), backend={"send_proxy": "v2"})
    client = stage.client()
    client.send(ask("/", "Connection: upgrade", "Upgrade: echo", host="lb.test"))
    assert client.head(upgrade="echo").status == 101
    client.send(b"ping")
    assert client.read_exactly(4) == b"ping"
