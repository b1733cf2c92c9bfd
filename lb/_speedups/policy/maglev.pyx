from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lb._speedups.policy.hash cimport hash_mix


cdef enum:
    EMPTY = 0xffffffff


ctypedef struct walker_t:        # a member on its way through the table
    uint32_t at                  # the place it looks at next
    uint32_t skip                # how far it then goes
    uint32_t credit              # weight that has not bought a place yet


cdef int maglev_fill(
    uint32_t *table, const uint32_t *weights, const uint64_t *identities, uint32_t n
) noexcept nogil:
    cdef walker_t *walkers
    cdef walker_t *w
    cdef uint32_t i, heaviest = 0, left = MAGLEV_SIZE
    for i in range(n):
        heaviest = max(heaviest, weights[i])
    if heaviest == 0:
        return 0
    walkers = <walker_t *> calloc(n, sizeof(walker_t))
    if walkers == NULL:
        return -1
    for i in range(n):
        walkers[i].at = <uint32_t> (hash_mix(identities[i]) % MAGLEV_SIZE)
        walkers[i].skip = <uint32_t> (hash_mix(~identities[i]) % (MAGLEV_SIZE - 1)) + 1
    for i in range(MAGLEV_SIZE):
        table[i] = EMPTY
    i = 0
    while left > 0:
        w = &walkers[i]
        # In each round the heaviest takes a place, others as often as their share of its weight says.
        w.credit += weights[i]
        if w.credit >= heaviest:
            w.credit -= heaviest
            while table[w.at] != EMPTY:
                w.at = (w.at + w.skip) % MAGLEV_SIZE
            table[w.at] = i
            left -= 1
        i = i + 1 if i + 1 < n else 0
    free(walkers)
    return 1
