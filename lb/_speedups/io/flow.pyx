from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from lb._speedups.base.pool cimport pool_give, pool_take, pool_t
from lb._speedups.io.conn cimport (
    CONN_AGAIN, CONN_CLOSED, CONN_EOF, CONN_READABLE, CONN_WRITABLE, LOOP_SIDE_BYTES, conn_plain,
    conn_recv, conn_send, conn_shut, conn_t,
)
from lb._speedups.io.sys cimport (
    EAGAIN, EINTR, EINVAL, O_CLOEXEC, O_NONBLOCK, SPLICE_F_MOVE, SPLICE_F_NONBLOCK, close, errno, iovec, pipe2, splice,
)

cdef enum:
    STEP_GO = 1                  # a half step moved something, or may try again at once
    STEP_STOP = 0                # nothing more for now
    PIPES_IDLE = 64              # empty pipes kept open


cdef void flow_pool_init(flow_pool_t *p, pool_t *buffers) noexcept nogil:
    p.buffers = buffers
    p.free = NULL
    p.open = 0
    p.idle = 0
    p.spliced = 0


cdef void flow_pool_free(flow_pool_t *p) noexcept nogil:
    cdef flow_pipe_t *pipe
    while p.free != NULL:
        pipe = p.free
        p.free = pipe.next
        p.idle -= 1
        pipe_end(p, pipe)


cdef void pipe_end(flow_pool_t *p, flow_pipe_t *pipe) noexcept nogil:
    close(pipe.fds[0])
    close(pipe.fds[1])
    free(pipe)
    p.open -= 1


cdef flow_pipe_t *pipe_take(flow_pool_t *p) noexcept nogil:
    cdef flow_pipe_t *pipe = p.free
    if pipe != NULL:
        p.free = pipe.next
        p.idle -= 1
        return pipe
    if p.open >= FLOW_PIPES:
        return NULL
    pipe = <flow_pipe_t *> calloc(1, sizeof(flow_pipe_t))
    if pipe == NULL:
        return NULL
    if pipe2(pipe.fds, O_NONBLOCK | O_CLOEXEC) != 0:
        free(pipe)
        return NULL
    p.open += 1
    return pipe


cdef void pipe_give(flow_pool_t *p, flow_pipe_t *pipe) noexcept nogil:
    # A pipe with bytes of a broken flow must not reach another stream.
    if pipe.held != 0 or p.idle >= PIPES_IDLE:
        pipe_end(p, pipe)
        return
    pipe.next = p.free
    p.free = pipe
    p.idle += 1


cdef void flow_init(flow_t *f, conn_t *src, conn_t *dst, flow_pool_t *pool, uint64_t limit, uint8_t flags) noexcept nogil:
    f.src = src
    f.dst = dst
    f.pool = pool
    f.buffer = NULL
    f.pipe = NULL
    f.at = 0
    f.end = 0
    f.limit = limit
    f.moved = 0
    f.flags = flags
    f.full = 0


cdef int flow_preload(flow_t *f, const char *bytes, uint32_t n) noexcept nogil:
    if n == 0:
        return 0
    f.buffer = <char *> pool_take(f.pool.buffers)
    if f.buffer == NULL:
        return -1
    memcpy(f.buffer, bytes, n)
    f.at = 0
    f.end = n
    return 0


cdef void flow_free(flow_t *f) noexcept nogil:
    if f.buffer != NULL:
        pool_give(f.pool.buffers, f.buffer)
        f.buffer = NULL
    if f.pipe != NULL:
        pipe_give(f.pool, f.pipe)
        f.pipe = NULL
    f.at = 0
    f.end = 0


cdef inline void buffer_done(flow_t *f) noexcept nogil:
    pool_give(f.pool.buffers, f.buffer)
    f.buffer = NULL
    f.at = 0
    f.end = 0


# Write held bytes. STEP_GO when all went, STEP_STOP when the receiver is full, FLOW_WRITE_ERROR.
cdef int flow_write(flow_t *f) noexcept nogil:
    cdef iovec piece
    cdef ssize_t n
    if f.pipe != NULL:
        while f.pipe.held:
            if not (f.dst.flags & CONN_WRITABLE):
                return STEP_STOP
            n = splice(f.pipe.fds[0], NULL, f.dst.fd, NULL, f.pipe.held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
            if n > 0:
                f.pipe.held -= <uint32_t> n
                f.moved += <uint64_t> n
                f.pool.spliced += <uint64_t> n
            elif n < 0 and errno == EINTR:
                continue
            elif n < 0 and errno == EAGAIN:
                f.dst.flags &= ~<uint32_t> CONN_WRITABLE
                return STEP_STOP
            else:
                f.dst.error = errno
                return FLOW_WRITE_ERROR
        return STEP_GO
    while f.at < f.end:
        if not (f.dst.flags & CONN_WRITABLE):
            return STEP_STOP
        piece.iov_base = f.buffer + f.at
        piece.iov_len = f.end - f.at
        n = conn_send(f.dst, &piece, 1)
        if n >= 0:
            f.at += <uint32_t> n
            f.moved += <uint64_t> n
        elif n == CONN_AGAIN:
            return STEP_STOP
        else:
            return FLOW_WRITE_ERROR
    if f.buffer != NULL:
        buffer_done(f)
    return STEP_GO


# Read into the empty pipe. STEP_GO with bytes, STEP_STOP without, or an error.
cdef int flow_read_pipe(flow_t *f) noexcept nogil:
    cdef ssize_t n
    cdef size_t most = FLOW_PIPE
    if f.limit < most:
        most = <size_t> f.limit
    while True:
        n = splice(f.src.fd, NULL, f.pipe.fds[1], NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
        if n > 0:
            f.pipe.held += <uint32_t> n
            if f.limit != <uint64_t> -1:
                f.limit -= <uint64_t> n
            return STEP_GO
        if n == 0:
            f.src.flags = (f.src.flags | CONN_EOF) & ~<uint32_t> CONN_READABLE
            f.flags |= FLOW_EOF
            return STEP_STOP
        if errno == EINTR:
            continue
        if errno == EAGAIN:
            f.src.flags &= ~<uint32_t> CONN_READABLE
            f.full = 0
            return STEP_STOP
        if errno == EINVAL:                   # not a descriptor that splices
            f.flags |= FLOW_NO_SPLICE
            return STEP_GO
        f.src.error = errno
        return FLOW_READ_ERROR


cdef int flow_read(flow_t *f) noexcept nogil:
    cdef ssize_t n
    cdef size_t most = FLOW_BUFFER
    if f.full >= FLOW_BULK and not (f.flags & FLOW_NO_SPLICE) and f.limit >= FLOW_BUFFER:
        if f.pipe == NULL and conn_plain(f.src) and conn_plain(f.dst):
            f.pipe = pipe_take(f.pool)
        if f.pipe != NULL:
            return flow_read_pipe(f)
    if f.pipe != NULL:                        # empty here: what is read now goes to the buffer, and from there
        pipe_give(f.pool, f.pipe)
        f.pipe = NULL
    f.buffer = <char *> pool_take(f.pool.buffers)
    if f.buffer == NULL:
        return FLOW_MEMORY
    if f.limit < most:
        most = <size_t> f.limit
    n = conn_recv(f.src, f.buffer, most)
    if n > 0:
        f.at = 0
        f.end = <uint32_t> n
        if f.limit != <uint64_t> -1:
            f.limit -= <uint64_t> n
        if n == FLOW_BUFFER:
            if f.full < 255:
                f.full += 1
        else:
            f.full = 0
        return STEP_GO
    buffer_done(f)
    if n == CONN_CLOSED:
        f.flags |= FLOW_EOF
        return STEP_STOP
    if n == CONN_AGAIN:
        return STEP_STOP
    return FLOW_READ_ERROR


cdef int flow_run(flow_t *f) noexcept nogil:
    cdef uint64_t start = f.moved
    cdef uint64_t budget
    cdef int r
    while True:
        r = flow_write(f)
        if r < 0:
            return r
        if r == STEP_STOP:
            return FLOW_WAIT
        if f.pipe != NULL and f.pipe.held == 0 and (f.full < FLOW_BULK or f.flags & (FLOW_EOF | FLOW_NO_SPLICE)):
            pipe_give(f.pool, f.pipe)         # empty: an idle flow holds nothing
            f.pipe = NULL
        if f.flags & FLOW_EOF:
            if not (f.flags & (FLOW_SHUT | FLOW_KEEP_OPEN)):
                f.flags |= FLOW_SHUT
                conn_shut(f.dst)
            return FLOW_DONE
        if f.limit == 0:
            return FLOW_DONE
        budget = LOOP_SIDE_BYTES if f.pipe == NULL else 4 * LOOP_SIDE_BYTES
        if f.moved - start >= budget:
            return FLOW_MORE
        if not (f.src.flags & CONN_READABLE):
            return FLOW_WAIT
        r = flow_read(f)
        if r < 0:
            return r
        if r == STEP_STOP and not (f.flags & FLOW_EOF):
            if f.pipe != NULL and f.pipe.held == 0:
                pipe_give(f.pool, f.pipe)
                f.pipe = NULL
            return FLOW_WAIT
