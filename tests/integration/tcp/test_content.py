"""Rules before a server is chosen: connections, sessions, and first bytes that are looked at and left where they are."""

from __future__ import annotations

import ssl

import pytest
from kit.client import Client
from kit.deadline import eventually
from kit.inprocess import InProcess
from kit.server import Connection, Server, echoing
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.wire import Reset


def hello(name: str | None, alpn: tuple[str, ...] = ()) -> bytes:
    """Return what a TLS client says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def naming(connection: Connection) -> None:
    """Say who this is, and wait for the client's end."""
    connection.send(b"two")
    connection.wait_end()


def ruled(
    stage: Stage, frontend: Settings, app: Settings | None = None, tables: Settings | None = None
) -> tuple[Server, Server]:
    """Start a TCP frontend with these rules, before a backend `app` that echoes and one `two` that says its name."""
    first = stage.server(echoing)
    second = stage.server(naming)
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            **({"tables": tables} if tables else {}),
            "frontends": {
                "web": {"mode": "tcp", "bind": [{"address": LOOPBACK}], "default_backend": "app", **frontend}
            },
            "backends": {"app": {"servers": [first.text], **(app or {})}, "two": {"servers": [second.text]}},
        }
    )
    return first, second


def is_ended(client: Client) -> bool:
    """Whether the connection ended without a byte, one way or the other."""
    try:
        return client.read_to_end() == b""
    except Reset:
        return True


def counted(stage: Stage) -> dict[str, int]:
    """Return the counters of the frontend."""
    assert isinstance(stage.proxy, InProcess)
    return stage.proxy.counters("web")


def test_connection_rules_refuse_before_a_byte_is_read(stage: Stage) -> None:
    server, _ = ruled(stage, {"connection_rules": [{"reject": True, "if": "{ src 127.0.0.0/8 }"}]})
    assert is_ended(stage.client())
    assert not server.connections
    eventually(lambda: counted(stage)["denied_conn"] == 1, "the refusal is counted")
    assert counted(stage)["sess_total"] == 0


def test_an_accept_ends_the_list(stage: Stage) -> None:
    ruled(stage, {"connection_rules": [{"accept": True, "if": "{ src 127.0.0.1 }"}, {"reject": True}]})
    client = stage.client()
    client.send(b"x")
    assert client.read_exactly(1) == b"x"


def test_session_rules_refuse(stage: Stage) -> None:
    server, _ = ruled(stage, {"session_rules": [{"reject": True, "unless": "{ src 10.0.0.0/8 }"}]})
    assert is_ended(stage.client())
    assert not server.connections
    eventually(lambda: counted(stage)["denied_sess"] == 1, "the refusal is counted")


@pytest.mark.smoke
def test_the_name_of_a_tls_client_chooses_the_backend(stage: Stage) -> None:
    rules = [
        {"use_backend": "two", "if": "{ req.ssl_sni -i two.test }"},
        {"reject": True, "unless": "{ req.ssl_hello_type 1 }"},
    ]
    ruled(stage, {"content_rules": rules, "inspect_delay": "10s"})
    client = stage.client()
    client.send(hello("TWO.test"))
    assert client.read_exactly(3) == b"two"
    client = stage.client()
    said = hello("one.test")
    client.send(said)
    assert client.read_exactly(len(said)) == said  # not a byte was taken
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert is_ended(client)
    assert stage.record().state == "PR"


def test_a_hello_may_come_byte_by_byte(stage: Stage) -> None:
    ruled(stage, {"content_rules": [{"use_backend": "two", "if": "{ req.ssl_sni two.test }"}], "inspect_delay": "60s"})
    client = stage.client()
    client.send_bytewise(hello("two.test"))
    assert client.read_exactly(3) == b"two"


def test_rules_choose_behind_contents(stage: Stage) -> None:
    """As HAProxy's `use_backend` lines: they decide by what is there when the content rules have let it pass."""
    ruled(
        stage,
        {
            "content_rules": [{"accept": True, "if": "{ req.ssl_hello_type 1 }"}],
            "rules": [{"use_backend": "two", "if": "{ req.ssl_sni two.test }"}],
            "inspect_delay": "60s",
        },
    )
    client = stage.client()
    client.send(hello("two.test"))
    assert client.read_exactly(3) == b"two"


def test_at_the_end_of_the_delay_rules_decide_by_what_is_there(stage: Stage) -> None:
    rules = [
        {"use_backend": "two", "if": "{ req.payload(0,4) -m bin 61626364 }"},
        {"reject": True, "if": "{ req.len 0 }"},
    ]
    ruled(stage, {"content_rules": rules, "inspect_delay": "50ms"})
    client = stage.client()
    client.send(b"abc")
    assert client.read_exactly(3) == b"abc"  # from `app`: it never became four bytes
    assert is_ended(stage.client())  # it said nothing at all
    assert stage.record().state == "PR"


def test_wait_end_holds_until_the_delay_is_over(stage: Stage) -> None:
    ruled(stage, {"content_rules": [{"accept": True, "if": "WAIT_END"}, {"reject": True}], "inspect_delay": "80ms"})
    client = stage.client()
    client.send(b"ping")
    assert not client.readable(0.02)
    assert client.read_exactly(4) == b"ping"


def test_the_clients_end_is_an_end_of_waiting(stage: Stage) -> None:
    ruled(stage, {"content_rules": [{"reject": True, "unless": "{ req.len gt 3 }"}], "inspect_delay": "60s"})
    client = stage.client()
    client.send(b"abc")
    client.half_close()
    assert is_ended(client)
    client = stage.client()
    client.send(b"abcd")
    client.half_close()
    assert client.read_to_end() == b"abcd"


def test_without_a_delay_nobody_waits(stage: Stage) -> None:
    ruled(stage, {"content_rules": [{"reject": True, "if": "{ req.len 0 }"}]})
    assert is_ended(stage.client())


def test_a_client_that_leaves_while_it_is_looked_at(stage: Stage) -> None:
    server, _ = ruled(stage, {"content_rules": [{"accept": True, "if": "{ req.len gt 9 }"}], "inspect_delay": "60s"})
    client = stage.client()
    client.send(b"abc")
    assert isinstance(stage.proxy, InProcess)
    eventually(lambda: stage.proxy.live().get("stream") == 1, "it is looked at")
    client.reset()
    assert stage.record().state == "CR"
    assert not server.connections


def test_parked_connections_hold_no_buffer(stage: Stage) -> None:
    ruled(stage, {"content_rules": [{"reject": True, "unless": "{ req.len gt 5000 }"}], "inspect_delay": "60s"})
    clients = [stage.client() for _ in range(50)]
    for client in clients:
        client.send(b"x" * 4000)
    proxy = stage.proxy
    if isinstance(proxy, InProcess):
        eventually(lambda: proxy.live().get("stream") == 50, "all are parked")
        assert set(proxy.live()) == {"link", "stream"}
    for client in clients:
        client.send(b"y" * 1001)
        assert client.read_exactly(5001) == b"x" * 4000 + b"y" * 1001


def test_backends_look_too(stage: Stage) -> None:
    ruled(
        stage,
        {},
        {"content_rules": [{"reject": True, "if": "{ req.payload(0,3) -m str bad }"}], "inspect_delay": "60s"},
    )
    client = stage.client()
    client.send(b"bad")
    assert is_ended(client)
    client = stage.client()
    client.send(b"good")
    assert client.read_exactly(4) == b"good"


def test_servers_first_bytes_are_looked_at(stage: Stage) -> None:
    rules = [{"reject": True, "if": "{ res.payload(0,3) -m str bad }"}]
    ruled(stage, {}, {"response_content_rules": rules, "response_inspect_delay": "60s"})
    client = stage.client()
    client.send(b"fine")
    assert client.read_exactly(4) == b"fine"
    client = stage.client()
    client.send(b"bad")
    assert is_ended(client)
    assert stage.record().state == "PD"
    client = stage.client()
    client.send_bytewise(b"ba")
    client.send(b"t")
    assert client.read_exactly(3) == b"bat"


def test_a_silent_server_is_looked_at_no_longer_than_the_delay(stage: Stage) -> None:
    rules = [{"reject": True, "unless": "{ res.len gt 0 }"}]
    ruled(stage, {}, {"response_content_rules": rules, "response_inspect_delay": "50ms"})
    assert is_ended(stage.client())


@pytest.mark.parametrize("phase", ["connection_rules", "session_rules", "content_rules"])
def test_a_connection_is_tracked_while_it_lasts(stage: Stage, phase: str) -> None:
    store = ["conn_cur", "conn_cnt", "conn_rate(1h)", "bytes_in_cnt", "bytes_out_cnt"]
    ruled(
        stage,
        {phase: [{"track": "src", "table": "per_ip"}, {"reject": True, "if": "{ sc_conn_cur(0) gt 2 }"}]},
        tables={"per_ip": {"key": "ip", "size": 100, "expire": "1h", "store": store}},
    )
    clients = [stage.client() for _ in range(2)]
    for client in clients:
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"
    assert is_ended(stage.client())
    for client in clients:
        client.close()
    assert isinstance(stage.proxy, InProcess)
    stage.proxy.settle()
    third = stage.client()  # their places are free again
    third.send(b"hi")
    assert third.read_exactly(2) == b"hi"
