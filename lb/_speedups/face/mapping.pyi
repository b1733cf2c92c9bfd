"""The shared mapping: state that outlives generations and workers.

What each part means stands in `base/mapping.pxd` and `policy/balance.pxd`.
"""

from collections.abc import Sequence
from typing import Final, TypedDict

MAPPING_WORKERS: Final = 64
"""Worker slots are 1..MAPPING_WORKERS."""

OBJECT_PROCESS: Final = 1
OBJECT_FRONTEND: Final = 2
OBJECT_LISTENER: Final = 3
OBJECT_BACKEND: Final = 4
OBJECT_SERVER: Final = 5
OBJECT_LIMIT: Final = 6

WORKER_EMPTY: Final = 0
WORKER_STARTING: Final = 1
WORKER_RUNNING: Final = 2
WORKER_DRAINING: Final = 3
WORKER_DEAD: Final = 4

class Worker(TypedDict):
    pid: int
    state: int
    eventfd: int
    beat_ms: int
    generation: int
    oldest: int
    connections: int

class Mapping:
    """One mapping of the shared memfd, unmapped when the object goes.

    Everything raises ValueError after close(). Who writes what: the supervisor registers, allocates, clears and buries;
    a worker adds to its own rows. Object ids and slots are checked: KeyError and IndexError.
    """

    users: int
    """Doors that work on this mapping; close() refuses while there are any."""

    @classmethod
    def create(cls) -> Mapping:
        """Make a new memfd (close-on-exec, 9.8 GiB of addresses, a few hundred KiB of memory) and map it. Raises OSError."""

    @classmethod
    def attach(cls, fd: int) -> Mapping:
        """Map an existing memfd; `fd` stays the caller's. Raises OSError (EPROTO: not a mapping, or another version)."""

    def close(self) -> None:
        """Unmap, and close the descriptor if create() made it. Again is harmless. RuntimeError while in use."""

    @property
    def fd(self) -> int:
        """The memfd, -1 when closed."""

    @property
    def address(self) -> int:
        """Where it is mapped in this process."""

    @property
    def generation(self) -> int:
        """The committed generation: setting it is the commit."""

    @generation.setter
    def generation(self, value: int) -> None: ...
    @property
    def oldest(self) -> int:
        """The oldest generation that any worker may still use: what only older ones name can be released."""

    @property
    def stopping(self) -> bool:
        """Whether all workers shall drain."""

    @stopping.setter
    def stopping(self, value: bool) -> None: ...
    @property
    def start_ms(self) -> int:
        """CLOCK_MONOTONIC ms of the mapping's birth."""

    @property
    def start_us(self) -> int:
        """CLOCK_REALTIME us of it."""

    @property
    def supervisor(self) -> int:
        """Pid of who made it."""

    def register(self, kind: int, parent: int, name: str) -> int:
        """Return the id of the object of this kind (OBJECT_*), parent id (0 = none) and name, making it when needed.

        It has memory for all its rows, and belongs to the coming generation until mark() says otherwise. Ids that
        no generation in use names are given again only when all 65,535 are taken. Raises OSError (ENOSPC: all in use,
        ENOMEM).
        """

    def objects(self) -> list[int]:
        """Return the ids in use, in order."""

    def name(self, oid: int) -> str:
        """Return the name; one over 103 bytes is cut and ends in `~` and a hash."""

    def kind(self, oid: int) -> int: ...
    def parent(self, oid: int) -> int: ...
    def mark(self, oid: int, generation: int) -> None:
        """Say that `generation` names this object."""

    def marked(self, oid: int) -> int:
        """Return the last generation that names it."""

    def limit(self, oid: int) -> int:
        """Return the gauge's limit, 0 = none."""

    def set_limit(self, oid: int, n: int) -> None:
        """Set the gauge's limit (0 = none), and wake the workers that wait for room if there is some."""

    def gauge(self, oid: int) -> int:
        """Return what the gauge shows: the sum of the live rows' `cur`."""

    def enter(self, slot: int, oid: int) -> bool:
        """Add one to worker `slot`'s row and the gauge; False at the limit, then the worker is marked as waiting."""

    def leave(self, slot: int, oid: int) -> None:
        """Take one away, and wake the workers that wait for room."""

    def counters(self, oid: int) -> dict[str, int]:
        """Return the sum of the object's rows by field name (`base/mapping.pxd`); `status` is status_1xx .. status_other."""

    def counters_row(self, slot: int, oid: int) -> dict[str, int]:
        """Return one row; slot 0 is the base row, whose values are differences modulo 2**64."""

    def clear_counters(self, all: bool = False) -> None:
        """Make all maxima the present values; with `all` also every sum zero."""

    def set_alarm(self, eventfd: int) -> None:
        """Say which eventfd wakes the supervisor; 0 = none."""

    def observe(self, oid: int, limit: int) -> None:
        """Let this many failed connections in a row make a server a suspect; 0 = nothing is counted. The count begins anew."""

    def failures(self, oid: int) -> int:
        """Return how many connections to a server have failed in a row."""

    def count_failure(self, oid: int) -> None:
        """Count a failed connection, as workers do."""

    def count_success(self, oid: int) -> None:
        """Count a connection that was made, as workers do."""

    def suspects(self) -> list[int]:
        """Take the servers that have become suspects: their failures in a row came to a multiple of the limit."""

    def worker(self, slot: int) -> Worker: ...
    def reserve(self, slot: int) -> None:
        """Give the slot's rows and log ring memory. Raises OSError."""

    def set_worker(
        self, slot: int, *, pid: int | None = None, state: int | None = None, eventfd: int | None = None
    ) -> None:
        """Set what is given. WORKER_STARTING also reserves memory (OSError) and starts the heartbeat's clock."""

    def beat(self, slot: int) -> None:
        """Write the present time as the slot's heartbeat."""

    def wake(self, slot: int) -> None:
        """Write the worker's eventfd, if it has one."""

    def bury(self, slot: int) -> None:
        """Fold the rows of an ended worker into the base rows, mend the gauges, wake who waited, empty the slot.

        Only when the process has ended. Its log ring is not touched.
        """

    def balance(
        self,
        oids: Sequence[int],
        weights: Sequence[int],
        old_at: int = 0,
        *,
        algorithm: int = ...,
        table: int = ...,
        backups: Sequence[bool] = (),
        identities: Sequence[int] = (),
        all_backups: bool = False,
        positions: bool = False,
        draws: int = 2,
        bound: int = 0,
        seed: int = 0,
    ) -> int:
        """Make a balance of these servers (weights 0..65535) and return its offset: roundrobin if nothing is said.

        `old_at` is the balance that it follows: servers keep their places in the rotation, and who is down stays down. The
        words are those of `policy/balance.pxd`. Raises OSError (ENOSPC, ENOMEM; EINVAL: its table would be too large).
        """

    def release_balance(self, at: int) -> None:
        """Give a balance's memory back, once no generation in use refers to it."""

    def pick(self, at: int, avoid: int = 0, times: int = 1, *, hash: int | None = None, slot: int = 0) -> int:
        """Pick `times` servers and return the last one's id, 0 = none is usable.

        `hash` is that of the key, if there is one; with a `slot` each is booked as a connection of that worker.
        """

    def unpick(self, at: int, oid: int, slot: int) -> None:
        """End a connection that was booked."""

    def recount(self, at: int) -> None:
        """Count the loads of this backend's balances anew from the rows."""

    def set_usable(self, oid: int, usable: bool) -> None:
        """Say that a server is up or down, in every balance that has it. Raises MemoryError."""

    def set_weight(self, oid: int, weight: int) -> bool:
        """Give a server this weight (0..65535, 0 lets it drain) in every balance that has it.

        False, and nothing is changed, when the table of one has no room for it. Raises MemoryError.
        """

    def members(self, at: int) -> list[tuple[int, int, int]]:
        """Return (object id, weight that counts now, times chosen in turn) of each member, in order."""

    def loads(self, at: int) -> dict[int, int]:
        """Return connections by object id, over all workers; exact only if a balance of the backend needs them."""
