"""PROXY headers from clients: who they say it is, from listed sources only, cut however."""

from __future__ import annotations

import errno
import socket
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from kit import proxy
from kit.client import Client
from kit.deadline import eventually
from kit.message import Request, ask, reply
from kit.proxy import LOCAL, tlv, v1, v2
from kit.server import answering, echoing
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.wire import Reset

SOURCE, TARGET = ("192.0.2.7", 40123), ("198.51.100.2", 443)
SOURCE6, TARGET6 = ("2001:db8::7", 40123), ("2001:db8::2", 443)
TLVS = tlv(proxy.AUTHORITY, b"app.example") + tlv(0xE0, b"own")
HEADERS = {
    "v1": v1(*SOURCE, *TARGET),
    "v1, ipv6": v1(*SOURCE6, *TARGET6),
    "v2": v2(*SOURCE, *TARGET),
    "v2, ipv6": v2(*SOURCE6, *TARGET6),
    "v2 with tlvs": v2(*SOURCE, *TARGET, tlvs=TLVS, checksum=True),
}
WHO = {name: SOURCE6 if "ipv6" in name else SOURCE for name in HEADERS}
BAD = {
    "no header": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PR"),
    "a line of another family": (b"PROXY TCP4 ::1 ::2 1 2\r\n", "PR"),
    "a long line": (b"PROXY UNKNOWN " + b"x" * 100, "PR"),
    "an unknown family": (v2(family=0x41), "PR"),
    "too long": (v2(*SOURCE, *TARGET, tlvs=tlv(0xE0, bytes(5000))), "PR"),
    "a wrong checksum": (v2(*SOURCE, *TARGET, tlvs=tlv(proxy.CRC32C, b"sum!")), "PR"),
}
GET = ask("/", host="lb.test")


def bind(*sources: str, **options: Any) -> Settings:
    """Return a frontend that reads headers from these sources, the tests' own if none is named."""
    accepted = {"from": list(sources or ("loopback", "unix")), **options}
    return {"bind": [{"address": LOOPBACK, "accept_proxy": accepted}], "forwarded_for": True}


def whoami(request: Request) -> bytes:
    return reply(b",".join(request.values("x-forwarded-for")))


def shown(end: tuple[str, int]) -> str:
    return f"{end[0]}:{end[1]}"


@pytest.mark.smoke
@pytest.mark.ours
@pytest.mark.parametrize("name", HEADERS)
def test_the_client_is_who_the_header_says(stage: Stage, name: str) -> None:
    stage.http(stage.server(answering(whoami)), frontend=bind())
    client = stage.client()
    client.send(HEADERS[name] + GET)
    assert client.response().body.decode() == WHO[name][0]
    # The header stands for the connection, not for a request.
    assert client.get("/").body.decode() == WHO[name][0]
    assert [record.client for record in stage.records(2)] == [shown(WHO[name])] * 2


@pytest.mark.ours
def test_the_port_it_came_to_is_the_header_s(stage: Stage) -> None:
    server = stage.server(answering(lambda request: reply(b",".join(request.values("x-forwarded-port")))))
    stage.http(server, frontend={**bind(), "x_forwarded": ["port"]})
    client = stage.client()
    client.send(HEADERS["v2"] + GET)
    assert client.response().body.decode() == str(TARGET[1])


@pytest.mark.ours
def test_cut_at_every_byte_it_is_the_same(stage: Stage) -> None:
    stage.http(stage.server(answering(whoami)), frontend=bind())
    for name in ("v1", "v2 with tlvs"):
        data = HEADERS[name] + GET
        for cut in range(1, len(HEADERS[name]) + 2, 1 if stage.plane.name == "tcp" else 7):
            client = stage.client()
            client.send(data[:cut])
            client.send(data[cut:])
            assert client.response().body.decode() == SOURCE[0], cut
            client.close()
        client = stage.client()
        client.send_bytewise(data)
        assert client.response().body.decode() == SOURCE[0]


@pytest.mark.ours
@pytest.mark.h1_only
@pytest.mark.parametrize("name", HEADERS)
def test_of_a_tcp_stream_the_server_sees_only_what_is_behind(stage: Stage, name: str) -> None:
    stage.tcp(stage.server(echoing), frontend={k: v for k, v in bind().items() if k == "bind"})
    client = stage.client()
    client.send_bytewise(HEADERS[name] + b"PROXY me not")
    assert client.read_exactly(12) == b"PROXY me not"
    client.half_close()
    assert client.read_to_end() == b""
    assert stage.record().client == shown(WHO[name])


@pytest.mark.ours
def test_over_a_unix_socket_too(stage: Stage, tmp_path: Path) -> None:
    path = str(tmp_path / "in.sock")
    frontend = {"bind": [{"address": path, "accept_proxy": ["unix"]}], "forwarded_for": True}
    stage.http(stage.server(answering(whoami)), frontend=frontend)
    for cut in range(1, len(HEADERS["v2 with tlvs"]), 9):
        client = Client(path)
        stage.clients.append(client)
        data = HEADERS["v2 with tlvs"] + GET
        client.send(data[:cut])
        client.send(data[cut:])
        assert client.response().body.decode() == SOURCE[0]


@pytest.mark.ours
@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", v2(), v2(command=LOCAL), v2(*SOURCE, *TARGET, command=LOCAL)],
    ids=["v1 unknown", "v2 unspec", "v2 local", "v2 local with addresses"],
)
def test_who_tells_no_client_is_the_client(stage: Stage, header: bytes) -> None:
    stage.http(stage.server(answering(whoami)), frontend=bind())
    client = stage.client()
    client.send(header + GET)
    assert client.response().body == b"127.0.0.1"
    assert stage.record().client == shown(client.local)


@pytest.mark.ours
def test_a_client_behind_a_unix_socket_has_no_address(stage: Stage) -> None:
    stage.http(stage.server(answering(whoami)), frontend=bind())
    client = stage.client()
    client.send(v2(family=proxy.UNIX, tlvs=bytes(216)) + GET)
    assert client.response().body == b""


@pytest.mark.ours
def test_an_ipv4_address_in_ipv6_is_ipv4(stage: Stage) -> None:
    stage.http(stage.server(answering(whoami)), frontend=bind())
    client = stage.client()
    client.send(b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::2 40123 443\r\n" + GET)
    assert client.response().body == b"192.0.2.7"
    assert stage.record().client == shown(SOURCE)


@pytest.mark.ours
@pytest.mark.h1_only
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_anything_else_ends_the_connection_without_a_word(stage: Stage, name: str, mode: str) -> None:
    data, state = BAD[name]
    server = stage.server()
    frontend = bind() if mode == "http" else {"bind": bind()["bind"]}
    (stage.http if mode == "http" else stage.tcp)(server, frontend=frontend)
    client = stage.client()
    client.send(data)
    client.expect_end()
    assert not client.received
    record = stage.record()
    assert (record.state, record.client) == (state, shown(client.local))
    assert not server.connections
    counters = stage.proxy.counters("web")  # type: ignore[attr-defined]
    assert (counters["err_req"], counters["conn_total"]) == (1, 1)


@pytest.mark.ours
def test_a_header_that_does_not_end_is_refused(stage: Stage) -> None:
    stage.http(stage.server(), frontend=bind())
    for data in (HEADERS["v1"][:-1], HEADERS["v2"][:20], b"P"):
        client = stage.client()
        client.send(data)
        client.half_close()
        client.expect_end()
        assert not client.received
    assert [record.state for record in stage.records(3)] == ["CR"] * 3


@pytest.mark.ours
def test_a_header_that_does_not_come_in_time_is_refused(stage: Stage) -> None:
    stage.http(stage.server(), frontend=bind(timeout="150ms"))
    for data in (b"", HEADERS["v2"][:20]):
        client = stage.client()
        client.send(data)
        client.expect_end()
        assert not client.received
    assert [record.state for record in stage.records(2)] == ["cR"] * 2


@pytest.mark.ours
def test_the_time_for_a_request_begins_behind_the_header(stage: Stage) -> None:
    stage.http(stage.server(), frontend=bind(timeout="10s"), timeouts={"http_request": "200ms"})
    client = stage.client()
    client.send(HEADERS["v2"][:20])
    assert not client.readable(0.4)
    client.send(HEADERS["v2"][20:] + GET)
    assert client.response().status == 200


@pytest.mark.ours
def test_a_connection_without_a_byte_leaves_no_record(stage: Stage) -> None:
    stage.http(stage.server(), frontend=bind())
    client = stage.client()
    client.close()
    client = stage.client()
    client.send(HEADERS["v2"] + GET)
    client.response()
    assert stage.record().client == shown(SOURCE)


@pytest.mark.ours
@pytest.mark.h1_only
@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_who_is_not_listed_is_refused(stage: Stage, mode: str) -> None:
    server = stage.server()
    frontend = bind("192.0.2.0/24", "2001:db8::/32")
    (stage.http if mode == "http" else stage.tcp)(server, frontend={"bind": frontend["bind"]})
    for data in (b"", GET, HEADERS["v1"] + GET):
        client = stage.client()
        try:
            client.send(data)
        except Reset:
            pass  # it is closed already
        client.expect_end()
        assert not client.received
    assert {record.state for record in stage.records(3)} == {"PR"}
    assert not server.connections


@pytest.mark.ours
def test_who_is_not_listed_can_be_a_plain_client(stage: Stage) -> None:
    stage.http(stage.server(answering(whoami)), frontend=bind("192.0.2.0/24", others="plain"))
    assert stage.client().get("/").body == b"127.0.0.1"
    for header in HEADERS.values():
        client = stage.client()
        client.send(header + GET)
        assert client.response().status == 400
    assert [record.state for record in stage.records(6)] == ["--"] + ["PR"] * 5


@pytest.mark.ours
def test_a_second_header_is_no_request(stage: Stage) -> None:
    stage.http(stage.server(), frontend=bind())
    client = stage.client()
    client.send(HEADERS["v1"] * 2 + GET)
    assert client.response().status == 400


@pytest.mark.ours
def test_a_long_header_is_taken_up_to_its_limit(stage: Stage) -> None:
    stage.http(stage.server(), frontend=bind(max_header=16000))
    client = stage.client()
    header = v2(*SOURCE, *TARGET, tlvs=tlv(0xE0, bytes(16000 - 31)))
    assert len(header) == 16000
    client.send(header + GET)
    assert client.response().status == 200
    client = stage.client()
    client.send(v2(*SOURCE, *TARGET, tlvs=tlv(0xE0, bytes(16000 - 30))))
    client.expect_end()


@pytest.mark.ours
def test_the_source_that_is_hashed_is_the_header_s(stage: Stage) -> None:
    servers = [stage.server(reply(str(i).encode())) for i in range(4)]
    stage.http(*servers, frontend=bind(), backend={"balance": "source"})
    seen: dict[str, bytes] = {}
    for i, again in zip(range(24), count(), strict=False):
        source = f"192.0.2.{i % 12}"
        client = stage.client()
        client.send(v2(source, 1000 + again, *TARGET) + GET)
        answer = client.response().body
        assert seen.setdefault(source, answer) == answer
    assert len(set(seen.values())) > 1


@pytest.mark.ours
def test_over_ipv6(stage: Stage) -> None:
    frontend = {"bind": [{"address": "[::1]:0", "accept_proxy": ["::1"]}], "forwarded_for": True}
    with socket.socket(socket.AF_INET6) as sock:
        if sock.connect_ex(("::1", 9)) == errno.EADDRNOTAVAIL:
            pytest.skip("there is no IPv6 here")
    stage.http(stage.server(answering(whoami)), frontend=frontend)
    client = stage.client()
    client.send(HEADERS["v2"] + GET)
    assert client.response().body.decode() == SOURCE[0]


@pytest.mark.ours
def test_requests_that_follow_at_once_are_all_served(stage: Stage) -> None:
    stage.http(stage.server(answering(whoami)), frontend=bind())
    client = stage.client()
    client.send(HEADERS["v2 with tlvs"] + GET * 20)
    for _ in range(20):
        assert client.response().body.decode() == SOURCE[0]


@pytest.mark.ours
def test_a_body_behind_the_header_is_whole(stage: Stage) -> None:
    body = bytes(range(256)) * (stage.bulk // 2048)
    stage.http(stage.server(answering(lambda request: reply(request.body))), frontend=bind())
    client = stage.client()
    client.send(HEADERS["v1"] + ask("/", method="POST", body=body, host="a"))
    assert client.response().body == body


@pytest.mark.ours
def test_many_at_once_keep_their_addresses(stage: Stage) -> None:
    stage.http(stage.server(answering(whoami)), frontend=bind())
    clients = [(f"192.0.2.{i}", stage.client()) for i in range(40)]
    for name, client in clients:
        client.send(v2(name, 1, *TARGET)[:17])
    for name, client in reversed(clients):
        client.send(v2(name, 1, *TARGET)[17:] + GET)
    for name, client in clients:
        assert client.response().body.decode() == name
    eventually(lambda: len(stage.proxy.log_lines()) == 40, "the records")
