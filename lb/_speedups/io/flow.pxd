# Flows: bytes from one connection to another, unseen.
#
# A flow is one direction of a TCP relay, of a tunnel, or of a large plain HTTP body: read, write at once, hold at most one
# buffer (or one pipe) when the receiver is slower: that is the back-pressure. The sender's FIN is passed on after the
# last byte. A flow that keeps filling whole buffers goes over to splice(2) through a pooled pipe, so that bulk never
# enters user memory; pipes are capped, without one it stays with its buffer.
#
# Ownership. Buffer and pipe are taken when bytes arrive and given back when empty.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from lb._speedups.base.pool cimport pool_t
from lb._speedups.io.conn cimport conn_t

cdef enum:
    FLOW_BUFFER = 16384          # bytes of a buffer
    FLOW_PIPE = 65536            # bytes asked from splice at once: what a default pipe holds
    FLOW_PIPES = 256             # pipes one worker opens at most
    FLOW_BULK = 2                # full buffers in a row that make a flow bulk

cdef enum:                       # answers of flow_run
    FLOW_WAIT = 0                # waits for an event of either connection
    FLOW_DONE = 1                # limit reached, or the sender's end passed on, nothing held
    FLOW_MORE = 2                # budget of this wake is spent: call again in the next pass
    FLOW_READ_ERROR = -1         # the sender's connection failed
    FLOW_WRITE_ERROR = -2        # the receiver's did
    FLOW_MEMORY = -3             # no buffer to be had

cdef enum:                       # flow_t.flags
    FLOW_EOF = 1 << 0            # the sender has ended
    FLOW_SHUT = 1 << 1           # and that was passed on
    FLOW_KEEP_OPEN = 1 << 2      # do not pass the end on by shutting down (the owner frames it)
    FLOW_NO_SPLICE = 1 << 3

ctypedef struct flow_pipe_t:
    int fds[2]                   # read end, write end
    uint32_t held                # bytes inside
    flow_pipe_t *next            # free list

ctypedef struct flow_pool_t:     # what the flows of a worker share
    pool_t *buffers              # of FLOW_BUFFER bytes, the worker's buffer pool
    flow_pipe_t *free
    uint32_t open                # pipes open
    uint32_t idle                # of these, on the free list
    uint64_t spliced             # bytes moved through pipes

ctypedef struct flow_t:
    conn_t *src
    conn_t *dst
    flow_pool_t *pool
    char *buffer                 # NULL = none held
    flow_pipe_t *pipe            # NULL = none held
    uint32_t at                  # held bytes: buffer[at:end]
    uint32_t end
    uint64_t limit               # bytes still to take from src, ~0 = until its end
    uint64_t moved               # bytes written to dst
    uint8_t flags                # FLOW_*
    uint8_t full                 # full buffers read in a row
    uint16_t pad
    uint32_t pad1

cdef void flow_init(flow_t *f, conn_t *src, conn_t *dst, flow_pool_t *pool, uint64_t limit, uint8_t flags) noexcept nogil

# Hand it bytes that were already read (at most FLOW_BUFFER): they go first. 0, or -1 without memory.
cdef int flow_preload(flow_t *f, const char *bytes, uint32_t n) noexcept nogil

# Move what can be moved, at most LOOP_SIDE_BYTES (four times that through a pipe). `moved` tells the progress.
cdef int flow_run(flow_t *f) noexcept nogil

# Bytes read and not yet written.
cdef inline uint32_t flow_held(const flow_t *f) noexcept nogil:
    return f.pipe.held if f.pipe != NULL else f.end - f.at

# Give back buffer and pipe; what they held is lost.
cdef void flow_free(flow_t *f) noexcept nogil

cdef void flow_pool_init(flow_pool_t *p, pool_t *buffers) noexcept nogil
cdef void flow_pool_free(flow_pool_t *p) noexcept nogil
