"""Listening sockets: binding, sharing, adopting, and undoing."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from lb.config.part import Bind, BindOptions
from lb.supervisor.limits import open_descriptors
from lb.supervisor.sockets import ListenFailed, Sockets, bind_path, why


def tcp(port: int = 0, object_: int = 0, name: str = "a") -> Bind:
    return Bind(
        object=object_, frontend="web", name=name, text=f"127.0.0.1:{port}", family="ipv4", host="127.0.0.1", port=port
    )


def unix(path: Path, mode: int | None = None) -> Bind:
    return Bind(object=0, frontend="web", name="u", text=f"unix@{path}", family="unix", path=str(path), mode=mode)


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    before = len(os.listdir("/proc/self/fd"))
    found = Sockets()
    yield found
    found.close()
    assert len(os.listdir("/proc/self/fd")) == before


def put(sockets: Sockets, binds: list[Bind], workers: int) -> None:
    sockets.prepare(binds, workers)
    sockets.listen()
    sockets.commit()


def port_of(sockets: Sockets, bind: Bind) -> int:
    ((_, text),) = sockets.places([bind])
    return int(text.rpartition(":")[2])


def test_each_slot_has_a_socket_of_its_own(sockets: Sockets) -> None:
    bind = tcp()
    put(sockets, [bind], 3)
    numbers = [sockets.listening([bind], [7], 3, slot) for slot in (1, 2, 3)]
    assert [len(each) for each in numbers] == [1, 1, 1]
    assert {oid for each in numbers for oid, _ in each} == {7}
    assert len({number for each in numbers for _, number in each}) == 3


def test_fewer_slots_adopt_every_socket(sockets: Sockets) -> None:
    bind = tcp()
    put(sockets, [bind], 5)
    every = [number for _, number in sockets.listening([bind], [1], 1, 1)]
    assert len(every) == 5
    put(sockets, [bind], 2)
    halves = [[number for _, number in sockets.listening([bind], [1], 2, slot)] for slot in (1, 2)]
    assert sorted(halves[0] + halves[1]) == every
    assert [len(half) for half in halves] == [3, 2]
    put(sockets, [bind], 5)
    assert [number for _, number in sockets.listening([bind], [1], 1, 1)] == every


def test_nothing_listens_before_it_is_told_to(sockets: Sockets) -> None:
    bind = tcp()
    sockets.prepare([bind], 1)
    ((_, number),) = sockets.listening([bind], [1], 1, 1)
    (descriptor,) = sockets.descriptors([number])
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
        sockets.listen()
        assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_an_address_in_use_is_found_by_a_probe(sockets: Sockets) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        with pytest.raises(ListenFailed, match=r"frontend 'web': cannot listen on '127.0.0.1:\d+': address in use"):
            sockets.prepare([tcp(other.getsockname()[1])], 1)
        sockets.rollback()


def test_a_rollback_leaves_what_was_there(sockets: Sockets) -> None:
    kept, new = tcp(name="kept"), tcp(name="new")
    put(sockets, [kept], 1)
    before = sockets.listening([kept], [1], 1, 1)
    sockets.prepare([kept, new], 3)
    sockets.rollback()
    assert sockets.listening([kept], [1], 1, 1) == before
    with pytest.raises(KeyError):
        sockets.places([new])


def test_a_commit_closes_what_is_not_named(sockets: Sockets) -> None:
    kept, gone = tcp(name="kept"), tcp(name="gone")
    put(sockets, [kept, gone], 1)
    port = port_of(sockets, gone)
    put(sockets, [kept], 1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_two_binds_with_port_0_are_two_sockets(sockets: Sockets) -> None:
    one, other = tcp(name="one"), tcp(name="other")
    put(sockets, [one, other], 2)
    assert port_of(sockets, one) != port_of(sockets, other)


def test_another_name_is_the_same_socket(sockets: Sockets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    put(sockets, [tcp(port, name="one")], 1)
    before = sockets.listening([tcp(port)], [1], 1, 1)
    put(sockets, [tcp(port, name="other")], 1)
    assert sockets.listening([tcp(port)], [1], 1, 1) == before


def test_a_unix_socket_is_one_for_all(sockets: Sockets, tmp_path: Path) -> None:
    bind = unix(tmp_path / "s", 0o600)
    put(sockets, [bind], 4)
    assert sockets.listening([bind], [1], 4, 1) == sockets.listening([bind], [1], 4, 4)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    put(sockets, [], 4)
    assert not (tmp_path / "s").exists()


def test_a_file_that_is_not_ours_any_more_is_left(sockets: Sockets, tmp_path: Path) -> None:
    bind = unix(tmp_path / "s")
    put(sockets, [bind], 1)
    (tmp_path / "s").unlink()
    (tmp_path / "s").touch()
    put(sockets, [], 1)
    assert (tmp_path / "s").exists()


def test_a_path_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match="not a socket"):
        bind_path(str(tmp_path / "s"), None)
    assert (tmp_path / "s").read_text() == "precious"


def test_a_path_that_is_too_long_has_a_reason(sockets: Sockets, tmp_path: Path) -> None:
    with pytest.raises(ListenFailed, match="file name too long"):
        sockets.prepare([unix(tmp_path / ("x" * 200))], 1)
    sockets.rollback()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EADDRINUSE, "address in use"),
        (errno.EACCES, "permission denied"),
        (errno.EMFILE, "too few file descriptors"),
        (errno.ENOENT, "no such file or directory"),
    ],
)
def test_reasons_are_plain_words(number: int, text: str) -> None:
    assert why(OSError(number, "?")) == text


@pytest.mark.parametrize(
    ("number", "kind", "way_out"),
    [
        (errno.EACCES, "address", "CAP_NET_BIND_SERVICE"),
        (errno.EACCES, "path", "write to its directory"),
        (errno.EEXIST, "path", "remove it"),
        (errno.ENOENT, "file", "make its directory"),
        (errno.EMFILE, "process", "ulimit -n"),
        (errno.EMFILE, "descriptor", "ulimit -n"),
    ],
)
def test_a_reason_comes_with_a_way_out(number: int, kind: str, way_out: str) -> None:
    reason, _, rest = why(OSError(number, "?"), kind).partition("; ")
    assert reason == why(OSError(number, "?"))
    assert way_out in rest


def test_a_descriptor_that_was_not_inherited_is_named(sockets: Sockets) -> None:
    bind = Bind(object=0, frontend="web", name="f", text="fd@999", family="fd", fd=999)
    with pytest.raises(ListenFailed, match="cannot listen on 'fd@999': lb was started without this descriptor"):
        sockets.prepare([bind], 1)
    sockets.rollback()


def test_a_socket_of_lbs_own_is_not_taken_for_an_inherited_one() -> None:
    inherited = open_descriptors()
    sockets = Sockets(inherited)
    with socket.create_server(("127.0.0.1", 0)) as own:
        bind = Bind(object=0, frontend="web", name="f", text="fd", family="fd", fd=own.fileno())
        with pytest.raises(ListenFailed, match="lb was started without this descriptor"):
            sockets.prepare([bind], 1)
        sockets.rollback()
        assert own.fileno() in open_descriptors()
    assert open_descriptors() == inherited


def passed(name: str, object_: int = 0) -> Bind:
    return Bind(object=object_, frontend="web", name=name, text=f"fd@{name}", family="fd", fd_name=name)


def test_a_name_is_every_socket_that_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("::1", 0), family=socket.AF_INET6) as two:
        sockets = Sockets(open_descriptors(), {"web": [one.fileno(), two.fileno()]})
        put(sockets, [passed("web")], 2)
        assert sockets.unused() == []
        for slot in (1, 2):
            assert len(sockets.listening([passed("web")], [7], 2, slot)) == 2
        ((_, text),) = sockets.places([passed("web")])
        assert text == f"127.0.0.1:{one.getsockname()[1]}, [::1]:{two.getsockname()[1]}"
        put(sockets, [], 2)
        assert sockets.unused() == ["web"]
        put(sockets, [passed("web")], 2)
        sockets.close()
        assert one.fileno() in open_descriptors()


def test_a_name_that_was_not_passed_is_told_with_those_that_were() -> None:
    with pytest.raises(ListenFailed, match="cannot listen on 'fd@web': systemd has passed no socket; start"):
        Sockets().prepare([passed("web")], 1)
    with pytest.raises(ListenFailed, match="no socket of this name; those that it passed: 'api', 'www'"):
        Sockets(None, {"api": [3], "www": [4]}).prepare([passed("web")], 1)


def test_a_socket_by_name_and_by_number_is_one_too_many() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        number = one.fileno()
        by_number = Bind(object=1, frontend="web", name="n", text=f"fd@{number}", family="fd", fd=number)
        with pytest.raises(ListenFailed, match=f"cannot listen on 'fd@{number}': it is the same socket as 'fd@web'"):
            Sockets(None, {"web": [number]}).prepare([passed("web"), by_number], 1)


def inherited(sock: socket.socket, options: BindOptions) -> Bind:
    number = sock.fileno()
    return Bind(object=0, frontend="web", name="f", text=f"fd@{number}", family="fd", fd=number, options=options)


def test_options_are_set_on_an_inherited_socket_that_listens_already(sockets: Sockets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        put(sockets, [inherited(other, BindOptions(mss=1200))], 1)
        assert other.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == 1200
        put(sockets, [inherited(other, BindOptions(user_timeout_ms=5000))], 1)
        assert other.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000


def test_an_inherited_unix_socket_has_no_tcp_options(sockets: Sockets, tmp_path: Path) -> None:
    with bind_path(str(tmp_path / "own"), None) as other:
        sockets.prepare([inherited(other, BindOptions(mss=1200))], 1)
        with pytest.raises(ListenFailed, match="it is a unix socket, and has no TCP options"):
            sockets.listen()
        sockets.rollback()


def test_another_way_of_being_bound_is_another_socket(sockets: Sockets) -> None:
    """Both are there until the commit, and a rollback leaves the first."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    plain = tcp(port)
    put(sockets, [plain], 2)
    ours = sockets.listening([plain], [1], 2, 1)
    bound = replace(plain, options=BindOptions(interface="lo"))
    sockets.prepare([bound], 2)
    sockets.listen()
    assert sockets.listening([bound], [1], 2, 1) != ours
    sockets.rollback()
    assert sockets.listening([plain], [1], 2, 1) == ours
    put(sockets, [bound], 2)
    with pytest.raises(KeyError):
        sockets.places([plain])
    with socket.create_connection(("127.0.0.1", port)):
        pass
