from libc.string cimport memcmp

from lb._speedups.policy.balance cimport BALANCE_HASH, BALANCE_ROUNDROBIN
from lb._speedups.policy.forwarding cimport forwarding_check
from lb._speedups.policy.hash cimport HASH_SDBM, HASH_XXH3
from lb._speedups.policy.limit_check cimport limit_list_fits, limits_check
from lb._speedups.policy.logformat_check cimport logformat_check
from lb._speedups.policy.netset cimport netset_check
from lb._speedups.policy.persistence_check cimport persistence_check
from lb._speedups.policy.program_check cimport program_check, program_has
from lb._speedups.policy.route cimport route_check, route_hash
from lb._speedups.policy.users_check cimport users_check
from lb._speedups.proto.proxy cimport PROXY_V2_LEAST


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6
        AF_UNIX


cdef enum:
    PROXY_MOST = 16000           # a header, and what is added to its TLVs on the way out, fits a buffer


cdef bint is_mode(uint8_t mode) noexcept nogil:
    return MODE_TCP <= mode <= MODE_UDP


cdef int check_listeners(const plan_t *p) noexcept nogil:
    cdef const plan_listener_t *listener
    cdef uint32_t i
    for i in range(p.nlisteners):
        listener = plan_listener(p, i)
        if listener.frontend >= p.nfrontends or not plan_text_fits(p, listener.name):
            return -1
        if netset_check(p, &listener.proxies):
            return -1
        if listener.proxy_max != 0 and not PROXY_V2_LEAST <= listener.proxy_max <= PROXY_MOST:
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


cdef bint leads_to_datagrams(const plan_t *p, const plan_frontend_t *frontend) noexcept nogil:
    cdef const plan_route_t *route
    if frontend.default_route < 0:
        return False
    route = plan_route(p, <uint32_t> frontend.default_route)
    return route.kind == TARGET_BACKEND and plan_backend(p, route.target).mode == MODE_UDP


cdef bint has_phases(const plan_t *p, const phases_t *phases) noexcept nogil:
    return (program_has(p, phases.connection) and program_has(p, phases.session) and program_has(p, phases.content)
            and program_has(p, phases.answer) and program_has(p, phases.after))


cdef int check_frontends(const plan_t *p) noexcept nogil:
    cdef const plan_frontend_t *frontend
    cdef uint32_t i
    for i in range(p.nfrontends):
        frontend = plan_frontend(p, i)
        if not is_mode(frontend.mode) or not plan_text_fits(p, frontend.name) or frontend.default_route < -1:
            return -1
        if frontend.default_route >= 0 and <uint32_t> frontend.default_route >= p.nroutes:
            return -1
        # Of a TCP stream there is nothing that could be answered.
        if (frontend.mode == MODE_TCP and frontend.default_route >= 0
                and plan_route(p, <uint32_t> frontend.default_route).kind > TARGET_SPLIT):
            return -1
        if frontend.max_requests == 0 or frontend.http_connection > CONNECTION_CLOSE or frontend.close_both > 1:
            return -1
        if <uint64_t> frontend.logs_at + frontend.logs > p.nlogs:
            return -1
        # Datagrams know no routes and no other mode.
        if frontend.mode == MODE_UDP and not leads_to_datagrams(p, frontend):
            return -1
        if route_check(p, frontend) or forwarding_check(p, frontend) or check_monitor(p, frontend):
            return -1
        if frontend.mirror > p.nmirrors or (frontend.mirror and frontend.mode != MODE_HTTP):
            return -1
        if not program_has(p, frontend.request_captures) or not program_has(p, frontend.response_captures):
            return -1
        if not program_has(p, frontend.request_rules) or not program_has(p, frontend.response_rules) \
                or not program_has(p, frontend.errors):
            return -1
        if not has_phases(p, &frontend.phases):
            return -1
        if not limit_list_fits(p, frontend.limits) or (frontend.limits.n and frontend.mode != MODE_HTTP):
            return -1
    return 0


cdef int check_key(const plan_t *p, const plan_key_t *key) noexcept nogil:
    if key.source >= KEY_COUNT or not plan_text_fits(p, key.name):
        return -1
    return -1 if key.source != KEY_NONE and not HASH_SDBM <= key.hash <= HASH_XXH3 else 0


cdef int check_backends(const plan_t *p) noexcept nogil:
    cdef const plan_backend_t *backend
    cdef uint32_t i
    for i in range(p.nbackends):
        backend = plan_backend(p, i)
        if not is_mode(backend.mode) or not plan_text_fits(p, backend.name) or check_key(p, &backend.key):
            return -1
        if not BALANCE_ROUNDROBIN <= backend.balance <= BALANCE_HASH:
            return -1
        # A key is what a hash needs, and nothing else does; of a TCP stream only the address is known.
        if (backend.balance == BALANCE_HASH) != (backend.key.source != KEY_NONE):
            return -1
        if backend.udp_responses < -1:
            return -1
        if backend.mode != MODE_HTTP and backend.key.source > KEY_SOURCE:
            return -1
        if backend.reuse > REUSE_NEVER or backend.http_connection > CONNECTION_SERVER_CLOSE:
            return -1
        if <uint64_t> backend.servers_at + backend.servers > p.nservers:
            return -1
        if not program_has(p, backend.request_rules) or not program_has(p, backend.response_rules) \
                or not program_has(p, backend.errors):
            return -1
        if not has_phases(p, &backend.phases):
            return -1
        if not limit_list_fits(p, backend.limits) or (backend.limits.n and backend.mode != MODE_HTTP):
            return -1
        if persistence_check(p, backend) or (backend.persistence_at and backend.mode != MODE_HTTP):
            return -1
    return 0


cdef bint is_send_proxy(uint32_t said) noexcept nogil:
    if said == 0 or said == SEND_PROXY_V1:
        return True
    return said <= SEND_PROXY_ALL and said & SEND_PROXY_VERSION == SEND_PROXY_V2


cdef int check_servers(const plan_t *p) noexcept nogil:
    cdef const plan_server_t *server
    cdef uint32_t i
    for i in range(p.nservers):
        server = plan_server(p, i)
        if server.backend >= p.nbackends or server.weight > 256 or not plan_text_fits(p, server.name):
            return -1
        if not plan_text_fits(p, server.cookie):
            return -1
        if server.address_len > sizeof(server.address) or server.socket >= p.nsockets:
            return -1
        if not is_send_proxy(server.send_proxy):
            return -1
        if server.family != AF_INET and server.family != AF_INET6 and server.family != AF_UNIX:
            return -1
        if server.family == AF_UNIX and plan_backend(p, server.backend).mode == MODE_UDP:
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


cdef int check_sockets(const plan_t *p) noexcept nogil:
    cdef const plan_socket_t *o
    cdef uint32_t i
    for i in range(p.nsockets):
        o = plan_socket(p, i)
        if not plan_text_fits(p, o.interface) or o.source_len > sizeof(o.source) or o.port_low > o.port_high:
            return -1
        if o.source_family != 0 and o.source_family != AF_INET and o.source_family != AF_INET6:
            return -1
        if o.port_low != 0 and o.source_family == 0:
            return -1
    return 0


cdef int check_logs(const plan_t *p) noexcept nogil:
    cdef const plan_log_t *log
    cdef uint32_t i
    for i in range(p.nlogops):
        if not plan_text_fits(p, plan_log_op(p, i).text):
            return -1
    for i in range(p.nlogs):
        log = plan_log(p, i)
        if log.target >= LOG_TARGETS or not LOG_HAPROXY <= log.format <= LOG_PROGRAM or log.error_level > 7:
            return -1
        if log.least > 7 or log.gravest > 7:
            return -1
        if not plan_text_fits(p, log.sample) or log.sample_size > LOG_SAMPLE_MAX:
            return -1
        if (<uint64_t> log.sample_size + 7) // 8 > log.sample.len:
            return -1
        if <uint64_t> log.ops_at + log.ops > p.nlogops or logformat_check(p, log):
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


cdef int check_names(const plan_t *p) noexcept nogil:
    cdef const uint32_t *slots
    cdef uint32_t used = 0
    cdef uint32_t i
    if not p.names_size or p.names_size & (p.names_size - 1):
        return -1
    if not plan_array_fits(p, p.names_at, p.names_size, sizeof(uint32_t)):
        return -1
    slots = <const uint32_t *> (<const char *> p + p.names_at)
    for i in range(p.names_size):
        if slots[i] > <uint64_t> p.nbackends + p.nservers:
            return -1
        used += slots[i] != 0
    return 0 if used < p.names_size else -1


cdef int check_routes(const plan_t *p) noexcept nogil:
    cdef const plan_route_t *route
    cdef const plan_condition_t *c
    cdef uint32_t i, most
    for i in range(p.ntexts):
        if not plan_text_fits(p, plan_texts(p, i)[0]):
            return -1
    for i in range(p.nconditions):
        c = plan_condition(p, i)
        if (not CONDITION_FIELD <= c.kind <= CONDITION_PARAM or not TEST_PRESENT <= c.test <= TEST_IS
                or not plan_text_fits(p, c.name) or <uint64_t> c.values_at + c.values > p.ntexts
                or c.values > PLAN_VALUES_MAX):
            return -1
    for i in range(p.nroutes):
        route = plan_route(p, i)
        if (not plan_text_fits(p, route.name) or route.conditions > PLAN_CONDITIONS_MAX or route.mirror > p.nmirrors
                or <uint64_t> route.conditions_at + route.conditions > p.nconditions
                or not limit_list_fits(p, route.limits)):
            return -1
        if route.kind == TARGET_BACKEND:
            most = p.nbackends
        elif route.kind == TARGET_SPLIT:
            most = p.nsplits
        elif route.kind == TARGET_REDIRECT:
            most = p.nredirects
        elif route.kind == TARGET_REPLY:
            most = p.nreplies
        else:
            return -1
        if route.target >= most:
            return -1
    return 0


cdef int check_targets(const plan_t *p) noexcept nogil:
    cdef const plan_split_t *split
    cdef const plan_redirect_t *redirect
    cdef const plan_reply_t *reply
    cdef uint32_t i
    for i in range(p.nshares):
        if plan_share(p, i).backend >= p.nbackends:
            return -1
    for i in range(p.nsplits):
        split = plan_split(p, i)
        if (not 0 < split.shares <= PLAN_SHARES_MAX or <uint64_t> split.shares_at + split.shares > p.nshares
                or check_key(p, &split.key) or not plan_text_fits(p, split.cookie)
                or not plan_text_fits(p, split.attributes)):
            return -1
    for i in range(p.npieces):
        if not plan_text_fits(p, plan_piece(p, i).text):
            return -1
    for i in range(p.nredirects):
        redirect = plan_redirect(p, i)
        if (not REDIRECT_LOCATION <= redirect.kind <= REDIRECT_SCHEME or not 300 <= redirect.status < 400
                or redirect.pieces > PLAN_PIECES_MAX or <uint64_t> redirect.pieces_at + redirect.pieces > p.npieces):
            return -1
    for i in range(p.nreplies):
        reply = plan_reply(p, i)
        if (not 200 <= reply.status < 600 or not plan_text_fits(p, reply.type) or not plan_text_fits(p, reply.body)
                or <uint64_t> reply.headers_at + 2 * <uint64_t> reply.headers > p.ntexts):
            return -1
    return 0


cdef int plan_check(const void *image, uint64_t size) noexcept nogil:
    cdef const plan_t *p = <const plan_t *> image
    if size < sizeof(plan_t) or p.magic != PLAN_MAGIC or p.version != PLAN_VERSION or p.size != size:
        return -1
    if (not plan_array_fits(p, p.listeners_at, p.nlisteners, sizeof(plan_listener_t))
            or not plan_array_fits(p, p.frontends_at, p.nfrontends, sizeof(plan_frontend_t))
            or not plan_array_fits(p, p.backends_at, p.nbackends, sizeof(plan_backend_t))
            or not plan_array_fits(p, p.servers_at, p.nservers, sizeof(plan_server_t))
            or not plan_array_fits(p, p.mirrors_at, p.nmirrors, sizeof(plan_mirror_t))
            or not plan_array_fits(p, p.sockets_at, p.nsockets, sizeof(plan_socket_t))
            or not plan_array_fits(p, p.logs_at, p.nlogs, sizeof(plan_log_t))
            or not plan_array_fits(p, p.logops_at, p.nlogops, sizeof(log_op_t))
            or not plan_array_fits(p, p.routes_at, p.nroutes, sizeof(plan_route_t))
            or not plan_array_fits(p, p.conditions_at, p.nconditions, sizeof(plan_condition_t))
            or not plan_array_fits(p, p.splits_at, p.nsplits, sizeof(plan_split_t))
            or not plan_array_fits(p, p.shares_at, p.nshares, sizeof(plan_share_t))
            or not plan_array_fits(p, p.redirects_at, p.nredirects, sizeof(plan_redirect_t))
            or not plan_array_fits(p, p.pieces_at, p.npieces, sizeof(plan_piece_t))
            or not plan_array_fits(p, p.replies_at, p.nreplies, sizeof(plan_reply_t))
            or not plan_array_fits(p, p.texts_at, p.ntexts, sizeof(text_t))):
        return -1
    if check_routes(p) or check_targets(p):
        return -1
    # The program first: proxies name rulesets of it, and limits expressions.
    if program_check(p) or limits_check(p) or check_by_oid(p) or check_names(p) or users_check(p) or check_listeners(p) \
            or check_frontends(p) or check_backends(p) \
            or check_servers(p) or check_mirrors(p) or check_sockets(p) or check_logs(p):
        return -1
    return 0


cdef int64_t plan_backend_named(const plan_t *p, const char *name, size_t n) noexcept nogil:
    cdef const uint32_t *slots = <const uint32_t *> (<const char *> p + p.names_at)
    cdef uint32_t mask = p.names_size - 1
    cdef uint32_t i = route_hash(name, n, 0) & mask
    cdef const plan_backend_t *backend
    while slots[i]:
        if slots[i] <= p.nbackends:
            backend = plan_backend(p, slots[i] - 1)
            if backend.name.len == n and memcmp(plan_text(p, backend.name), name, n) == 0:
                return slots[i] - 1
        i = (i + 1) & mask
    return -1


cdef int64_t plan_server_named(const plan_t *p, uint32_t backend, const char *name, size_t n) noexcept nogil:
    cdef const uint32_t *slots = <const uint32_t *> (<const char *> p + p.names_at)
    cdef uint32_t mask = p.names_size - 1
    cdef uint32_t i = route_hash(name, n, backend + 1) & mask
    cdef const plan_server_t *server
    while slots[i]:
        if slots[i] > p.nbackends:
            server = plan_server(p, slots[i] - p.nbackends - 1)
            if server.backend == backend and server.name.len == n and memcmp(plan_text(p, server.name), name, n) == 0:
                return slots[i] - p.nbackends - 1
        i = (i + 1) & mask
    return -1


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
