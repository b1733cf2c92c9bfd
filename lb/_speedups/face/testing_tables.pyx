"""Stick tables seen from inside, for tests: everything derived can be spoiled, rebuilt and checked."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.table cimport (
    ENTRY_USED, table_at, table_entry, table_entry_t, table_leave, table_rebuild_locked, table_shard, table_shard_t, table_t,
    table_take,
)


def spoil(Mapping mapping, uint64_t at):
    """Overwrite all that is derived, then make it anew, as after a death."""
    cdef table_t *t = table_at(mapping.m, at)
    cdef table_shard_t *s
    cdef table_entry_t *e
    cdef uint32_t shard, i
    for shard in range(t.shards):
        assert table_take(mapping.m, t, shard) == 0
        s = table_shard(t, shard)
        s.stamps = 0xdddddddd
        s.used = s.free = s.oldest = s.newest = 0xdddddddd
        memset(<char *> t + t.buckets_at + shard * t.buckets * 4, 0xdd, t.buckets * 4)
        for i in range(t.shard_size):
            e = table_entry(t, shard, i)
            e.refs = e.chain = e.older = e.newer = 0xdddddddd
        table_rebuild_locked(mapping.m, t, shard)
        table_leave(t, shard)


def check(Mapping mapping, uint64_t at):
    """Raise AssertionError unless chains, free list and age agree with the entries."""
    cdef table_t *t = table_at(mapping.m, at)
    cdef table_shard_t *s
    cdef table_entry_t *e
    cdef uint32_t shard, i, link
    cdef uint32_t *buckets
    cdef uint64_t stamp
    for shard in range(t.shards):
        assert table_take(mapping.m, t, shard) == 0
        s = table_shard(t, shard)
        used = {i for i in range(t.shard_size) if table_entry(t, shard, i).state == ENTRY_USED}
        chained = []
        buckets = <uint32_t *> (<char *> t + t.buckets_at + shard * t.buckets * 4)
        for i in range(t.buckets):
            link = buckets[i]
            while link:
                e = table_entry(t, shard, link - 1)
                assert e.hash & (t.buckets - 1) == i, "an entry stands in another chain"
                chained.append(link - 1)
                assert len(chained) <= t.shard_size
                link = e.chain
        assert sorted(chained) == sorted(used), (chained, used)
        free = []
        link = s.free
        while link:
            free.append(link - 1)
            assert len(free) <= t.shard_size
            link = table_entry(t, shard, link - 1).chain
        assert sorted(free) == sorted(set(range(t.shard_size)) - used)
        assert s.used == len(used)
        aged = []
        last = 0
        link = s.oldest
        stamp = 0
        while link:
            e = table_entry(t, shard, link - 1)
            assert e.older == last, "the age list is no list"
            assert e.stamp > stamp, "an older one stands behind a younger one"
            stamp = e.stamp
            aged.append(link - 1)
            last = link
            assert len(aged) <= t.shard_size
            link = e.newer
        assert s.newest == last
        assert sorted(aged) == sorted(i for i in used if table_entry(t, shard, <uint32_t> i).refs == 0)
        table_leave(t, shard)
