from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, mmap, munmap
from posix.stat cimport fstat, struct_stat
from lb._speedups.base.clock cimport clock_init, clock_mono_ms
from lb._speedups.base.logring cimport logring_adopt
from lb._speedups.base.mapping cimport (
    MAPPING_OBJECTS, MAPPING_RING, mapping_counters, mapping_ring, mapping_t, mapping_worker,
)
from lb._speedups.base.password cimport password_collect, password_waiter_t, passwords_free, passwords_init
from lb._speedups.base.pool cimport pool_drain, pool_init
from lb._speedups.base.timers cimport timers_init, timers_next, timers_run
from lb._speedups.io.conn cimport loop_arm, loop_busy, loop_free, loop_init, loop_step
from lb._speedups.io.flow cimport flow_pool_free, flow_pool_init
from lb._speedups.io.sys cimport (
    F_DUPFD_CLOEXEC, F_GETFL, F_SETFL, IPPROTO_TCP, O_NONBLOCK, RLIMIT_NOFILE, SOL_SOCKET, SO_KEEPALIVE, SO_REUSEPORT,
    SO_TYPE, SOCK_DGRAM,
    TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_NODELAY, close, fcntl, getrandom, getrlimit, getsockopt, rlimit,
    setsockopt, socklen_t,
)
from lb._speedups.policy.logline cimport logline_init
from lb._speedups.policy.crypto cimport crypto_free
from lb._speedups.policy.plan cimport (
    FRONTEND_KEEPALIVE, PLAN_UNLIMITED, plan_check, plan_frontend, plan_frontend_t, plan_listener, plan_server, plan_t,
)
from lb._speedups.policy.program cimport PROGRAM_RATES, program_of
from lb._speedups.policy.regex cimport regex_shelf_free, regex_shelf_init
from lb._speedups.policy.regexes cimport (
    REGEXES_MEMORY, REGEXES_READY, REGEXES_WRONG, regexes_compile, regexes_free, regexes_init,
)
from lb._speedups.policy.variable cimport variable_pools_drain, variable_pools_init
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.h1link cimport h1link_codec
from lb._speedups.relay.http cimport http_kill, http_resume, http_told
from lb._speedups.relay.idle cimport idle_limits, idle_purge
from lb._speedups.relay.link cimport link_close
from lb._speedups.relay.mirror cimport mirror_codec
from lb._speedups.relay.muxlink cimport muxlink_codec
from lb._speedups.relay.relay cimport (
    BUFFER_SIZE, STREAM_HTTP, engine_t, idle_t, link_t, listen_t, proxied_t, mirror_t, plan_ref_t, settings_t, stream_t,
    tracked_t,
)
from lb._speedups.relay.session cimport ACCEPTS, session_accept, session_drain, session_rebind_all, session_share
from lb._speedups.relay.stream cimport plan_release
from lb._speedups.relay.tcp cimport tcp_kill
from lb._speedups.relay.udp cimport (
    udp_empty, udp_flush, udp_free, udp_listen, udp_listener_t, udp_read, udp_stop, udp_switched, udp_unlisten,
)

cdef extern from "lb.h" nogil:
    const bint LB_DEBUG
    uint32_t lb_load_u32(const uint32_t *p) noexcept
    uint64_t lb_load_u64(const uint64_t *p) noexcept
    void lb_store_u64(uint64_t *p, uint64_t v) noexcept

cdef enum:
    TIMERS_A_STEP = 512          # deadlines fired in one step
    ROUNDS = 8                   # batches of events taken in one step, while there are any
    KEEP_LINKS = 1024            # free objects a pool keeps
    KEEP_BLOCKS = 256
    ACCEPT_OTHERS = -3           # face/engine.pyi
    AFTER_OTHERS = 8             # connections taken when the others were left some time for them
    COMPILE_US = 1000            # of a step: compiling regular expressions of a plan to come
    LIMITS_MS = 10000            # between two words about regular expressions that gave up


cdef uint32_t descriptor_limit() noexcept nogil:
    cdef rlimit limit
    if getrlimit(RLIMIT_NOFILE, &limit) != 0 or limit.rlim_cur > <uint64_t> PLAN_UNLIMITED:
        return PLAN_UNLIMITED
    return <uint32_t> limit.rlim_cur


cdef engine_t *engine_new(mapping_t *m, uint32_t slot, int wakeup) noexcept nogil:
    cdef engine_t *e = <engine_t *> calloc(1, sizeof(engine_t))
    if e == NULL:
        return NULL
    e.mapping = m
    e.slot = slot
    e.worker = mapping_worker(m, slot)
    e.rows = mapping_counters(m, slot, 0)
    e.ring = mapping_ring(m, slot)
    e.descriptors = descriptor_limit()
    logring_adopt(e.ring, MAPPING_RING)
    e.idle = <idle_t *> calloc(MAPPING_OBJECTS, sizeof(idle_t))
    e.logged = <uint32_t *> calloc(MAPPING_OBJECTS, sizeof(uint32_t))
    clock_init(&e.clock)
    e.now_ms = clock_mono_ms(&e.clock)
    timers_init(&e.timers, e.now_ms)
    pool_init(&e.link_pool, b"link", sizeof(link_t), KEEP_LINKS)
    pool_init(&e.stream_pool, b"stream", sizeof(stream_t), KEEP_LINKS)
    pool_init(&e.message_pool, b"message", sizeof(message_t), KEEP_BLOCKS)
    pool_init(&e.mirror_pool, b"mirror", sizeof(mirror_t), KEEP_BLOCKS)
    pool_init(&e.proxied_pool, b"proxied", sizeof(proxied_t), KEEP_LINKS)
    pool_init(&e.settings_pool, b"settings", sizeof(settings_t), KEEP_LINKS)
    pool_init(&e.tracked_pool, b"tracked", sizeof(tracked_t), KEEP_LINKS)
    pool_init(&e.buffer_pool, b"buffer", BUFFER_SIZE, KEEP_BLOCKS)
    variable_pools_init(&e.variable_pools, &e.buffer_pool)
    flow_pool_init(&e.flows, &e.buffer_pool)
    logline_init(&e.logline)
    h1link_codec(&e.h1)
    muxlink_codec(&e.mux)
    mirror_codec(&e.mirror)
    e.copies = <uint32_t *> calloc(MAPPING_OBJECTS, sizeof(uint32_t))
    if getrandom(&e.id_prefix, 8, 0) != 8 or getrandom(&e.id_next, 8, 0) != 8 \
            or getrandom(&e.eval.random, 8, 0) != 8 or getrandom(&e.random, 8, 0) != 8 \
            or loop_init(&e.loop, wakeup) != 0 or passwords_init(&e.passwords, e.loop.wakeup) != 0 \
            or regex_shelf_init(&e.shelf) != 0 or e.idle == NULL or e.copies == NULL \
            or e.logged == NULL:
        regex_shelf_free(&e.shelf)
        loop_free(&e.loop)
        free(e.idle)
        free(e.copies)
        free(e.logged)
        free(e)
        return NULL
    e.eval.shelf = &e.shelf
    e.eval.crypto = &e.crypto
    return e


cdef void unmap_plan(engine_t *e, plan_ref_t *p) noexcept nogil:
    regexes_free(&p.regexes, &e.shelf)
    munmap(<void *> p.plan, <size_t> p.size)
    free(p.frontends)
    free(p)


cdef void engine_stop(engine_t *e) noexcept nogil:
    cdef listen_t *at
    cdef plan_ref_t *p
    while e.streams != NULL:
        kill(e.streams)
    while e.clients != NULL:
        link_close(e.clients)
    if e.current != NULL:
        idle_purge(e, True)
    e.current = NULL
    while e.listening != NULL:
        at = e.listening
        e.listening = at.next
        listen_end(at, False)
    if e.udp != NULL:
        udp_stop(e)
    while e.plans != NULL:
        p = e.plans
        e.plans = p.next
        unmap_plan(e, p)
    flow_pool_free(&e.flows)
    pool_drain(&e.link_pool)
    pool_drain(&e.stream_pool)
    pool_drain(&e.message_pool)
    pool_drain(&e.buffer_pool)
    pool_drain(&e.proxied_pool)
    pool_drain(&e.tracked_pool)
    pool_drain(&e.mirror_pool)
    variable_pools_drain(&e.variable_pools)
    pool_drain(&e.settings_pool)
    passwords_free(&e.passwords)


cdef void kill(stream_t *st) noexcept nogil:
    if st.flags & STREAM_HTTP:
        http_kill(st)
    else:
        tcp_kill(st)


cdef void engine_free(engine_t *e) noexcept nogil:
    if e.udp != NULL:
        udp_free(e)
    regex_shelf_free(&e.shelf)
    loop_free(&e.loop)
    crypto_free(&e.crypto)
    free(e.idle)
    free(e.copies)
    free(e.logged)
    free(e)


# --- generations ---


# Whether the plan needs no device that only debug builds have (LINK_*).
cdef bint is_plain(const plan_t *plan) noexcept nogil:
    cdef uint32_t i
    for i in range(plan.nlisteners):
        if plan_listener(plan, i).flags != 0:
            return False
    for i in range(plan.nservers):
        if plan_server(plan, i).flags != 0:
            return False
    return True


cdef int64_t engine_prepare(engine_t *e, int fd) noexcept nogil:
    cdef struct_stat st
    cdef plan_ref_t *p
    cdef const plan_t *plan
    cdef void *image
    cdef uint32_t i
    cdef int compiled
    if fstat(fd, &st) != 0:
        return -1
    if <size_t> st.st_size < sizeof(plan_t):
        return -2
    image = mmap(NULL, <size_t> st.st_size, PROT_READ, MAP_SHARED, fd, 0)
    if image == MAP_FAILED:
        return -1
    plan = <const plan_t *> image
    if plan_check(image, <uint64_t> st.st_size) != 0 or not (LB_DEBUG or is_plain(plan)):
        munmap(image, <size_t> st.st_size)
        return -2
    p = <plan_ref_t *> calloc(1, sizeof(plan_ref_t))
    if p != NULL:
        for i in range(plan.nfrontends):
            if plan_frontend(plan, i).oid >= p.noids:
                p.noids = plan_frontend(plan, i).oid + 1
        p.frontends = <uint32_t *> calloc(p.noids + 1, sizeof(uint32_t))
    if p == NULL or p.frontends == NULL:
        free(p)
        munmap(image, <size_t> st.st_size)
        return -1
    for i in range(plan.nfrontends):
        p.frontends[plan_frontend(plan, i).oid] = i + 1
    p.plan = plan
    p.size = <uint64_t> st.st_size
    p.generation = plan.generation
    compiled = REGEXES_MEMORY
    if regexes_init(&p.regexes, plan) == 0:
        # The first plan is waited for; nobody may be kept waiting by another one.
        compiled = regexes_compile(&p.regexes, plan, &e.shelf, 0 if e.current == NULL else COMPILE_US)
    if compiled < 0:
        unmap_plan(e, p)
        return -2 if compiled == REGEXES_WRONG else -1
    p.next = e.plans
    e.plans = p
    if e.current == NULL:
        switch_to(e, p)
    return <int64_t> plan.generation


cdef int engine_compile(engine_t *e, uint64_t generation) noexcept nogil:
    cdef plan_ref_t *p = e.plans
    while p != NULL:
        if p.generation == generation:
            return regexes_compile(&p.regexes, p.plan, &e.shelf, COMPILE_US)
        p = p.next
    return REGEXES_WRONG


cdef void engine_discard(engine_t *e, uint64_t generation) noexcept nogil:
    cdef plan_ref_t **at = &e.plans
    cdef plan_ref_t *p
    while at[0] != NULL:
        p = at[0]
        if p.generation == generation and p != e.current and p.streams == 0:
            at[0] = p.next
            unmap_plan(e, p)
            return
        at = &p.next


cdef bint plan_listens(const plan_t *plan, uint32_t oid) noexcept nogil:
    cdef uint32_t i
    for i in range(plan.nlisteners):
        if plan_listener(plan, i).oid == oid:
            return True
    return False


cdef void switch_to(engine_t *e, plan_ref_t *p) noexcept nogil:
    cdef bint first = e.current == NULL
    cdef listen_t *at = e.listening
    while at != NULL:                         # what waits at listeners that end with the old generation is still served
        if not first and not plan_listens(p.plan, at.oid):
            empty(e, at)
        at = at.next
    e.current = p
    e.process_oid = p.plan.maxconn_oid
    e.counts_rates = p.plan.program_at != 0 and program_of(p.plan).uses & PROGRAM_RATES
    lb_store_u64(&e.worker.generation, p.generation)
    e.switched = 1
    e.resume = 1                              # limits may have changed
    if not first:
        idle_purge(e, False)
        session_rebind_all(e)
        set_all_options(e)
        if e.udp != NULL:
            udp_switched(e)
    idle_limits(e)
    plan_release(e)


cdef void look_for_commit(engine_t *e) noexcept nogil:
    cdef uint64_t committed = lb_load_u64(&e.mapping.generation)
    cdef plan_ref_t *p
    if e.current != NULL and committed == e.current.generation:
        return
    p = e.plans
    while p != NULL:
        if p.generation == committed:
            # Whoever commits has waited until all was compiled, or does not mind that it is done now.
            if regexes_compile(&p.regexes, p.plan, &e.shelf, 0) == REGEXES_READY:
                switch_to(e, p)
            return
        p = p.next


# --- listening ---


cdef void listen_end(listen_t *at, bint stays) noexcept nogil:
    if at.stash >= 0:
        close(at.stash)
    if at.udp != NULL:
        udp_unlisten(<udp_listener_t *> at.udp, stays)
    else:
        close(at.fd)
    free(at)


# Serve whoever was let in by the kernel.
cdef void empty(engine_t *e, listen_t *at) noexcept nogil:
    if at.udp != NULL:
        udp_empty(<udp_listener_t *> at.udp)
        return
    while session_accept(e, at, ACCEPTS) > 0:
        pass


# Accepted sockets inherit these from the listening one, which saves a system call for each. Those of a bind are the
# supervisor's, who owns the socket (lb/supervisor/sockets.py).
cdef void set_options(engine_t *e, listen_t *at) noexcept nogil:
    cdef int one = 1
    cdef uint32_t i
    setsockopt(at.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))     # fails on unix sockets, which have none
    if e.current == NULL:
        return
    for i in range(e.current.plan.nlisteners):
        if plan_listener(e.current.plan, i).oid == at.oid:
            set_keepalive(at.fd, plan_frontend(e.current.plan, plan_listener(e.current.plan, i).frontend))


cdef void set_keepalive(int fd, const plan_frontend_t *f) noexcept nogil:
    cdef int value = (f.flags & FRONTEND_KEEPALIVE) != 0
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value))    # an older generation may have set it
    if not value:
        return
    value = <int> f.keepalive_idle_s
    if value:
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof(value))
    value = <int> f.keepalive_interval_s
    if value:
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &value, sizeof(value))
    value = <int> f.keepalive_count
    if value:
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &value, sizeof(value))


cdef void set_all_options(engine_t *e) noexcept nogil:
    cdef listen_t *at = e.listening
    while at != NULL:
        if at.udp == NULL:
            set_options(e, at)
        at = at.next


cdef bint is_datagram(int fd) noexcept nogil:
    cdef int kind = 0
    cdef socklen_t size = sizeof(kind)
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 and kind == SOCK_DGRAM


cdef listen_t *engine_listen(engine_t *e, uint32_t oid, int fd) noexcept nogil:
    cdef listen_t *at = <listen_t *> calloc(1, sizeof(listen_t))
    cdef int reused = 0
    cdef socklen_t size = sizeof(int)
    if at == NULL:
        return NULL
    at.stash = -1
    at.oid = oid
    at.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)
    if at.fd < 0 or fcntl(at.fd, F_SETFL, fcntl(at.fd, F_GETFL, 0) | O_NONBLOCK) != 0:
        if at.fd >= 0:
            close(at.fd)
        free(at)
        return NULL
    if is_datagram(at.fd):
        at.udp = udp_listen(e, oid, at.fd)
        if at.udp == NULL:
            free(at)
            return NULL
    else:
        at.shared = getsockopt(at.fd, SOL_SOCKET, SO_REUSEPORT, &reused, &size) != 0 or reused == 0
        set_options(e, at)
    at.next = e.listening
    e.listening = at
    return at


cdef listen_t *find_listen(engine_t *e, int fd) noexcept nogil:
    cdef listen_t *at = e.listening
    while at != NULL and at.fd != fd:
        at = at.next
    return at


cdef int engine_accept(engine_t *e, int fd, bint is_turn) noexcept nogil:
    cdef listen_t *at = find_listen(e, fd)
    cdef int most = ACCEPTS
    if at == NULL:
        return 0
    e.now_ms = clock_mono_ms(&e.clock)
    e.now_us = 0
    look_for_commit(e)
    if at.udp != NULL:
        udp_read(<udp_listener_t *> at.udp)
        return 0
    if at.shared and not is_turn:
        most = session_share(e)
        if most == 0:
            return ACCEPT_OTHERS
    return session_accept(e, at, most if not is_turn else AFTER_OTHERS)


cdef void engine_unlisten(engine_t *e, int fd, bint stays) noexcept nogil:
    cdef listen_t **at = &e.listening
    cdef listen_t *gone
    while at[0] != NULL and at[0].fd != fd:
        at = &at[0].next
    gone = at[0]
    if gone == NULL:
        return
    empty(e, gone)
    at = &e.listening
    while at[0] != gone:
        at = &at[0].next
    at[0] = gone.next
    listen_end(gone, stays)


cdef int engine_resume(engine_t *e, uint64_t handle) noexcept nogil:
    e.now_ms = clock_mono_ms(&e.clock)
    return http_resume(e, handle)


cdef void engine_drain(engine_t *e) noexcept nogil:
    e.draining = 1
    session_drain(e)
    if e.current != NULL:
        idle_purge(e, True)


# --- the step ---


# Passwords have been checked: whoever has waited goes on.
cdef void tell(engine_t *e) noexcept nogil:
    cdef password_waiter_t *w = password_collect(&e.passwords)
    while w != NULL:
        http_told(<stream_t *> w.owner)
        w = password_collect(&e.passwords)


cdef int engine_step(engine_t *e) noexcept nogil:
    cdef int answer = 0
    cdef int fired
    cdef int rounds = ROUNDS
    cdef listen_t *at
    e.now_ms = clock_mono_ms(&e.clock)
    e.now_us = 0
    lb_store_u64(&e.worker.beat_ms, e.now_ms)
    look_for_commit(e)
    # While this batch was worked on, the next has come: looking again is far cheaper than a turn of the outer loop.
    while rounds > 0 and loop_step(&e.loop) > 0:
        rounds -= 1
        if e.udp != NULL:
            udp_flush(e)
    if e.udp != NULL:
        udp_flush(e)                          # of what was on the run list
    if lb_load_u32(&e.passwords.done) != 0:
        tell(e)
    if e.loop.woken:
        e.loop.woken = 0
        e.resume = 1                          # a limit may have room, whoever made it
    fired = timers_run(&e.timers, e.now_ms, TIMERS_A_STEP)
    loop_arm(&e.loop, timers_next(&e.timers), e.now_ms)
    if e.resume:
        e.resume = 0
        answer |= STEP_ACCEPT
        at = e.listening
        while at != NULL:
            if at.stash >= 0:
                session_accept(e, at, ACCEPTS)
            at = at.next
    if e.switched:
        e.switched = 0
        answer |= STEP_SWITCHED
    if e.shelf.limits != e.limits_told and e.now_ms >= e.limits_ms:
        e.limits_told = e.shelf.limits
        e.limits_ms = e.now_ms + LIMITS_MS
        answer |= STEP_LIMITED
    if loop_busy(&e.loop) or fired == TIMERS_A_STEP:
        answer |= STEP_AGAIN
    if e.draining and e.clients == NULL and e.datagram_sessions == 0:
        answer |= STEP_DRAINED
    return answer
