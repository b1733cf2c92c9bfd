# Hash keys: the bytes of a stream by which a backend finds its server, and their hash.
#
# What is looked for is in plan_key_t. Which bytes are taken follows HAProxy's
# backend.c to the byte: a list of values ends at a comma outside quotes, white space around a value does not
# count, a target is hashed up to `?`. A key that is not there (no such field, no such cookie, a client on a unix socket)
# is none, and members take turns.
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from lb._speedups.policy.plan cimport plan_key_t, plan_t
from lb._speedups.proto.message cimport message_t

# Whether the stream has the key that `key` asks for; *hash is then its hash. `m` is NULL outside HTTP; `address` is
# the client's, 4 or 16 bytes in network order by `family`.
cdef bint hashkey_find(
    const plan_t *p, const plan_key_t *key, const message_t *m, uint16_t family, const uint8_t *address,
    uint32_t *hash
) noexcept nogil

# The last cookie of this name: its value in *value and *len, or False.
cdef bint hashkey_cookie(
    const message_t *m, const char *name, size_t n, const char **value, size_t *len
) noexcept nogil
