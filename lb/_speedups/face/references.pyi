"""Maps and ACL files for Python: read by the compiler, kept by the supervisor, shown and changed on the admin socket."""

from collections.abc import Iterator, Sequence

from lb._speedups.face.mapping import Mapping

REFERENCE_USES: int
REFERENCE_KEY_MAX: int
REFERENCE_MAP: int
REFERENCE_INTEGERS: int
REFERENCE_ADDRESSES: int
REFERENCE_NETS: int
REFERENCE_NUMBERS: int
REFERENCE_DIGITS: int
REFERENCE_SHORT: int
REFERENCE_DONE: int
REFERENCE_FULL: int
REFERENCE_BAD_KEY: int
REFERENCE_BAD_VALUE: int
REFERENCE_NONE: int
REFERENCE_LOST: int
STORE_PAGE: int
STORE_AT: int
STORE_BYTES: int

Use = tuple[int, int]
"""(match_method, SET_* flags)."""

class Entries:
    """The lines of a file, read but not judged."""

    def __init__(self, content: bytes, is_map: bool, is_raw: bool = False) -> None:
        """Read keys with values or without. Raw lines are patterns as they are, without comments and blanks to drop."""

    def __len__(self) -> int: ...
    def judge(self, flags: int) -> tuple[int, int, bytes, bytes] | None:
        """Return (line, REFERENCE_BAD_*, key, value) of the first entry that is not what these flags ask for."""

    def size(self, flags: int, uses: int, slack: int) -> int:
        """Return the bytes that a reference with its first image takes, with room for `slack` more entries."""

    def build(
        self, mapping: Mapping, at: int, flags: int, uses: Sequence[Use], slack: int, entries_max: int, generation: int
    ) -> None:
        """Write both at a reserved and zeroed place of the store. Raise MemoryError."""

def reserve(mapping: Mapping, at: int, size: int) -> None:
    """Give memory to a place in the store. Raise OSError."""

def release(mapping: Mapping, at: int, size: int) -> None:
    """Take it away; it is zero from then on."""

def information(mapping: Mapping, at: int) -> dict[str, int] | None:
    """Return what is known of a reference, None while it is being built: image_at, image_size, version, next_version, entries, used, capacity, base, gone,
    logged, log_size, appended, torn, changes, refused, heap_free, heap_room
    (of what was free at the beginning), flags."""

def uses(mapping: Mapping, at: int) -> list[Use]: ...
def rows(mapping: Mapping, at: int, version: int) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yield (serial, key, value) of the live entries of a version, in their order, as they are in the present image."""

def find(mapping: Mapping, at: int, use: int, text: bytes) -> tuple[bytes, bytes | None] | None:
    """Look a text up as a string sample; return key and value of the entry, None: there is none."""

def set_entry(mapping: Mapping, at: int, key: bytes, value: bytes | None) -> int:
    """As the actions set-map and, without a value, add-acl."""

def delete_entry(mapping: Mapping, at: int, key: bytes) -> int: ...
def append_entry(mapping: Mapping, at: int, key: bytes, value: bytes | None, version: int) -> int: ...
def has_key(mapping: Mapping, at: int, key: bytes) -> bool: ...
def set_serial(mapping: Mapping, at: int, serial: int, value: bytes) -> int: ...
def delete_serial(mapping: Mapping, at: int, serial: int) -> int: ...
def prepare(mapping: Mapping, at: int) -> int:
    """Return the number of a new version."""

def fold_room(mapping: Mapping, at: int, version: int, keeps: bool, slack: int) -> tuple[int, int, int, int]:
    """Return bytes, capacity, base and heap that a fold to this version needs, with room for `slack` more entries."""

def fold(
    mapping: Mapping, at: int, image_at: int, version: int, keeps: bool, capacity: int, base: int, heap: int
) -> int:
    """Make the next image; without the interpreter's lock. REFERENCE_DONE, _FULL: it is as before, _LOST."""

def lookup_ns(mapping: Mapping, at: int, use: int, texts: Sequence[bytes], times: int) -> float:
    """Return nanoseconds of one lookup of each of these in turn; for addresses, of them in binary."""
