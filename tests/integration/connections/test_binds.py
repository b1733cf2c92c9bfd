"""Options of listening sockets, read back from the kernel; and what a reload does to them."""

from __future__ import annotations

import copy
import socket
from pathlib import Path

import pytest
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import eventually
from kit.settings import Settings, relay
from kit.stage import Stage

from tests.integration.connections.descriptors import listeners_of, sockets_of

pytestmark = pytest.mark.ours

TCP = socket.IPPROTO_TCP
EVERYTHING: Settings = {
    "interface": "lo",
    "tfo": 17,
    "defer_accept": True,
    "mss": 1200,
    "user_timeout": "12s",
}


def options_of(sock: socket.socket) -> Settings:
    """Return the options of a socket as a bind says them."""
    return {
        "interface": sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode(),
        "tfo": sock.getsockopt(TCP, socket.TCP_FASTOPEN),
        "defer_accept": sock.getsockopt(TCP, socket.TCP_DEFER_ACCEPT) > 0,
        "mss": sock.getsockopt(TCP, socket.TCP_MAXSEG),
        "user_timeout": sock.getsockopt(TCP, socket.TCP_USER_TIMEOUT),
    }


def start(daemon: Stage, bind: Settings, **options: object) -> tuple[Settings, Lb]:
    settings = relay("http", daemon.server().text, **options)
    settings["frontends"]["web"]["bind"] = [bind]
    proxy = daemon.start(settings)
    assert isinstance(proxy, Lb)
    return settings, proxy


def reload(proxy: Lb, settings: Settings, **changes: object) -> None:
    """Put the same binds in force with other options."""
    settings = copy.deepcopy(settings)
    (bind,) = settings["frontends"]["web"]["bind"]
    for word, value in changes.items():
        if value is None:
            del bind[word]
        else:
            bind[word] = value
    proxy.write(settings)
    proxy.expect_stderr(r"reloaded, generation \d+")
    proxy.admin("reload")


def seen(proxy: Lb) -> list[Settings]:
    """Return the options of the supervisor's and the workers' listening sockets."""
    found = []
    for pid in [proxy.process.pid, *proxy.workers()]:
        with listeners_of(pid) as sockets:
            found += [options_of(sock) for sock in sockets]
    return found


def test_every_option_is_set(daemon: Stage) -> None:
    _, proxy = start(daemon, {"address": "127.0.0.1:0", **EVERYTHING}, workers=2)
    found = seen(proxy)
    assert found
    assert all(each == {**EVERYTHING, "user_timeout": 12_000} for each in found), found
    assert daemon.client().get().body == b"hello"


def test_without_options_the_kernel_decides(daemon: Stage) -> None:
    _, proxy = start(daemon, {"address": "127.0.0.1:0"})
    with socket.create_server(("127.0.0.1", 0)) as plain:
        usual = options_of(plain)
    assert all(each == usual for each in seen(proxy))


def test_accepted_connections_inherit_them(daemon: Stage) -> None:
    _, proxy = start(daemon, {"address": "127.0.0.1:0", "user_timeout": "12s"})
    client = daemon.client()
    client.get()
    with sockets_of(client.local, proxy.workers()[0]) as (sock,):
        assert sock.getsockopt(TCP, socket.TCP_USER_TIMEOUT) == 12_000


def ask_at(address: tuple[str, int]) -> bytes:
    """Return what a new client is answered."""
    with Client(address) as client:
        return client.get().body


def port_free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_reload_changes_the_options_of_the_sockets_that_are_there(daemon: Stage) -> None:
    address = f"127.0.0.1:{port_free()}"
    settings, proxy = start(daemon, {"address": address, "mss": 1200, "tfo": 17, "defer_accept": True})
    with listeners_of(proxy.process.pid) as before:
        reload(proxy, settings, mss=1300, tfo=None, defer_accept=None, user_timeout="5s")
        eventually(lambda: options_of(before[0])["mss"] == 1300, "the kept socket to have the new options")
        assert options_of(before[0]) | {"interface": ""} == {
            "interface": "", "tfo": 0, "defer_accept": False, "mss": 1300, "user_timeout": 5000,
        }  # fmt: skip
        reload(proxy, settings, mss=None, tfo=None, defer_accept=None)
        eventually(lambda: options_of(before[0])["user_timeout"] == 0, "and to lose them")
    assert daemon.client().get().body == b"hello"


def test_a_reload_to_another_interface_makes_another_socket(daemon: Stage) -> None:
    """No connection is refused meanwhile, and one in the old socket's queue is served."""
    address = ("127.0.0.1", port_free())
    settings, proxy = start(daemon, {"address": f"127.0.0.1:{address[1]}"})
    client = daemon.client()
    client.get()
    reload(proxy, settings, interface="lo")
    eventually(lambda: {each["interface"] for each in seen(proxy)} == {"lo"}, "sockets on the interface")
    assert client.get().body == b"hello"
    assert ask_at(address) == b"hello"
    reload(proxy, settings)
    eventually(lambda: {each["interface"] for each in seen(proxy)} == {""}, "sockets on every interface")
    assert ask_at(address) == b"hello"


def test_an_interface_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    settings = relay("http", "127.0.0.1:1")
    settings["frontends"]["web"]["bind"] = [{"address": "127.0.0.1:0", "interface": "nosuch0"}]
    with pytest.raises(
        AssertionError, match=r"cannot listen on '127.0.0.1:0': no such network interface; 'ip link' lists"
    ):
        Lb(settings, tmp_path)


def test_an_address_of_both_families(daemon: Stage) -> None:
    server = daemon.server()
    settings = relay("http", server.text)
    settings["frontends"]["web"]["bind"] = [{"address": "[::]:0", "v6only": False}]
    settings["frontends"]["six"] = {**settings["frontends"]["web"], "bind": ["[::]:0"]}
    daemon.start(settings)
    both, six = daemon.address("web")[1], daemon.address("six")[1]
    for host in ("127.0.0.1", "::1"):
        assert ask_at((host, both)) == b"hello"
    assert ask_at(("::1", six)) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        Client(("127.0.0.1", six))
    assert sorted(record.client.rpartition(":")[0] for record in daemon.records(3)) == ["127.0.0.1", "::1", "::1"]


def test_deferred_connections_are_accepted_with_their_first_bytes(daemon: Stage) -> None:
    start(daemon, {"address": "127.0.0.1:0", "defer_accept": True})
    silent, client = daemon.client(), daemon.client()
    assert client.get().body == b"hello"
    assert silent.get().body == b"hello"


@pytest.mark.parametrize("kind", ["abns", "abnsz"])
def test_abstract_sockets_on_both_sides(daemon: Stage, kind: str, tmp_path: Path) -> None:
    """Two frontends in a row: the first connects to the name that the second listens on."""
    name = f"{kind}@lb-test-{tmp_path.name}-{port_free()}"
    server = daemon.server()
    # One process at both ends: it would hold an idle connection to itself.
    settings = relay("http", name, backend={"http_connection": "server-close"})
    settings["frontends"]["inner"] = {"bind": [name], "default_backend": "real"}
    settings["backends"]["real"] = {"servers": [server.text]}
    daemon.start(settings)
    assert daemon.client().get().body == b"hello"
    assert len(server.requests) == 1
    daemon.records(2)


@pytest.mark.parametrize(("kind", "padding"), [("abns", 107), ("abnsz", 0)])
def test_an_abstract_name_is_what_others_call_it(stage: Stage, kind: str, padding: int, tmp_path: Path) -> None:
    """`abns@` fills all of sun_path, as HAProxy does; `abnsz@` is the name alone."""
    name = f"lb-test-{tmp_path.name}-{port_free()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(b"\0" + name.encode().ljust(padding, b"\0"))
        listener.listen()
        listener.settimeout(10)
        stage.http(f"{kind}@{name}")
        client = stage.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        sock, _ = listener.accept()
        with sock:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(4096)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            assert client.response().body == b"hi"
