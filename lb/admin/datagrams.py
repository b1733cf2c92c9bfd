"""`show udp`: what is counted of datagrams, which HAProxy's columns have no place for."""

from __future__ import annotations

from lb._speedups.face.mapping import Mapping
from lb.supervisor.generation import Generation


def shown(mapping: Mapping, generation: Generation) -> dict[str, list[dict[str, object]]]:
    """Return the counters of all frontends and backends of mode udp."""

    def counters(index: int) -> dict[str, object]:
        c = mapping.counters(generation.oid(index))
        return {
            "sessions": c["cur"],
            "datagrams_in": c["datagrams_in"],
            "datagrams_out": c["datagrams_out"],
            "datagrams_dropped": c["datagrams_dropped"],
            "bytes_in": c["bytes_in"],
            "bytes_out": c["bytes_out"],
        }

    def frontend(index: int) -> dict[str, object]:
        c = mapping.counters(generation.oid(index))
        return {"sessions_total": c["conn_total"], "evicted": c["sess_evicted"], **counters(index)}

    def target(index: int) -> dict[str, object]:
        c = mapping.counters(generation.oid(index))
        return {"sessions_total": c["sess_total"], "refused": c["err_conn"], **counters(index)}

    part = generation.part
    return {
        "frontends": [{"name": each.name, **frontend(each.object)} for each in part.frontends if each.mode == "udp"],
        "backends": [
            {
                "name": each.name,
                **target(each.object),
                "servers": [{"name": server.name, **target(server.object)} for server in each.servers],
            }
            for each in part.backends
            if each.mode == "udp"
        ],
    }
