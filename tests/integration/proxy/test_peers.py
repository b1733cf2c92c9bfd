"""HAProxy and nginx as senders and as receivers, both versions: everyone understands everyone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kit import programs, proxy
from kit.client import Client
from kit.deadline import eventually
from kit.message import Request, reply
from kit.proxy import Told, take
from kit.server import Connection, answering, echoing
from kit.settings import LOOPBACK
from kit.stage import Stage

pytestmark = pytest.mark.ours

IN = {"bind": [{"address": LOOPBACK, "accept_proxy": ["loopback"]}]}

HAPROXY = """
defaults
  timeout connect 5s
  timeout client 10s
  timeout server 10s
{sections}
"""
NGINX = """
{user}
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.error;
load_module {modules}/ngx_stream_module.so;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  {http}
}}
stream {{ {stream} }}
"""
MODULES = "/usr/lib/nginx/modules"


def whoami(request: Request) -> bytes:
    return reply(b",".join(request.values("x-forwarded-for")))


def haproxy(stage: Stage, port: int, sections: str) -> str:
    config = stage.directory / "peer.cfg"
    config.write_text(HAPROXY.format(sections=sections))
    return programs.start(stage, "haproxy", "-db", "-f", str(config), port=port)


def nginx(stage: Stage, port: int, *, http: str = "", stream: str = "") -> str:
    programs.need("nginx")
    if not Path(MODULES, "ngx_stream_module.so").exists():
        pytest.skip("nginx has no stream module")
    config = stage.directory / "peer.conf"
    user = "user root;" if os.getuid() == 0 else ""
    config.write_text(NGINX.format(user=user, directory=stage.directory, modules=MODULES, http=http, stream=stream))
    return programs.start(stage, "nginx", "-c", str(config), "-e", str(stage.directory / "nginx.error"), port=port)


def address_of(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def text_of(stage: Stage) -> str:
    host, port = stage.address()
    return f"{host}:{port}"


# --- they send ---


SENDERS: dict[str, str] = {
    "haproxy v1": "send-proxy",
    "haproxy v2": "send-proxy-v2",
    "haproxy v2 with tlvs": "send-proxy-v2 proxy-v2-options crc32c,unique-id",
}


def sender(stage: Stage, name: str) -> str:
    port = programs.free_port()
    if name == "nginx v1":
        stream = f"server {{ listen 127.0.0.1:{port}; proxy_pass {text_of(stage)}; proxy_protocol on; }}"
        return nginx(stage, port, stream=stream)
    sections = (
        f"frontend in\n  mode tcp\n  unique-id-format %ci-%cp\n  bind 127.0.0.1:{port}\n  default_backend lb\n"
        f"backend lb\n  mode tcp\n  server lb {text_of(stage)} {SENDERS[name]}\n"
    )
    return haproxy(stage, port, sections)


@pytest.mark.parametrize("name", [*SENDERS, "nginx v1"])
def test_what_they_send_is_understood(stage: Stage, name: str) -> None:
    stage.http(stage.server(answering(whoami)), frontend={**IN, "forwarded_for": True})
    peer = address_of(sender(stage, name))
    clients = [Client(peer) for _ in range(3)]
    stage.clients += clients
    for client in clients:
        for _ in range(3):
            assert client.get("/").body == b"127.0.0.1"
    # The records name the clients' ports, not the peer's.
    expected = sorted(f"127.0.0.1:{client.local[1]}" for client in clients for _ in range(3))
    assert sorted(record.client for record in stage.records(9)) == expected


@pytest.mark.h1_only
@pytest.mark.parametrize("name", [*SENDERS, "nginx v1"])
def test_what_they_send_in_front_of_a_tcp_stream_is_taken_away(stage: Stage, name: str) -> None:
    stage.tcp(stage.server(echoing), frontend=IN)
    client = Client(address_of(sender(stage, name)))
    stage.clients.append(client)
    client.send(b"PROXY was here")
    assert client.read_exactly(14) == b"PROXY was here"
    client.half_close()
    assert client.read_to_end() == b""
    # There is one more: the look whether the program listens.
    assert f"127.0.0.1:{client.local[1]}" in [record.client for record in stage.records(2)]


@pytest.mark.h1_only
def test_health_checks_of_haproxy_are_its_own(stage: Stage) -> None:
    """A check begins with LOCAL (version 2) and is no client of anybody; a plain check closes without a word."""
    stage.http(stage.server(), frontend=IN)
    port = programs.free_port()
    check = "send-proxy-v2 check check-send-proxy inter 100ms"
    sections = (
        f"frontend in\n  mode http\n  bind 127.0.0.1:{port}\n  default_backend lb\n"
        f"backend lb\n  mode http\n  option httpchk GET /up\n  server lb {text_of(stage)} {check}\n"
    )
    haproxy(stage, port, sections)
    eventually(lambda: len(stage.proxy.log_lines()) >= 3, "three checks")
    for line in stage.proxy.log_lines():
        assert " 200 " in line, line
        assert line.startswith("127.0.0.1:"), line


# --- they receive ---


def http_receiver(stage: Stage, name: str) -> str:
    port = programs.free_port()
    if name == "nginx":
        server = (
            f"server {{ listen 127.0.0.1:{port} proxy_protocol; location / {{ "
            'return 200 "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port"; } }'
        )
        return nginx(stage, port, http=server)
    sections = (
        f"frontend in\n  mode http\n  bind 127.0.0.1:{port} accept-proxy\n"
        '  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port] %[dst]:%[dst_port]"\n'
    )
    return haproxy(stage, port, sections)


VERSIONS: dict[str, str | dict[str, object]] = {
    "v1": "v1",
    "v2": "v2",
    "v2 with tlvs": {"version": "v2", "crc32c": True, "unique_id": True},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["haproxy", "nginx"])
def test_what_is_sent_they_understand(whole: Stage, name: str, version: str) -> None:
    peer = http_receiver(whole, name)
    whole.http(peer, backend={"send_proxy": VERSIONS[version]})
    host, port = whole.address()
    for _ in range(3):
        client = whole.client()
        for _ in range(3):
            told = client.get("/").body.decode()
            assert told == f"127.0.0.1:{client.local[1]} {host}:{port}"


@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["haproxy", "nginx"])
def test_what_is_passed_on_they_understand(whole: Stage, name: str, version: str, source: str) -> None:
    peer = http_receiver(whole, name)
    whole.http(peer, frontend=IN, backend={"send_proxy": VERSIONS[version]})
    target = "2001:db8::2" if ":" in source else "198.51.100.2"
    client = whole.client()
    client.send(proxy.v2(source, 40123, target, 443))
    assert client.get("/").body.decode() == f"{source}:40123 {target}:443"


def test_a_check_s_header_is_one_that_haproxy_takes(whole: Stage) -> None:
    from lb._speedups.face.proxy import header

    peer = http_receiver(whole, "haproxy")
    whole.http(peer, backend={"send_proxy": "v2"})
    for version in (1, 2):
        client = Client(address_of(peer))
        whole.clients.append(client)
        client.send(header(version, local=True))
        assert client.get("/").body.decode().startswith(f"127.0.0.1:{client.local[1]} ")


# --- what HAProxy refuses, too ---


def test_what_haproxy_refuses_is_refused_here(whole: Stage) -> None:
    """A bad header must not be taken by lb where HAProxy, more tolerant, does not take it."""
    peer = address_of(http_receiver(whole, "haproxy"))
    whole.http(whole.server(), frontend=IN)
    bad = {
        "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "lower case": b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "a family of its own": b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        "a port too many": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "too long": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
        "version 3": proxy.SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
        "command 2": proxy.SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),
        "shorter than ipv4": proxy.SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
        "half a tlv": proxy.v2("1.1.1.1", 1, "2.2.2.2", 2, tlvs=b"\x02\x00"),
        "a wrong checksum": proxy.v2("1.1.1.1", 1, "2.2.2.2", 2, tlvs=proxy.tlv(proxy.CRC32C, b"sum!")),
    }

    def refused(data: bytes) -> bool:
        return b" 200 " not in answers(peer, data)

    def answers(address: object, data: bytes) -> bytes:
        with Client(address) as client:  # type: ignore[arg-type]
            try:
                client.send(data + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                return client.read_to_end()
            except ConnectionError:
                return b""

    good = proxy.v2("1.1.1.1", 1, "2.2.2.2", 2)
    assert not refused(good)
    assert b" 200 " in answers(whole.address(), good)
    for name, data in bad.items():
        assert refused(data), f"HAProxy takes {name}"
        assert answers(whole.address(), data) == b"", name


def test_a_received_header_is_told_as_it_came(stage: Stage) -> None:
    """HAProxy -> lb -> a server: the client's address, and the TLVs that HAProxy wrote."""
    told: list[Told] = []

    def script(connection: Connection) -> None:
        told.append(take(connection))
        while True:
            connection.request()
            connection.send(reply(b"ok"))

    stage.http(stage.server(script), frontend=IN, backend={"send_proxy": {"version": "v2", "tlvs": True}})
    client = Client(address_of(sender(stage, "haproxy v2 with tlvs")))
    stage.clients.append(client)
    assert client.get("/").body == b"ok"
    assert told[0].source == ("127.0.0.1", client.local[1])
    assert (proxy.UNIQUE_ID, f"127.0.0.1-{client.local[1]}".encode()) in told[0].tlvs
