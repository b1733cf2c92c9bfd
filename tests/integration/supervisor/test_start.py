"""Starting: what serves, and what refuses to start with one clear line."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.echo import PATIENCE_S, Echo, receive_line, talk


def failure(lb: Echo) -> list[str]:
    """Start it, expect status 1, and return the lines it said."""
    lb.expected_status = 1
    with lb:
        assert lb.wait() == 1
    return lb.errors().splitlines()


@pytest.mark.smoke
def test_every_worker_answers(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=3) as lb:
        assert lb.workers().keys() == {1, 2, 3}
        assert sorted(lb.workers().values()) == sorted(lb.ready["workers"])
        lines = lb.errors().splitlines()
        assert lines == ["lb: ready, 3 workers, generation 1", f"lb: listening on {lb.addresses()[0]} (web)"]


def test_a_port_that_the_kernel_chose_is_shared_by_all_slots(tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    lb.binds = ["127.0.0.1:0", {"address": "[::1]:0", "name": "six"}]
    lb.write()
    with lb:
        v4, v6 = lb.addresses()
        assert v4.startswith("127.0.0.1:")
        assert v6.startswith("[::1]:")
        rows = [line.split(",") for line in lb.command("show stat").splitlines()]
        assert [row[73] for row in rows if row[32] == "3"] == [v4, v6]
        with socket.create_connection(("::1", int(v6.rpartition(":")[2])), timeout=PATIENCE_S) as sock:
            assert talk(sock, "who")[2] == 1


def test_an_address_in_use_is_an_error_and_not_a_second_instance(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        (tmp_path / "second").mkdir()
        second = Echo(tmp_path / "second")
        second.binds = [lb.addresses()[0]]
        second.write()
        (line,) = failure(second)
        said, _, way_out = line.partition("; ")
        assert said == f"lb: error: frontend 'web': cannot listen on '{lb.addresses()[0]}': address in use"
        assert way_out == "'ss -ltnp' shows who listens there"
        assert lb.ask()


def test_a_foreign_address_is_an_error(tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    lb.binds = ["192.0.2.1:80"]
    lb.write()
    (line,) = failure(lb)
    assert line == (
        "lb: error: frontend 'web': cannot listen on '192.0.2.1:80': no such address on this machine; "
        "'ip address' lists those it has"
    )


def test_too_few_descriptors_are_an_error_with_both_numbers(tmp_path: Path) -> None:
    (line,) = failure(Echo(tmp_path, maxconn=5_000_000))
    assert line.startswith("lb: error: global: 5000000 connections need 10000204 file descriptors, the limit is ")
    assert line.endswith("; raise it (ulimit -n, LimitNOFILE=) or lower maxconn")


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [
        *((limit, "cannot start: 200 file descriptors are the least") for limit in (20, 75, 199)),
        (201, "global: these listeners need 204 file descriptors"),
    ],
)
def test_a_low_limit_of_descriptors_is_one_line(limit: int, wanted: str, tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    program = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)\n"
    program += "from lb.supervisor.run import main; sys.exit(main(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(lb.file), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lb: error: {wanted}, the limit is {limit}; raise it (ulimit -n, LimitNOFILE=)\n"


def test_every_mistake_of_a_configuration_is_named(tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    lb.file.write_text('{"version": 1, "frontends": {"web": {"bind": [":1"], "default_backend": "a", "x": 1, "y": 2}}}')
    lines = failure(lb)
    assert len(lines) == 3
    assert all(line.startswith(f"{lb.file}:1: ") for line in lines)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    lb.file.unlink()
    (line,) = failure(lb)
    assert str(lb.file) in line


def test_no_worker_is_an_error(tmp_path: Path) -> None:
    (line,) = failure(Echo(tmp_path, workers=0))
    assert line.startswith("lb: error: global: workers: 0 runs inside a calling program")


def test_an_admin_path_without_its_directory_is_an_error(tmp_path: Path) -> None:
    (line,) = failure(Echo(tmp_path, admin={"path": "/nowhere/admin.sock"}))
    assert line == (
        "lb: error: admin socket '/nowhere/admin.sock': no such file or directory; make its directory first"
    )


def test_a_log_file_without_its_directory_is_an_error(tmp_path: Path) -> None:
    (line,) = failure(Echo(tmp_path, log=[{"to": "/nowhere/access.log"}]))
    assert line == ("lb: error: log '/nowhere/access.log': no such file or directory; make its directory first")


def test_a_worker_that_refuses_its_plan_is_an_error(tmp_path: Path) -> None:
    lb = Echo(tmp_path, workers=1)
    lb.environment = {"ECHO_REFUSES": "1"}
    assert failure(lb) == ["lb: error: worker 1: this plan is refused"]


def test_a_worker_that_ends_before_it_is_ready_is_an_error(tmp_path: Path) -> None:
    lb = Echo(tmp_path, workers=1)
    lb.environment = {"ECHO_FAILS": "1"}
    (line,) = failure(lb)
    assert re.fullmatch(r"lb: error: worker 1 \(pid \d+\) ended with status 4 before it was ready", line)


def test_without_the_compiled_part_nothing_starts(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['lb._speedups.face.mapping'] = None\n"
        "from lb.supervisor.run import main; sys.exit(main('x'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("lb: error: ")
    assert done.stderr.endswith("the compiled part of lb is missing: make build, or pip install .\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_unix_socket_is_shared_replaced_when_stale_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    lb = Echo(tmp_path)
    lb.binds = [{"address": f"unix@{path}", "mode": "0640"}]
    lb.write()
    with lb:
        assert lb.addresses() == [f"unix@{path}"]
        assert path.stat().st_mode & 0o777 == 0o640
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(str(path))
            assert talk(sock, "who")[2] == 1
    assert not path.exists()
    assert not lb.admin.exists()


def test_a_unix_socket_of_someone_else_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    lb = Echo(tmp_path)
    lb.binds = [f"unix@{path}"]
    lb.write()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        (line,) = failure(lb)
    assert line.endswith("address in use; 'ss -lxp' shows who listens there")
    assert path.exists()


def test_an_inherited_descriptor_is_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        lb = Echo(tmp_path)
        lb.binds = [f"fd@{inherited.fileno()}"]
        lb.write()
        with lb:
            host, port = inherited.getsockname()
            assert lb.addresses() == [f"{host}:{port}"]
            with lb.connect() as sock:
                sock.sendall(b"hello\n")
                assert receive_line(sock) == "hello\n"


def test_a_descriptor_that_is_no_socket_is_an_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        lb = Echo(tmp_path)
        lb.binds = [f"fd@{read}"]
        lb.write()
        (line,) = failure(lb)
    finally:
        os.close(read)
        os.close(write)
    assert line == f"lb: error: frontend 'web': cannot listen on 'fd@{read}': the descriptor is not a socket"


def sockets_of(pid: int) -> set[str]:
    """Return the sockets that a process has open."""
    found: set[str] = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        # The process goes on living: what it has closed meanwhile was none of what it keeps.
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(each))
    return {each for each in found if each.startswith("socket:")}


def test_a_worker_holds_no_socket_of_its_siblings(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=3) as lb:
        pids = list(lb.workers().values())
        supervisor = sockets_of(lb.process.pid)
        for pid in pids:
            own = sockets_of(pid)
            assert len(own & supervisor) == 1  # its listening socket
            assert not any(own & sockets_of(other) for other in pids if other != pid)
