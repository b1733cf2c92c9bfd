"""File descriptors: the limit on them, and which are open."""

from __future__ import annotations

import os
import resource

from lb.config.part import Part

# Beside connections a worker holds: the eventfds of all slots, the mapping, log and channel descriptors, epoll sets,
# pipes of splice(2), and descriptors that are between accept and close.
RESERVE = 200


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one, which needs no privilege; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_descriptors() -> frozenset[int]:
    """Return the descriptors that are open now: those that this process was started with, if it is asked first."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    # The one that the listing itself was read from is closed by now.
    return frozenset(each for each in listed if os.path.exists(f"/proc/self/fd/{each}"))


def descriptors_needed(part: Part) -> int:
    """Return the descriptors that one worker may need at once: the kernel may give it every connection."""
    # A connection has two sides, a copy of a request one; a listening socket is held twice (the one received and the engine's).
    # A server of datagrams that nobody answers has one socket for all of them.
    oneways = sum(len(backend.servers) for backend in part.backends if backend.mode == "udp")
    listening = len(part.binds) * 2 * max(1, part.workers)
    return part.maxconn * 2 + part.copies + listening + oneways + RESERVE


def maxconn_possible(limit: int, part: Part) -> int:
    """Return the connections that one worker has descriptors for."""
    return max(0, (limit - descriptors_needed(part) + part.maxconn * 2) // 2)
