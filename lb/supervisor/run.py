"""`lb run`: from the command line to a running supervisor.

The order matters. The mapping and the eventfds come first, so that every process has them under the same numbers; then the
zygote is forked, while there is no loop, no thread and nothing but imports; only then does the supervisor get its loop.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.supervisor.journal import Journal
    from lb.supervisor.notify import Notifier

MAX_SLOTS = 64


def main(path: str, ready_fd: int = -1) -> int:
    """Run lb with the configuration in this file; return the exit status.

    When it serves, one line of JSON with the listeners' addresses, the admin socket and the pids is written to `ready_fd`.
    """
    try:
        import uvloop

        from lb import worker
        from lb._speedups.face.mapping import Mapping
        from lb._speedups.face.process import become_subreaper, set_name
    except ImportError as error:
        print(f"lb: error: {error}; the compiled part of lb is missing: make build, or pip install .", file=sys.stderr)
        return 1
    from lb.supervisor import compiler
    from lb.supervisor.journal import Journal
    from lb.supervisor.limits import RESERVE, open_descriptors, raise_descriptor_limit
    from lb.supervisor.notify import from_environment, passed_sockets
    from lb.supervisor.sockets import Sockets, why
    from lb.supervisor.zygote import Heritage, fork_zygote

    journal = Journal()
    inherited = open_descriptors()
    passed = passed_sockets()
    # Before the fork: no child finds in its environment what is meant for this process.
    notifier = from_environment(journal)
    try:
        limit = raise_descriptor_limit()
        if limit < RESERVE:
            return _refuse(
                f"{RESERVE} file descriptors are the least, the limit is {limit}; raise it (ulimit -n, LimitNOFILE=)",
                journal,
                notifier,
            )
        become_subreaper()
        mapping = Mapping.create()
        eventfds = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(MAX_SLOTS)]
        alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        mapping.set_alarm(alarm)
        heritage = Heritage(mapping, eventfds, alarm)
        zygote = fork_zygote(heritage, {"worker": worker.main, "compiler": compiler.main})
    except OSError as error:
        return _refuse(why(error, "process"), journal, notifier)
    # Here and not above: this is what children need not carry.
    from lb.supervisor.supervisor import Supervisor

    set_name("lb supervisor")
    loop = uvloop.new_event_loop()
    supervisor = Supervisor(
        loop,
        heritage,
        zygote,
        path,
        journal,
        Sockets(inherited, passed),
        notifier,
        descriptor_limit=limit,
        ready_fd=ready_fd,
    )
    try:
        return loop.run_until_complete(supervisor.run())
    finally:
        loop.close()
        notifier.close()


def _refuse(reason: str, journal: Journal, notifier: Notifier) -> int:
    journal.error(f"cannot start: {reason}")
    notifier.status(f"cannot start: {reason}")
    notifier.close()
    return 1
