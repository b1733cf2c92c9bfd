from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free


cdef uint32_t slots_divisor(const uint32_t *weights, uint32_t n) noexcept nogil:
    cdef uint32_t divisor = 0, i, a, b
    for i in range(n):
        a = weights[i]
        b = divisor
        while b != 0:
            a, b = b, a % b
        divisor = a
    return divisor if divisor != 0 else 1


cdef long slots_fill(uint32_t *slots, const uint32_t *weights, uint32_t n, uint32_t divisor) noexcept nogil:
    cdef int64_t *scores
    cdef int64_t total = 0, most
    cdef long at
    cdef uint32_t i, best
    cdef int level, found
    for i in range(n):
        total += weights[i] // divisor
    if total == 0:
        return 0
    scores = <int64_t *> calloc(n, sizeof(int64_t))
    if scores == NULL:
        return -1
    for at in range(total):
        best = n
        found = -1
        most = 0
        for i in range(n):
            if weights[i] == 0:
                continue
            scores[i] += weights[i] // divisor
            if best != n and scores[i] < most:
                continue
            # (score + total) / total is 0, 1, 2 or 3: the first of the highest level is next.
            level = (scores[i] >= 0) + (scores[i] >= total) + (scores[i] >= 2 * total)
            if level > found:
                found = level
                best = i
                most = level * total          # what the next level begins with
        slots[at] = best
        scores[best] -= total
    free(scores)
    return <long> total
