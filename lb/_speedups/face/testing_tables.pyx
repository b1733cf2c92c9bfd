"""Stick tables seen from inside, for tests: everything derived can be spoiled, rebuilt and checked."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.table cimport (
    ENTRY_USED, TABLE_ENTRY_BITS, table_at, table_entry, table_entry_t, table_leave, table_rebuild_locked, table_shard,
    table_shard_t, table_t, table_take,
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
        s.stamps = s.used = s.free = s.queued = 0xdddddddd
        memset(<char *> t + t.index_at + shard * t.places * 4, 0xdd, t.places * 4)
        memset(<char *> t + t.queue_at + shard * t.shard_size * 8, 0xdd, t.shard_size * 8)
        for i in range(s.fresh):
            e = table_entry(t, shard, i)
            e.refs = 0xdddddddd
            e.queued = 0xdd
        table_rebuild_locked(mapping.m, t, shard)
        table_leave(t, shard)


def wind(Mapping mapping, uint64_t at, uint32_t stamps):
    """Let so many touches have been: their number comes to its end, and entries are numbered anew."""
    cdef table_t *t = table_at(mapping.m, at)
    cdef uint32_t shard
    for shard in range(t.shards):
        assert table_take(mapping.m, t, shard) == 0
        table_shard(t, shard).stamps = max(stamps, table_shard(t, shard).stamps)
        table_leave(t, shard)


def check(Mapping mapping, uint64_t at):
    """Raise AssertionError unless index, free list and queue agree with the entries."""
    cdef table_t *t = table_at(mapping.m, at)
    cdef table_shard_t *s
    cdef table_entry_t *e
    cdef uint32_t shard, i, link, place
    cdef uint32_t *places
    cdef uint64_t *queue
    for shard in range(t.shards):
        assert table_take(mapping.m, t, shard) == 0
        try:
            s = table_shard(t, shard)
            assert s.fresh <= t.shard_size
            used = {i for i in range(t.shard_size) if table_entry(t, shard, i).state == ENTRY_USED}
            assert not used or max(used) < s.fresh
            assert s.used == len(used)
            indexed = []
            places = <uint32_t *> (<char *> t + t.index_at + shard * t.places * 4)
            for place in range(t.places):
                if places[place] == 0:
                    continue
                i = (places[place] & ((1 << TABLE_ENTRY_BITS) - 1)) - 1
                indexed.append(i)
                e = table_entry(t, shard, i)
                assert places[place] >> TABLE_ENTRY_BITS == e.hash & (0xffffffff >> TABLE_ENTRY_BITS), "another entry's tag"
                link = e.hash & (t.places - 1)
                while link != place:
                    assert places[link] != 0, "a search would not find it"
                    link = (link + 1) & (t.places - 1)
            assert sorted(indexed) == sorted(used), (indexed, used)
            free = []
            link = s.free
            while link:
                free.append(link - 1)
                assert len(free) <= t.shard_size
                link = table_entry(t, shard, link - 1).refs
            assert sorted(free) == sorted(set(range(s.fresh)) - used)
            queue = <uint64_t *> (<char *> t + t.queue_at + shard * t.shard_size * 8)
            queued = [(queue[i] >> 32, queue[i] & 0xffffffff) for i in range(s.queued)]
            assert all(queued[(n - 1) // 2] <= queued[n] for n in range(1, len(queued))), "the queue is no heap"
            for stamp, number in queued:
                e = table_entry(t, shard, <uint32_t> number)
                assert e.queued == 1
                assert e.state != ENTRY_USED or stamp <= e.stamp <= s.stamps
            numbers = sorted(number for _, number in queued)
            assert numbers == [i for i in range(s.fresh) if table_entry(t, shard, i).queued]
            assert set(numbers) >= {i for i in used if table_entry(t, shard, <uint32_t> i).refs == 0}
        finally:
            table_leave(t, shard)
