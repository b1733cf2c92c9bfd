from collections.abc import Sequence
from typing import Literal, NamedTuple, TypedDict

from lb._speedups.face.mapping import Mapping

class Syslog(NamedTuple):
    """A target that gets messages."""

    to: str
    """`udp:ADDRESS:PORT`, `tcp:ADDRESS:PORT` (IPv6 in brackets), `unix:PATH` or `journald:PATH`."""
    form: Literal["local", "rfc3164", "rfc5424", "journald"]
    priority: int
    """8 * facility + severity of access records."""
    tag: str
    """Who sends it: at most 48 printable ASCII characters."""

class TargetStats(TypedDict):
    to: str
    records: int
    """Put into its buffer."""
    bytes: int
    """Written."""
    dropped: int
    """Records it did not take."""
    error: str
    """What the last write or connection failed with; empty = it went well, or the target is only full."""
    reopen_error: str
    """What the last reopening failed with; the old file is still in use then."""

class DrainStats(TypedDict):
    records: int
    """Read from the rings."""
    refused: int
    """Records that full rings did not take."""
    broken: int
    """Times a ring made no sense and was skipped."""
    unknown: int
    """Records with the number of no target."""
    dropped: int
    """Records that targets did not take, those of removed targets included."""
    lost_messages: int
    """Messages of lb itself that were dropped, because the thread hung."""
    passes: int
    """Times the thread walked over all rings."""
    targets: list[TargetStats]
    messages: list[TargetStats]
    """Targets of lb's own lines that are none of `targets`."""

ON_STDERR: tuple[tuple[str, int], ...]
"""Where lb's own lines go if nothing else is said."""

class LogDrain:
    """The log thread: it carries records from the rings of all workers to the log targets.

    A target is `stdout`, `stderr`, the path of a file, which is appended to and made with mode 0640, or a `Syslog`, which
    need not be there yet. Its number, which a record names, is its place in the list; the same target may have several
    numbers. Use it from one thread.

    `messages` are the targets of lb's own lines, each with the least grave severity that goes there.
    """

    def __init__(
        self, mapping: Mapping, targets: Sequence[str | Syslog], messages: Sequence[tuple[str | Syslog, int]] = ...
    ) -> None:
        """Open the targets and start the thread, which uses the mapping until stop().

        Raises OSError with the target's name, ValueError for an address that is none.
        """

    def set_targets(
        self,
        targets: Sequence[str | Syslog],
        messages: Sequence[tuple[str | Syslog, int]] = ...,
        *,
        timeout_s: float = 1.0,
    ) -> None:
        """Use other targets from now on; what is in the rings still goes to the old ones.

        A target that stays keeps its open file or connection. Raises OSError, and then nothing has changed, or TimeoutError, and then
        the change comes later.
        """

    def reopen(self, *, timeout_s: float = 1.0) -> list[OSError]:
        """Close and open every file again, after its log was moved away. Nothing is lost or written twice.

        Returns an error for each file that could not be opened; the old one is used further. Raises TimeoutError.
        """

    def flush(self, *, timeout_s: float = 1.0) -> None:
        """Wait until what is in the rings now was given to the targets. Raises TimeoutError."""

    def write(self, text: str, level: int = 6) -> None:
        """Write lines of lb itself to their targets, without waiting for it.

        `level` is a syslog severity. Where stderr is journald's, it gets it in front of each line.
        """

    def stop(self, flush_timeout_s: float = 1.0) -> bool:
        """Write what is left, end the thread and close the files; False if something could not be written in time."""

    def dropped(self, number: int) -> int:
        """Return how many records target `number` did not take."""

    def stats(self) -> DrainStats: ...
