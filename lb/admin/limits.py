"""`show limits`: rate limits and what they have done, as JSON."""

from __future__ import annotations

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.tables import table_information
from lb.supervisor.generation import Generation


def shown(mapping: Mapping, generation: Generation) -> list[dict[str, object]]:
    """Return a limit each, in the order of the file."""
    found: list[dict[str, object]] = []
    for limit in generation.part.limits:
        counters = mapping.counters(generation.oid(limit.object))
        table = table_information(mapping, generation.tables[limit.table].offset)
        found.append(
            {
                "name": limit.name,
                "rate": limit.rate,
                "burst": limit.burst,
                "by": limit.by,
                "mode": limit.mode,
                "used_by": limit.used_by,
                "passed": counters["req_total"],
                "refused": counters["denied_req"],
                "would_refuse": counters["intercepted"],
                "without_key": counters["err_req"],
                "keys": table["used"],
                "size": table["size"],
                "evicted": table["evicted"],
            }
        )
    return found
