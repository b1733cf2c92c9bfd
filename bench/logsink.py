"""A syslog daemon's socket: receives datagrams, counts them, keeps none.

HAProxy logs to /dev/log on most machines; this is that socket without the rest
of the daemon, so that HAProxy pays for its log line what its users pay. It
prints how many records it got when it is told to end.

A machine with systemd lets 512 datagrams wait in such a socket; a bare kernel
10, which would make HAProxy lose records instead of paying for them. The limit
is read at socket creation and belongs to the network namespace, so the sink
makes its socket in one of its own where it may (root); a unix socket with a
path is reachable across namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys

_CLONE_NEWNET = 0x40000000


def deepen_queue(records: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        return False
    try:
        with open("/proc/sys/net/unix/max_dgram_qlen", "w") as f:
            f.write(str(records))
    except OSError:
        return False
    return True


def main(path: str, count_path: str) -> None:
    deepen_queue(512)
    sink = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink.bind(path)
    os.chmod(path, 0o777)
    buffer = bytearray(4096)
    count = 0

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            sink.recv_into(buffer)
            count += 1
    with open(count_path, "w") as f:
        f.write(f"{count}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
