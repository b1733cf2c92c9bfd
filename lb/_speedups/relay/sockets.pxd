# What rules ask of a stream's connections: addresses of their sockets, what their PROXY headers brought, what the kernel measures.
# Nothing of it is looked at unless a rule asks, because most of it costs a system call.
from libc.stdint cimport int64_t
from lb._speedups.policy.logline cimport log_end_t
from lb._speedups.policy.sample cimport sample_t
from lb._speedups.relay.relay cimport link_t

# The view's `ask` (policy/sample.pxd): `stream` is a stream_t.
cdef int sockets_ask(void *stream, unsigned int code, int64_t n, sample_t *s) noexcept nogil

# Where the client connected to: as its PROXY header says, or its socket.
cdef void sockets_target(const link_t *l, log_end_t *out) noexcept nogil

# The address of a socket or, with `peer`, of its other end; a v4 one of a v6 socket is a v4 one. Family 0: it has none.
cdef void sockets_name(int fd, bint peer, log_end_t *out) noexcept nogil
