from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import select
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lb._speedups.face.logdrain import LogDrain
from lb._speedups.face.mapping import MAPPING_WORKERS, Mapping
from lb._speedups.face.testing_log import Ring

LINE = b"x" * 199  # with its newline a 200th byte
SLOTS = 3


class Rings:
    """The rings of a mapping's first slots."""

    def __init__(self) -> None:
        self.mapping = Mapping.create()
        for slot in range(1, SLOTS + 1):
            self.mapping.reserve(slot)
        self.rings = [Ring(self.mapping, slot) for slot in range(1, SLOTS + 1)]

    def __getitem__(self, index: int) -> Ring:
        return self.rings[index]


Start = Callable[..., LogDrain]


@pytest.fixture
def rings() -> Rings:
    return Rings()


@pytest.fixture
def start(rings: Rings) -> Iterator[Start]:
    """Start log threads that are stopped at the end, and see that they leave no descriptor."""
    before = set(os.listdir("/proc/self/fd"))
    drains: list[LogDrain] = []

    def make(*targets: str) -> LogDrain:
        drains.append(LogDrain(rings.mapping, targets))
        return drains[-1]

    yield make
    for drain in drains:
        drain.stop(0)
    drains.clear()
    assert set(os.listdir("/proc/self/fd")) <= before
    assert "lb-log" not in thread_names()


def thread_names() -> list[str]:
    return [Path("/proc/self/task", task, "comm").read_text().strip() for task in os.listdir("/proc/self/task")]


@contextlib.contextmanager
def stream(number: int, fd: int) -> Iterator[None]:
    """Make `fd` the standard stream `number` for a while."""
    kept = os.dup(number)
    os.dup2(fd, number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond `size`: a short write first, then a refusal, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fork(body: Callable[[], object]) -> int:
    """Run `body` in a child; return its pid. It exits with 0 only if body returned."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return pid


def status(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


def read_all(fd: int, size: int) -> bytes:
    """Read `size` bytes; fail if they do not come."""
    out = b""
    while len(out) < size:
        ready, _, _ = select.select([fd], [], [], 5)
        assert ready, f"{len(out)} of {size} bytes came"
        out += os.read(fd, size - len(out))
    return out


def fill_until_dropped(drain: LogDrain, ring: Ring, number: int) -> None:
    while not drain.dropped(number):
        ring.repeat(LINE, 500, number)
        drain.flush()


# ---- records ----------------------------------------------------------------------------------------------


def test_records_of_all_rings_reach_their_file(rings: Rings, start: Start, tmp_path: Path) -> None:
    a, b = tmp_path / "a.log", tmp_path / "b.log"
    drain = start(str(a), str(b))
    rings[0].write(b"one", 0)
    rings[2].write(b"two", 1)
    rings[0].write(b"three", 0)
    drain.flush()
    assert a.read_bytes() == b"one\nthree\n"
    assert b.read_bytes() == b"two\n"
    assert stat.S_IMODE(a.stat().st_mode) & ~0o640 == 0


def test_a_record_needs_no_order_to_arrive(rings: Rings, start: Start) -> None:
    reader, writer = os.pipe()
    with stream(1, writer):
        start("stdout")
    rings[1].write(b"by itself")
    assert read_all(reader, 10) == b"by itself\n"
    os.close(reader)
    os.close(writer)


def test_a_file_is_appended_to(rings: Rings, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"before\n")
    drain = start(str(path))
    rings[0].write(b"after")
    drain.flush()
    assert path.read_bytes() == b"before\nafter\n"


def test_a_record_may_be_for_every_target(rings: Rings, start: Start, tmp_path: Path) -> None:
    a, b = tmp_path / "a.log", tmp_path / "b.log"
    drain = start(str(a), str(b), str(a))
    rings[0].write(b"all", 0xFFFF)
    drain.flush()
    assert a.read_bytes() == b.read_bytes() == b"all\n"


def test_numbers_of_the_same_target_share_its_file(rings: Rings, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    drain = start(str(path), str(path))
    rings[0].write(b"0", 0)
    rings[0].write(b"1", 1)
    drain.flush()
    assert path.read_bytes() == b"0\n1\n"
    assert [target["to"] for target in drain.stats()["targets"]] == [str(path)]


def test_a_record_for_no_target_is_counted(rings: Rings, start: Start, tmp_path: Path) -> None:
    drain = start(str(tmp_path / "a.log"))
    rings[0].write(b"?", 1)
    drain.flush()
    stats = drain.stats()
    assert (stats["records"], stats["unknown"], stats["targets"][0]["records"]) == (1, 1, 0)
    with pytest.raises(IndexError):
        drain.dropped(1)


def test_a_slot_without_a_worker_costs_no_memory(rings: Rings, start: Start, tmp_path: Path) -> None:
    before = os.fstat(rings.mapping.fd).st_blocks
    drain = start(str(tmp_path / "a.log"))
    drain.flush()
    drain.stats()
    assert os.fstat(rings.mapping.fd).st_blocks == before


def test_a_slot_may_get_its_first_worker_later(rings: Rings, start: Start, tmp_path: Path) -> None:
    drain = start(str(tmp_path / "a.log"))
    drain.flush()
    rings.mapping.reserve(MAPPING_WORKERS)
    Ring(rings.mapping, MAPPING_WORKERS).write(b"hello")
    drain.flush()
    # Reserved again for the slot's next worker, the ring goes on.
    rings.mapping.reserve(MAPPING_WORKERS)
    Ring(rings.mapping, MAPPING_WORKERS).write(b"again")
    drain.flush()
    assert (tmp_path / "a.log").read_bytes() == b"hello\nagain\n"


def test_a_ring_with_a_wrong_size_is_left_alone(rings: Rings, start: Start, tmp_path: Path) -> None:
    rings[1].write(b"1")
    rings[1].size = 1 << 40
    drain = start(str(tmp_path / "a.log"))
    rings[2].write(b"2")
    drain.flush()
    assert (tmp_path / "a.log").read_bytes() == b"2\n"


def test_what_rings_refused_and_skipped_is_in_the_stats(rings: Rings, start: Start, tmp_path: Path) -> None:
    rings[0].repeat(b"z" * 1000, 10_000)
    refused = rings[0].dropped
    rings[1].write(b"gone")
    rings[1].head = rings[1].head - 8
    drain = start(str(tmp_path / "a.log"))
    drain.flush()
    stats = drain.stats()
    assert refused > 0
    assert (stats["refused"], stats["broken"], stats["records"]) == (refused, 1, 10_000 - refused)
    drain.stop()
    assert drain.stats()["refused"] == refused


def test_the_mapping_stays_while_the_thread_runs(rings: Rings, start: Start) -> None:
    drain = start()
    with pytest.raises(RuntimeError, match="in use"):
        rings.mapping.close()
    drain.stop()
    rings.mapping.close()
    with pytest.raises(ValueError, match="the mapping is closed"):
        start()


def test_records_of_a_killed_worker_arrive(rings: Rings, start: Start, tmp_path: Path) -> None:
    def worker() -> None:
        rings[1].write(b"last words")
        rings[1].reserve(100)
        os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(status(fork(worker))) == signal.SIGKILL
    drain = start(str(tmp_path / "a.log"))
    rings[0].write(b"others")
    drain.flush()
    assert sorted((tmp_path / "a.log").read_bytes().splitlines()) == [b"last words", b"others"]


# ---- targets that do not take their records ---------------------------------------------------------------


def test_a_stuck_pipe_holds_nobody(rings: Rings, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    reader, writer = os.pipe()
    with stream(1, writer):
        drain = start("stdout", str(path))
    fill_until_dropped(drain, rings[0], 0)
    rings[0].write(b"passes", 1)
    drain.flush()
    assert path.read_bytes() == b"passes\n"
    # What it took before and what waited is whole lines; what comes later arrives behind it.
    stats = drain.stats()["targets"][0]
    assert read_all(reader, stats["records"] * 200) == (LINE + b"\n") * stats["records"]
    rings[0].write(b"again", 0)
    assert read_all(reader, 6) == b"again\n"
    assert drain.stats()["dropped"] == drain.dropped(0) == stats["dropped"]
    assert drain.dropped(1) == 0
    # The shell's own description was not made non-blocking.
    assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(reader)
    os.close(writer)


def test_lines_of_several_writers_of_a_pipe_are_never_torn(rings: Rings, start: Start) -> None:
    reader, writer = os.pipe()
    with stream(1, writer):
        drain = start("stdout")

    def other() -> None:
        for _ in range(2000):
            os.write(writer, b"o" * 149 + b"\n")

    pid = fork(other)
    rings[0].repeat(LINE, 1000)
    out = read_all(reader, 2000 * 150 + 1000 * 200)
    assert status(pid) == 0
    assert sorted(set(out.splitlines())) == [b"o" * 149, LINE]
    assert drain.stats()["dropped"] == 0
    os.close(reader)
    os.close(writer)


def test_a_stream_that_cannot_be_opened_again_is_not_waited_for(rings: Rings) -> None:
    def child() -> None:
        reader, writer = os.pipe()
        os.fchmod(writer, 0)
        if os.getuid() == 0:
            os.setuid(65534)
        with stream(1, writer):
            with pytest.raises(PermissionError):
                os.open("/proc/self/fd/1", os.O_WRONLY)
            drain = LogDrain(rings.mapping, ["stdout"])
        fill_until_dropped(drain, rings[0], 0)
        records = drain.stats()["targets"][0]["records"]
        assert read_all(reader, records * 200) == (LINE + b"\n") * records
        assert drain.stop()

    assert status(fork(child)) == 0


def test_a_socket_is_not_waited_for(rings: Rings, start: Start) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with stream(1, theirs.fileno()):
            drain = start("stdout")
        fill_until_dropped(drain, rings[0], 0)
        records = drain.stats()["targets"][0]["records"]
        assert read_all(ours.fileno(), records * 200) == (LINE + b"\n") * records


def test_a_reader_that_went_away_costs_its_records_only(rings: Rings, start: Start, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with stream(1, writer):
        drain = start("stdout", str(tmp_path / "a.log"))
    os.close(reader)
    os.close(writer)
    rings[0].write(b"x", 0)
    rings[0].write(b"y", 1)
    drain.flush()
    assert drain.stats()["targets"][0]["error"] == os.strerror(errno.EPIPE)
    assert (tmp_path / "a.log").read_bytes() == b"y\n"
    assert drain.stop() is False
    assert drain.dropped(0) == 1


def test_a_full_disk_comes_back_by_itself(rings: Rings, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    drain = start(str(path))
    with file_size_limit(200 * 100 + 77):
        rings[0].repeat(LINE, 150)
        drain.flush()
        assert path.stat().st_size == 200 * 100 + 77
        assert drain.stats()["targets"][0]["error"] == os.strerror(errno.EFBIG)
        fill_until_dropped(drain, rings[0], 0)
    drain.flush()
    stats = drain.stats()["targets"][0]
    assert stats["error"] == ""
    assert path.read_bytes() == (LINE + b"\n") * stats["records"]
    rings[0].write(b"normal")
    drain.flush()
    assert path.read_bytes().endswith(b"x\nnormal\n")
    assert drain.dropped(0) == stats["dropped"]


def test_a_device_without_room_says_so(rings: Rings, start: Start) -> None:
    drain = start("/dev/full")
    rings[0].write(b"x")
    drain.flush()
    assert drain.stats()["targets"][0]["error"] == os.strerror(errno.ENOSPC)


# ---- reopening and changing -------------------------------------------------------------------------------


def test_rotation_loses_nothing_and_writes_nothing_twice(rings: Rings, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    drain = start(str(path))
    count = 30_000

    def worker() -> None:
        for number in range(count):
            while not rings[1].write(b"%d" % number):
                os.sched_yield()

    pid = fork(worker)
    rotated: list[Path] = []
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        rotated.append(tmp_path / f"a.log.{len(rotated)}")
        path.rename(rotated[-1])
        assert drain.reopen() == []
    assert drain.stop()
    text = b"".join(each.read_bytes() for each in [*rotated, path])
    assert text == b"".join(b"%d\n" % number for number in range(count))
    assert len(rotated) > 1


def test_a_file_that_cannot_be_reopened_is_used_further(rings: Rings, start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    drain = start(str(folder / "a.log"))
    moved = tmp_path / "moved"
    folder.rename(moved)
    (failed,) = drain.reopen()
    assert isinstance(failed, FileNotFoundError)
    assert failed.filename == str(folder / "a.log")
    assert drain.stats()["targets"][0]["reopen_error"] == os.strerror(errno.ENOENT)
    rings[0].write(b"still")
    drain.flush()
    assert (moved / "a.log").read_bytes() == b"still\n"
    folder.mkdir()
    assert drain.reopen() == []
    rings[0].write(b"new")
    drain.flush()
    assert (folder / "a.log").read_bytes() == b"new\n"
    assert drain.stats()["targets"][0]["reopen_error"] == ""


def test_a_record_cut_by_a_full_disk_does_not_begin_the_new_file(rings: Rings, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    drain = start(str(path))
    with file_size_limit(277):
        rings[0].repeat(LINE, 3)
        drain.flush()
        path.rename(tmp_path / "old")
        assert drain.reopen() == []
    drain.flush()
    assert path.read_bytes() == LINE + b"\n"
    assert drain.dropped(0) == 1


def test_targets_change_between_records(rings: Rings, start: Start, tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    drain = start(str(a), str(b))
    rings[0].write(b"to b", 1)
    drain.set_targets([str(c), str(a)])
    rings[0].write(b"to a", 1)
    rings[0].write(b"to c", 0)
    drain.flush()
    assert (a.read_bytes(), b.read_bytes(), c.read_bytes()) == (b"to a\n", b"to b\n", b"to c\n")
    assert [target["to"] for target in drain.stats()["targets"]] == [str(c), str(a)]


def test_a_target_that_stays_keeps_its_open_file(rings: Rings, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    drain = start(str(path))
    path.rename(tmp_path / "moved")
    drain.set_targets(["stderr", str(path)])
    rings[0].write(b"x", 1)
    drain.flush()
    assert (tmp_path / "moved").read_bytes() == b"x\n"
    drain.set_targets([str(path)])
    drain.set_targets([])
    assert drain.stats()["targets"] == []


def test_records_of_a_removed_target_that_was_stuck_are_counted(rings: Rings, start: Start) -> None:
    drain = start("/dev/full")
    rings[0].repeat(LINE, 7)
    drain.set_targets([])
    assert drain.stats()["dropped"] == 7


def test_a_target_that_cannot_be_opened_changes_nothing(rings: Rings, start: Start, tmp_path: Path) -> None:
    missing = str(tmp_path / "no" / "b.log")
    with pytest.raises(FileNotFoundError) as failed:
        start(str(tmp_path / "x"), missing)
    assert failed.value.filename == missing
    drain = start(str(tmp_path / "a.log"))
    with pytest.raises(FileNotFoundError):
        drain.set_targets([str(tmp_path / "x"), missing])
    with pytest.raises(IsADirectoryError):
        drain.set_targets([str(tmp_path)])
    with pytest.raises(ValueError, match="129 log targets, at most 128"):
        drain.set_targets(["stdout"] * 129)
    rings[0].write(b"x")
    drain.flush()
    assert (tmp_path / "a.log").read_bytes() == b"x\n"


# ---- the end ----------------------------------------------------------------------------------------------


def test_stop_writes_what_is_left(rings: Rings, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    drain = start(str(path))
    for number in range(3):
        rings[number].repeat(LINE, 1000)
    assert drain.stop() is True
    assert path.stat().st_size == 3 * 1000 * 200
    assert drain.stop() is True
    assert drain.stats()["records"] == 3000
    for call in (drain.flush, drain.reopen, lambda: drain.set_targets([])):
        with pytest.raises(RuntimeError, match="the log thread has ended"):
            call()


def test_stop_does_not_wait_for_a_stuck_pipe_for_ever(rings: Rings, start: Start) -> None:
    reader, writer = os.pipe()
    with stream(1, writer):
        drain = start("stdout")
    rings[0].repeat(LINE, 1000)
    assert drain.stop(0.05) is False
    stats = drain.stats()["targets"][0]
    assert stats["bytes"] == (stats["records"] - stats["dropped"]) * 200
    assert stats["dropped"] > 0
    os.close(reader)
    os.close(writer)


def test_stop_waits_for_a_slow_reader(rings: Rings, start: Start) -> None:
    reader, writer = os.pipe()
    with stream(1, writer):
        drain = start("stdout")
    rings[0].repeat(LINE, 1000)
    pid = fork(lambda: os._exit(0 if read_all(reader, 200_000) == (LINE + b"\n") * 1000 else 1))
    assert drain.stop(10) is True
    assert status(pid) == 0
    os.close(reader)
    os.close(writer)


def test_a_forgotten_thread_ends_with_its_object(rings: Rings, tmp_path: Path) -> None:
    drain = LogDrain(rings.mapping, [str(tmp_path / "a.log")])
    drain.flush()
    assert "lb-log" in thread_names()
    del drain
    assert "lb-log" not in thread_names()


def test_a_forked_child_has_no_thread_to_stop(rings: Rings, start: Start, tmp_path: Path) -> None:
    drain = start(str(tmp_path / "a.log"))

    def child() -> None:
        assert drain.stop() is True
        with pytest.raises(RuntimeError):
            drain.flush()

    assert status(fork(child)) == 0
    rings[0].write(b"x")
    drain.flush()
    assert (tmp_path / "a.log").read_bytes() == b"x\n"


# ---- messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [[], ["stderr"]])
def test_messages_are_lines_on_stderr(start: Start, targets: list[str]) -> None:
    reader, writer = os.pipe()
    with stream(2, writer):
        drain = start(*targets)
    drain.write("one")
    drain.write("two\nlines é", 3)
    expected = "one\ntwo\nlines é\n".encode()
    assert read_all(reader, len(expected)) == expected
    drain.set_targets([])
    drain.write("after")
    assert read_all(reader, 6) == b"after\n"
    assert drain.stop()
    with stream(2, writer):
        drain.write("the end")
    assert read_all(reader, 8) == b"the end\n"
    os.close(reader)
    os.close(writer)


def test_journald_gets_levels(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    st = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{st.st_dev}:{st.st_ino}")
    with stream(2, writer):
        drain = start()
    drain.write("a\nb", 4)
    assert read_all(reader, 10) == b"<4>a\n<4>b\n"
    os.close(reader)
    os.close(writer)


def test_a_closed_stderr_is_no_reason_not_to_log(rings: Rings, tmp_path: Path) -> None:
    def child() -> None:
        os.close(2)
        drain = LogDrain(rings.mapping, [str(tmp_path / "a.log")])
        drain.write("nobody reads this")
        rings[0].write(b"x")
        assert drain.stop()

    assert status(fork(child)) == 0
    assert (tmp_path / "a.log").read_bytes() == b"x\n"
