# Rate limits: so many requests of a key in a period, by GCRA, exact over all workers.
#
# A key's state is one time, its arrival (STORE_ARRIVAL): when it will owe nothing any more. A request owes one interval
# (period / count). It passes if the key then owes no more than `burst` intervals, and moves the arrival by one; a refused
# request moves nothing. So of a key pass at most burst + elapsed / interval requests in any time, and a key that asks for
# more gets just that. The time is compared and moved under the lock of the key's shard; it is the time of the worker's
# step, so workers may differ by one, and the later one's arrival holds.
#
# Where it is kept. A limit has a stick table of its own, called `limit:` and its name: keys are IPv6 addresses (IPv4 ones
# mapped), or strings. A string longer than the key is cut and ends in `~` and its hash under the mapping's secret; a request
# without a key has that of the client's address, behind a NUL, which no header holds. An entry lives as long as its key may
# owe something, so to forget it changes nothing, unless a full table evicts it before.
#
# Several limits (limits_take) hold together: their locks are taken in the order of the tables' places, all are asked, then
# all are moved or none is. One in shadow mode refuses nothing: where it would, it alone is not moved.
#
# Counters of a limit are rows of its object: req_total passed, denied_req refused, intercepted would have been refused
# (shadow), err_req had no key of their own, internal_errors were not counted (the table's lock was lost).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from lb._speedups.policy.plan cimport limit_list_t, plan_t, text_t
from lb._speedups.policy.sample cimport eval_t

cdef enum:
    LIMITS_MAX = 8               # of a list; a route's and its backend's are asked together
    LIMIT_KEY = 64               # bytes of a string key
    LIMIT_FIELD_MAX = 160        # bytes of a field's value, at most
    LIMIT_BURST_MAX = 10000000   # requests at once

cdef enum:                       # object_t.kind, behind those of base/mapping.pxd
    OBJECT_LIMIT = 6

cdef enum:                       # plan_limit_t.flags
    LIMIT_SHADOW = 1 << 0        # count and log what it would refuse, refuse nothing
    LIMIT_STANDARD = 1 << 1      # answers have RateLimit and RateLimit-Policy
    LIMIT_LEGACY = 1 << 2        # and X-RateLimit-Limit, -Remaining, -Reset

ctypedef struct plan_limit_t:    # at plan_t.limits_at
    text_t name
    text_t policy                # its member of RateLimit-Policy: `"api";q=100;w=60`
    uint64_t table_at            # place of its stick table in the mapping
    uint64_t interval_ns         # what a request owes
    uint32_t oid                 # whose rows count
    uint32_t burst               # requests that may come at once
    uint32_t quota               # of the policy: requests
    uint32_t window_s            # in this time
    uint32_t expr                # index of the key's expression
    uint16_t flags               # LIMIT_*
    uint16_t pad

ctypedef struct limit_verdict_t:  # zero = nothing was asked
    uint32_t shown               # index + 1 of the limit that answers tell of: that which refused, else the one with least left
    uint32_t left                # requests that it would let pass now
    uint32_t wait_s              # until it lets one more pass; of a refusal at least 1
    uint32_t shadow              # index + 1 of the first one in shadow mode that would have refused, 0 = none
    uint8_t refused
    uint8_t pad[3]

cdef inline const plan_limit_t *plan_limit(const plan_t *p, uint32_t i) noexcept nogil:
    return (<const plan_limit_t *> (<const char *> p + p.limits_at)) + i

# Ask the limits of two lists (either may be empty) for the request of the view; what they say goes into `out`, beside what
# limits before them said. True: it is refused, and none of them counts it.
cdef bint limits_take(eval_t *c, limit_list_t first, limit_list_t second, limit_verdict_t *out) noexcept nogil
