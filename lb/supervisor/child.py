"""A child of the supervisor, known by its pidfd: a pid can name another process by the time it is used."""

from __future__ import annotations

import asyncio
import os
import signal


def ending_text(status: int) -> str:
    """Return how a process ended: `status` is its exit status, or a signal's number below zero."""
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with status {status}"


class Child:
    """A running child; `ended` gets its exit status, or minus the signal that ended it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pid: int, pidfd: int) -> None:
        self._loop = loop
        self._pidfd = pidfd
        self.pid = pid
        self.ended: asyncio.Future[int] = loop.create_future()
        loop.add_reader(pidfd, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        try:
            found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        finally:
            os.close(self._pidfd)
        assert found is not None
        self.ended.set_result(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)

    def kill(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the child has ended."""
        if self.ended.done():
            return
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass  # it is a zombie that the loop has not looked at yet


def reap_strangers(known: set[int]) -> None:
    """Collect orphans that fell to this process; children of this program are left to those who wait for them."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        # The kernel shows the first zombie: behind one of ours a stranger waits for the next call.
        if found is None or found.si_pid in known:
            return
        os.waitpid(found.si_pid, os.WNOHANG)
