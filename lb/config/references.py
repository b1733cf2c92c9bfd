"""From the references of the rules to what the supervisor keeps, and to their first images in the store."""

from typing import TYPE_CHECKING

from lb.config.part import ReferencePart
from lb.language.reference import Files, Reference

if TYPE_CHECKING:
    from lb._speedups.face.mapping import Mapping

RULES_SLACK = 16_384  # entries that rules may add before the supervisor has made more room
ADMIN_SLACK = 512  # the same of a file that no rule changes: the supervisor makes room before it adds
RULES_MAX = 1 << 20  # entries that rules may fill a file to, or twice what it had


def reference_parts(files: Files) -> tuple[ReferencePart, ...]:
    """Return what the supervisor knows of the references; those that ask for no number get the next free ones."""
    taken = {each.identity for each in files.found}
    free = (number for number in range(len(files.found) + len(taken)) if number not in taken)
    parts: list[ReferencePart] = []
    for each in files.found:
        assert each.entries is not None  # or Files.finish has told
        parts.append(
            ReferencePart(
                each.name,
                next(free) if each.identity is None else each.identity,
                "map" in each.users or bool(each.flags & 1),
                ", ".join(sorted(each.users, reverse=True)),
                each.entries.size(each.flags, len(each.uses), slack(each)),
            )
        )
    return tuple(parts)


def slack(reference: Reference) -> int:
    """Return for how many more entries a reference begins with room."""
    entries = 0 if reference.entries is None else len(reference.entries)
    return max(RULES_SLACK, entries // 4) if reference.changes else max(ADMIN_SLACK, entries // 16)


def build(reference: Reference, mapping: "Mapping", generation: int, place: int) -> None:
    """Write a reference to its reserved place in the store. Raise MemoryError."""
    assert reference.entries is not None
    reference.entries.build(
        mapping,
        place,
        reference.flags,
        reference.uses,
        slack(reference),
        max(RULES_MAX, 2 * len(reference.entries)),
        generation,
    )
