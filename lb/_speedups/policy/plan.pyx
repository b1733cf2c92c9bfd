from lb._speedups.policy.balance cimport BALANCE_HASH, BALANCE_ROUNDROBIN
from lb._speedups.policy.forwarding cimport forwarding_check
from lb._speedups.policy.hash cimport HASH_SDBM, HASH_XXH3
from lb._speedups.policy.netset cimport netset_check
from lb._speedups.policy.route cimport route_check


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6
        AF_UNIX


cdef bint is_mode(uint8_t mode) noexcept nogil:
    return mode == MODE_TCP or mode == MODE_HTTP


cdef int check_listeners(const plan_t *p) noexcept nogil:
    cdef const plan_listener_t *listener
    cdef uint32_t i
    for i in range(p.nlisteners):
        listener = plan_listener(p, i)
        if listener.frontend >= p.nfrontends or not plan_text_fits(p, listener.name):
            return -1
        if netset_check(p, &listener.proxies):
            return -1
    return 0


cdef int check_monitor(const plan_t *p, const plan_frontend_t *f) noexcept nogil:
    cdef const monitor_t *monitor = plan_monitor(p, f)
    cdef const monitor_need_t *needs
    cdef uint32_t i
    if not f.flags & FRONTEND_MONITOR:
        return 0
    if not plan_array_fits(p, f.monitor_at, 1, sizeof(monitor_t)) or not plan_text_fits(p, monitor.path):
        return -1
    if not plan_array_fits(p, monitor.needs_at, monitor.needs, sizeof(monitor_need_t)):
        return -1
    needs = <const monitor_need_t *> (<const char *> p + monitor.needs_at)
    for i in range(monitor.needs):
        if needs[i].backend >= p.nbackends:
            return -1
    return 0


cdef int check_frontends(const plan_t *p) noexcept nogil:
    cdef const plan_frontend_t *frontend
    cdef uint32_t i
    for i in range(p.nfrontends):
        frontend = plan_frontend(p, i)
        if not is_mode(frontend.mode) or not plan_text_fits(p, frontend.name) or frontend.default_backend < -1:
            return -1
        if frontend.default_backend >= 0 and <uint32_t> frontend.default_backend >= p.nbackends:
            return -1
        if frontend.mirror > p.nmirrors or (frontend.mirror and frontend.mode != MODE_HTTP):
            return -1
        if route_check(p, frontend) or forwarding_check(p, frontend) or check_monitor(p, frontend):
            return -1
    return 0


cdef int check_backends(const plan_t *p) noexcept nogil:
    cdef const plan_backend_t *backend
    cdef uint32_t i
    for i in range(p.nbackends):
        backend = plan_backend(p, i)
        if not is_mode(backend.mode) or not plan_text_fits(p, backend.name) or not plan_text_fits(p, backend.key_name):
            return -1
        if not BALANCE_ROUNDROBIN <= backend.balance <= BALANCE_HASH or backend.key >= KEY_COUNT:
            return -1
        # A key is what a hash needs, and nothing else does; of a TCP stream only the address is known.
        if (backend.balance == BALANCE_HASH) != (backend.key != KEY_NONE):
            return -1
        if backend.key != KEY_NONE and not HASH_SDBM <= backend.key_hash <= HASH_XXH3:
            return -1
        if backend.mode == MODE_TCP and backend.key > KEY_SOURCE:
            return -1
        if <uint64_t> backend.servers_at + backend.servers > p.nservers:
            return -1
    return 0


cdef int check_servers(const plan_t *p) noexcept nogil:
    cdef const plan_server_t *server
    cdef uint32_t i
    for i in range(p.nservers):
        server = plan_server(p, i)
        if server.backend >= p.nbackends or server.weight > 256 or not plan_text_fits(p, server.name):
            return -1
        if server.address_len > sizeof(server.address):
            return -1
        if server.family != AF_INET and server.family != AF_INET6 and server.family != AF_UNIX:
            return -1
    return 0


cdef int check_mirrors(const plan_t *p) noexcept nogil:
    cdef const plan_mirror_t *mirror
    cdef uint32_t i
    for i in range(p.nmirrors):
        mirror = plan_mirror(p, i)
        if mirror.backend >= p.nbackends or plan_backend(p, mirror.backend).mode != MODE_HTTP or mirror.percent > 100:
            return -1
    return 0


cdef int check_by_oid(const plan_t *p) noexcept nogil:
    cdef const uint32_t *slots
    cdef uint32_t used = 0
    cdef uint32_t i
    if not p.by_oid_size or p.by_oid_size & (p.by_oid_size - 1):
        return -1
    if not plan_array_fits(p, p.by_oid_at, p.by_oid_size, sizeof(uint32_t)):
        return -1
    slots = <const uint32_t *> (<const char *> p + p.by_oid_at)
    for i in range(p.by_oid_size):
        if slots[i] > p.nservers:
            return -1
        used += slots[i] != 0
    # A lookup ends at an empty slot, so there must be one.
    return 0 if used < p.by_oid_size else -1


cdef int plan_check(const void *image, uint64_t size) noexcept nogil:
    cdef const plan_t *p = <const plan_t *> image
    if size < sizeof(plan_t) or p.magic != PLAN_MAGIC or p.version != PLAN_VERSION or p.size != size:
        return -1
    if (not plan_array_fits(p, p.listeners_at, p.nlisteners, sizeof(plan_listener_t))
            or not plan_array_fits(p, p.frontends_at, p.nfrontends, sizeof(plan_frontend_t))
            or not plan_array_fits(p, p.backends_at, p.nbackends, sizeof(plan_backend_t))
            or not plan_array_fits(p, p.servers_at, p.nservers, sizeof(plan_server_t))
            or not plan_array_fits(p, p.mirrors_at, p.nmirrors, sizeof(plan_mirror_t))
            or not plan_array_fits(p, p.logs_at, p.nlogs, sizeof(plan_log_t))):
        return -1
    if check_by_oid(p) or check_listeners(p) or check_frontends(p) or check_backends(p) or check_servers(p) \
            or check_mirrors(p):
        return -1
    return 0


cdef plan_server_t *plan_server_by_oid(const plan_t *p, uint32_t oid) noexcept nogil:
    cdef const uint32_t *slots = <const uint32_t *> (<const char *> p + p.by_oid_at)
    cdef uint32_t mask = p.by_oid_size - 1
    cdef uint32_t i = plan_oid_hash(oid) & mask
    cdef plan_server_t *server
    while slots[i]:
        server = plan_server(p, slots[i] - 1)
        if server.oid == oid:
            return server
        i = (i + 1) & mask
    return NULL
