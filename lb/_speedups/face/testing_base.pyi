from collections.abc import Iterable

from lb._speedups.face.mapping import Mapping

NEVER: int

class Pool:
    """A `pool_t` of its own; objects are their addresses, 0 is NULL."""

    def __init__(self, size: int, keep: int) -> None: ...
    def take(self) -> int: ...
    def give(self, address: int) -> None: ...
    def drain(self) -> None: ...
    def fail_every(self, n: int) -> None: ...
    def fill(self, address: int, byte: int) -> None:
        """Write `byte` over the whole object."""

    def write(self, address: int, at: int, byte: int) -> None: ...
    def read(self, address: int) -> bytes: ...
    def counts(self) -> dict[str, int]: ...

class Timers:
    """A `timers_t` and `size` timers, known by number."""

    def __init__(self, size: int, now_ms: int) -> None: ...
    def set(self, i: int, expire_ms: int) -> None: ...
    def clear(self, i: int) -> None: ...
    def unlink(self, i: int) -> None: ...
    def on_fire(self, i: int, actions: Iterable[tuple[str, int, int]]) -> None:
        """Do up to four of (`set` | `clear` | `unlink`, timer, ms from then on) whenever timer `i` fires."""

    def run(self, now_ms: int, limit: int = ...) -> list[int]:
        """Return the timers that fired, in order."""

    def next(self) -> int: ...
    def expire(self, i: int) -> int: ...
    def is_queued(self, i: int) -> bool: ...
    @property
    def now(self) -> int: ...
    @property
    def count(self) -> int: ...
    def check(self) -> None:
        """Raise AssertionError unless rings, bit maps and the count agree."""

def set_worker_generation(mapping: Mapping, slot: int, generation: int) -> None:
    """Say which generation a worker uses, as its engine would."""

def count(mapping: Mapping, slot: int, oid: int, **fields: int) -> None:
    """Add to a worker's row, as its engine would."""

def spoil_gauge(mapping: Mapping, oid: int, value: int) -> None:
    """Overwrite the total."""

def waiting(mapping: Mapping, oid: int) -> int:
    """Return the bits of the workers that wait for room."""

OK: int
BROKEN: int
LOST: int

class Lock:
    """An `lb_lock_t` in the mapping's arena."""

    def __init__(self, mapping: Mapping) -> None: ...
    def take(self) -> int:
        """Wait for it: OK, BROKEN or LOST."""

    def repaired(self) -> None: ...
    def give(self) -> None: ...

def allocate(mapping: Mapping, size: int) -> int: ...
def release(mapping: Mapping, at: int, size: int) -> None: ...
def is_zero(mapping: Mapping, at: int, size: int) -> bool: ...
def fill(mapping: Mapping, at: int, size: int, byte: int) -> None: ...
def spoil_heap(mapping: Mapping, at: int) -> None:
    """Overwrite all that is derived in a balance."""

def rebuild(mapping: Mapping, at: int) -> None: ...
def check_heap(mapping: Mapping, at: int) -> None:
    """Raise AssertionError unless the heap is one, of exactly the usable members."""

def spoil_loads(mapping: Mapping, at: int) -> None:
    """Overwrite the loads, which are derived from the rows."""

def table(mapping: Mapping, at: int) -> list[int] | list[tuple[int, int]]:
    """Return the table in use: member indexes by slot, (place, index) by point, (sum, index) by member."""

def set_moves(mapping: Mapping, at: int, moves: int) -> None:
    """Say how many changes of loads there were."""

def hash_of(function: int, key: bytes) -> int:
    """Return the 32-bit hash of a key; functions are numbered as in `policy/hash.pxd`."""

def xxh3_of(key: bytes) -> int:
    """Return XXH3_64bits."""

def avalanche_of(number: int) -> int:
    """Return HAProxy's full_hash of a number."""
