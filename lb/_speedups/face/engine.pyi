"""One worker's data plane."""

from typing import Final, TypedDict

from lb._speedups.face.mapping import Mapping

STEP_AGAIN: Final = 1
"""The run list is not empty: call step() again at once (loop.call_soon)."""
STEP_ACCEPT: Final = 2
"""A limit has room again: watch the paused listeners anew."""
STEP_DRAINED: Final = 4
"""Draining, and no connection is left."""
STEP_SWITCHED: Final = 8
"""The worker has switched to a new generation."""
STEP_LIMITED: Final = 16
"""Regular expressions have reached their limits (said at most every 10 s)."""

ACCEPT_LIMIT: Final = -1
"""A maxconn is reached: stop watching this listener until STEP_ACCEPT."""
ACCEPT_DESCRIPTORS: Final = -2
"""No descriptor or memory is free (EMFILE, ENFILE, ENOBUFS, ENOMEM): stop watching this listener for 100 ms."""
ACCEPT_OTHERS: Final = -3
"""It is the turn of others: this worker has more connections than the rest, and all wait at this socket. Stop watching this
listener for a millisecond, then say that it is its turn."""

PIPES_MAX: Final[int]
"""Pipes that one engine opens at most for splice(2)."""

class Regexes(TypedDict):
    patterns: int
    slow: int
    """Of these, without JIT."""
    compiled: int
    """Ever."""
    matches: int
    limits: int
    """Matches that reached a limit."""
    limited: bytes
    """The pattern that did so last, while it is still in use."""

class Engine:
    """Connections, streams, timers and idle server connections of one worker.

    The caller's loop watches fileno() and each listening socket for reading, and calls step() or accept(). Nothing here
    blocks. Without a loop (tests), poll fileno() and call step().
    """

    def __init__(self, mapping: Mapping, slot: int, *, eventfd: int = -1, alone: bool = False) -> None:
        """Make the engine of worker `slot` (1..64) of this mapping.

        `eventfd` is the worker's wake-up descriptor (any process may write it); -1 makes a private one. Descriptors that
        are given stay the caller's. `alone` says that this process never forks while the engine runs, which saves a
        system call for every connection that is closed. Raises OSError.
        """

    def fileno(self) -> int:
        """Return the epoll descriptor that is readable when step() has work."""

    def step(self) -> int:
        """Do one bounded pass over events, timers and the run list; return STEP_* bits. Beats the heart."""

    def prepare(self, plan: int) -> int:
        """Map the plan image in descriptor `plan` (stays the caller's) and return its generation.

        It comes into use in the step() or accept() that sees this number as the mapping's committed generation; an
        engine without any plan takes it at once. Before another one is committed, compile() it. Raises ValueError with
        the reason for a bad image.
        """

    def compile(self, generation: int) -> bool:
        """Compile regular expressions of a prepared plan for a millisecond; return whether all are ready. Raises ValueError."""

    def regexes(self) -> Regexes:
        """Return what is known of regular expressions: those of all plans in use, and how matching went."""

    def discard(self, generation: int) -> None:
        """Drop a prepared plan that will not be committed."""

    @property
    def generation(self) -> int:
        """The generation in use, 0 = none."""

    def listen(self, oid: int, fd: int) -> bool:
        """Take the listening socket `fd` (made non-blocking, dup'ed; `fd` stays the caller's) for the listener with this object id.

        Several sockets may serve one listener. Return whether the engine reads it itself: a datagram socket is in its own
        epoll set. For any other accept() must be called when it is readable.
        """

    def listening(self) -> list[tuple[int, int]]:
        """Return (object id, engine's descriptor) of every listening socket: the descriptors to watch."""

    def accept(self, fd: int, is_turn: bool = False) -> int:
        """Accept up to 64 connections from this listening socket (engine's descriptor); the number, or ACCEPT_*.

        `is_turn`: up to 8, whatever other workers have.
        """

    def unlisten(self, fd: int, *, stays: bool = False) -> None:
        """Accept until EAGAIN, then close this listening socket (engine's descriptor).

        One of datagrams is closed after its last session; with `stays` it is read until then.
        """

    def drain(self) -> None:
        """Close idle connections and end keep-alive; step() says STEP_DRAINED when the last connection has gone."""

    def connections(self) -> int:
        """Return the number of client connections."""

    def close(self) -> None:
        """End every connection at once and give all memory back. The engine cannot be used afterwards."""

    def pools(self) -> dict[str, dict[str, int]]:
        """Return per pool: size, live, peak, cached, taken, failed. Zero live objects after close(), or it is a leak."""

    def runnable(self) -> int:
        """Return the number of connections on the run list: work that is known and not done yet."""

    def sessions(self) -> list[dict[str, object]]:
        """Return what `show sess` needs: per client connection its age in ms, addresses, frontend, backend, server, state."""

    def parked(self) -> list[int]:
        """Return the handles of the parked streams, oldest first. Only debug builds park (bind option `debug: {park: true}`)."""

    def resume(self, handle: int) -> bool:
        """Go on with a parked stream; False when it has gone meanwhile."""

    def chaos(self, seed: int, *, scarce: int = 0) -> None:
        """Disturb every read, write and event from now on (debug builds; else RuntimeError). 0 ends it.

        `scarce` = n: besides, about one in n objects and connections is not to be had.
        """
