"""Children by pidfd, and orphans."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from lb.supervisor.child import Child, ending_text, reap_strangers


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended with status 0"),
        (3, "ended with status 3"),
        (-9, "was ended by SIGKILL"),
        (-40, "was ended by signal 40"),
    ],
)
def test_endings_read_well(status: int, text: str) -> None:
    assert ending_text(status) == text


def fork(life: object = None) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            if callable(life):
                life()
        finally:
            os._exit(3)
    return pid


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_says_how_it_ended() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pid = fork()
        child = Child(loop, pid, os.pidfd_open(pid))
        async with asyncio.timeout(10):
            assert await child.ended == 3
        child.kill(signal.SIGKILL)  # nothing, it has gone
        pid = fork(signal.pause)
        child = Child(loop, pid, os.pidfd_open(pid))
        child.kill(signal.SIGKILL)
        async with asyncio.timeout(10):
            assert await child.ended == -signal.SIGKILL

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_only_strangers_are_reaped() -> None:
    known, stranger = fork(), fork()
    for pid in (known, stranger):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    while True:
        reap_strangers({known})
        try:
            os.kill(stranger, 0)
        except ProcessLookupError:
            break
        # One of ours stood before it: that one is waited for by its pidfd, and then it is the stranger's turn.
        os.waitpid(known, 0)
        known = 0
    if known:
        assert os.waitpid(known, 0)[0] == known
