from libc.string cimport memchr, memcmp, strlen

from lb._speedups.policy.condition cimport condition_holds
from lb._speedups.policy.plan cimport (
    plan_array_fits, plan_condition, plan_route, plan_route_t, plan_text, plan_text_fits, plan_texts, route_edge_t,
    route_host_t, route_node_t, route_table_t, text_t,
)
from lb._speedups.proto.message cimport (
    METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER, METHOD_PATCH, METHOD_POST, METHOD_PUT,
    METHOD_TRACE,
)


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)


cdef extern from * nogil:
    """
    #include <string.h>
    static inline const char *lb_last_slash(const char *p, size_t n)
    {
        return memrchr(p, '/', n);
    }
    """
    const char *lb_last_slash(const char *p, size_t n)


# One search.
cdef struct search_t:
    const plan_t *p
    const route_table_t *t
    const route_node_t *nodes
    const message_t *m
    route_trace_t *trace
    uint32_t method              # the request's bit, 0 = no route names it
    bint is_method_known         # `method` was looked up
    uint32_t allowed


cdef inline const char *at(const plan_t *p, uint32_t offset) noexcept nogil:
    return <const char *> p + offset


# ---- conditions ----


cdef uint32_t method_bit(const search_t *s) noexcept nogil:
    cdef const text_t *name
    cdef uint32_t i
    if s.m.method != METHOD_OTHER:
        return <uint32_t> 1 << s.m.method
    for i in range(s.t.extra):
        name = plan_texts(s.p, s.t.extra_at + i)
        if (name.len == s.m.method_at.len
                and memcmp(plan_text(s.p, name[0]), s.m.block + s.m.method_at.at, name.len) == 0):
            return <uint32_t> 1 << (METHOD_PATCH + 1 + i)
    return 0


cdef void note(search_t *s, uint32_t route, uint8_t why) noexcept nogil:
    if s.trace != NULL and s.trace.n < ROUTE_TRACE_MAX:
        s.trace.route[s.trace.n] = route
        s.trace.why[s.trace.n] = why
        s.trace.n += 1


cdef bint accepts(search_t *s, uint32_t index) noexcept nogil:
    cdef const plan_route_t *route = plan_route(s.p, index)
    cdef uint32_t i
    if LIKELY(not (route.methods | route.conditions)):
        return True
    for i in range(route.conditions):
        if not condition_holds(s.p, plan_condition(s.p, route.conditions_at + i), s.m):
            note(s, index, <uint8_t> i)
            return False
    if route.methods:
        if not s.is_method_known:
            s.method = method_bit(s)
            s.is_method_known = True
        if not route.methods & s.method:
            s.allowed |= route.methods
            note(s, index, ROUTE_METHOD)
            return False
    return True


# The first route of a leaf whose conditions hold, or -1.
cdef int32_t choose(search_t *s, uint32_t leaf) noexcept nogil:
    cdef const uint32_t *entry
    if leaf == 0:
        return -1
    if LIKELY(leaf & 1):
        return <int32_t> (leaf >> 1) if accepts(s, leaf >> 1) else -1
    entry = <const uint32_t *> at(s.p, s.t.leaves_at) + (leaf >> 1) - 1
    while not accepts(s, entry[0] >> 1):
        if entry[0] & 1:
            return -1
        entry += 1
    return <int32_t> (entry[0] >> 1)


# ---- paths ----


cdef const route_edge_t *find_edge(const plan_t *p, const route_table_t *t, uint32_t node, const char *segment,
                                   size_t len) noexcept nogil:
    cdef const route_edge_t *edges = <const route_edge_t *> at(p, t.edges_at)
    cdef uint32_t mask = t.edges_size - 1
    cdef uint32_t h = route_hash(segment, len, node)
    cdef uint32_t i = h & mask
    cdef const route_edge_t *edge
    while True:
        edge = &edges[i]
        if not (edge.child | edge.leaf):
            return NULL
        if (edge.hash == h and edge.node == node and edge.segment.len == len
                and memcmp(at(p, edge.segment.at), segment, len) == 0):
            return edge
        i = (i + 1) & mask


cdef int32_t walk(search_t *s, uint32_t root) noexcept nogil:
    cdef const route_node_t *nodes = s.nodes
    cdef const char *path = s.m.block + s.m.path.at
    cdef const char *end = path + s.m.path.len
    cdef const char *segment = path + 1
    cdef const char *slash
    cdef const route_edge_t *edge
    cdef uint32_t node = root
    cdef uint32_t came
    cdef int32_t found
    if s.m.path.len == 0 or path[0] != c'/':
        return choose(s, nodes[node].prefix)
    while True:
        # Here `node` has been entered and `segment` begins behind its slash.
        if s.trace != NULL:
            s.trace.steps += 1
        if segment == end:
            found = choose(s, nodes[node].exact)
            if found >= 0:
                return found
        elif nodes[node].edges | nodes[node].param | nodes[node].param_leaf:
            slash = <const char *> memchr(segment, c'/', <size_t> (end - segment))
            edge = NULL
            if nodes[node].edges:
                edge = find_edge(s.p, s.t, node, segment, <size_t> ((end if slash == NULL else slash) - segment))
            if slash == NULL:
                if edge != NULL:
                    found = choose(s, edge.leaf)
                    if found >= 0:
                        return found
                found = choose(s, nodes[node].param_leaf)
                if found >= 0:
                    return found
            elif edge != NULL and edge.child:
                node = edge.child - 1
                segment = slash + 1
                continue
            elif nodes[node].param and slash != segment:
                node = nodes[node].param - 1
                segment = slash + 1
                continue
        # Nothing below: the node itself as a prefix, then back to where another branch is left.
        while True:
            found = choose(s, nodes[node].prefix)
            if found >= 0 or node == root:
                return found
            came = nodes[node].parent
            node = came >> 1
            slash = segment - 1
            segment = lb_last_slash(path, <size_t> (slash - path)) + 1
            if not came & 1 and nodes[node].param and slash != segment:
                node = nodes[node].param - 1
                segment = slash + 1
                break


cdef int hex_digit(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef bint route_is_plain(const char *path, size_t len) noexcept nogil:
    cdef size_t i = 0
    cdef size_t dots = 0, others = 0
    cdef bint is_cut = False                  # behind the `;` of a segment
    cdef int c, high, low
    # Most paths have neither, and are looked through by the width of a vector.
    if memchr(path, c'.', len) == NULL and memchr(path, c'%', len) == NULL:
        return True
    while i < len:
        c = <unsigned char> path[i]
        i += 1
        if c == c'%' and i + 1 < len:
            high = hex_digit(path[i])
            low = hex_digit(path[i + 1])
            if high >= 0 and low >= 0:
                c = high << 4 | low
                i += 2
                if c == 0:
                    return False
        if c == c'/' or c == c'\\':
            if others == 0 and 0 < dots < 3:
                return False
            dots = others = 0
            is_cut = False
        elif c == c';':
            is_cut = True
        elif not is_cut:
            if c == c'.':
                dots += 1
            else:
                others += 1
    return others != 0 or dots == 0 or dots > 2


cdef const char *route_segment(const char *path, size_t path_len, uint32_t n, size_t *len) noexcept nogil:
    cdef const char *end = path + path_len
    cdef const char *slash = path
    if path_len == 0 or path[0] != c'/':
        return NULL
    while True:
        path = slash + 1
        slash = <const char *> memchr(path, c'/', <size_t> (end - path))
        n -= 1
        if n == 0:
            len[0] = <size_t> ((end if slash == NULL else slash) - path)
            return path
        if slash == NULL:
            return NULL


# ---- hosts ----


# The host of an authority in lower case, without port and closing dot, into `out` (ROUTE_HOST_MAX bytes). Its length,
# 0 if it is empty or too long for any configured host.
cdef size_t normal_host(const char *authority, size_t len, char *out) noexcept nogil:
    cdef const char *end
    cdef size_t i
    if len and authority[0] == b'[':
        end = <const char *> memchr(authority, b']', len)
        if end != NULL:
            len = end - authority + 1
    else:
        end = <const char *> memchr(authority, b':', len) if len else NULL
        if end != NULL:
            len = end - authority
        if len and authority[len - 1] == b'.':
            len -= 1
    if len > ROUTE_HOST_MAX:
        return 0
    for i in range(len):
        out[i] = authority[i] | 0x20 if b'A' <= authority[i] <= b'Z' else authority[i]
    return len


cdef const route_host_t *find_host(const plan_t *p, const route_table_t *t, const char *name, size_t len) noexcept nogil:
    cdef const route_host_t *hosts = <const route_host_t *> at(p, t.hosts_at)
    cdef uint32_t mask = t.hosts_size - 1
    cdef uint32_t h = route_hash(name, len, 0)
    cdef uint32_t i = h & mask
    cdef const route_host_t *host
    while True:
        host = &hosts[i]
        if not host.root:
            return NULL
        if host.hash == h and host.name.len == len and memcmp(at(p, host.name.at), name, len) == 0:
            return host
        i = (i + 1) & mask


# Wildcards that take this host, the longest first.
cdef int32_t walk_wildcards(search_t *s, const char *name, size_t len) noexcept nogil:
    cdef const char *end = name + len
    cdef const char *dot
    cdef const route_host_t *host
    cdef uint32_t labels = 0
    cdef int32_t found
    cdef size_t i
    for i in range(len):
        labels += name[i] == c'.'
    dot = <const char *> memchr(name, c'.', len)
    while dot != NULL:
        # `labels` is the number of those behind this dot. In front of it there is at least one byte.
        if labels < 64 and s.t.wildcards >> labels & 1 and dot != name:
            host = find_host(s.p, s.t, dot, <size_t> (end - dot))
            if host != NULL:
                found = walk(s, host.root - 1)
                if found >= 0:
                    return found
        labels -= 1
        dot = <const char *> memchr(dot + 1, c'.', <size_t> (end - dot - 1))
    return -1


cdef int32_t find(search_t *s) noexcept nogil:
    cdef const route_table_t *t = s.t
    cdef const route_host_t *host
    cdef char name[ROUTE_HOST_MAX]
    cdef size_t len
    cdef int32_t found
    if t.hosts_size > 1:
        len = normal_host(s.m.block + s.m.authority.at, s.m.authority.len, name)
        if len and name[0] != c'.':           # what begins with a dot in the table is a wildcard
            host = find_host(s.p, t, name, len)
            if host != NULL:
                found = walk(s, host.root - 1)
                if found >= 0:
                    return found
        if t.wildcards and len:
            found = walk_wildcards(s, name, len)
            if found >= 0:
                return found
    return walk(s, t.any_root - 1) if t.any_root else -1


cdef route_found_t route_find(
    const plan_t *p, const plan_frontend_t *f, const message_t *m, route_trace_t *trace
) noexcept nogil:
    cdef search_t s
    cdef route_found_t out
    out.route = f.default_route
    out.allowed = 0
    if not f.hosts_at:
        return out
    s.p = p
    s.t = <const route_table_t *> at(p, f.hosts_at)
    s.nodes = <const route_node_t *> at(p, s.t.nodes_at)
    s.m = m
    s.trace = trace
    s.is_method_known = False
    s.method = 0
    s.allowed = 0
    out.route = find(&s)
    if UNLIKELY(out.route < 0):
        out.route = f.default_route
        if out.route < 0:
            out.allowed = s.allowed
    return out


cdef const char *method_name(uint32_t method) noexcept nogil:
    if method == METHOD_GET: return b"GET"
    if method == METHOD_HEAD: return b"HEAD"
    if method == METHOD_POST: return b"POST"
    if method == METHOD_PUT: return b"PUT"
    if method == METHOD_DELETE: return b"DELETE"
    if method == METHOD_OPTIONS: return b"OPTIONS"
    if method == METHOD_TRACE: return b"TRACE"
    if method == METHOD_PATCH: return b"PATCH"
    return b"CONNECT"


cdef size_t route_allow(
    const plan_t *p, const plan_frontend_t *f, uint32_t methods, char *out, size_t cap
) noexcept nogil:
    cdef const route_table_t *t = <const route_table_t *> at(p, f.hosts_at)
    cdef const char *name
    cdef text_t text
    cdef size_t len, n = 0
    cdef uint32_t i
    if methods == 0:
        return 0
    for i in range(1, METHOD_PATCH + 1 + t.extra):
        if not methods >> i & 1:
            continue
        if i <= METHOD_PATCH:
            name = method_name(i)
            len = strlen(name)
        else:
            text = plan_texts(p, t.extra_at + i - METHOD_PATCH - 1)[0]
            name = plan_text(p, text)
            len = text.len
        if n + len + 2 > cap:
            break
        if n:
            memcpy(out + n, b", ", 2)
            n += 2
        memcpy(out + n, name, len)
        n += len
    return n


# ---- the image ----


cdef bint is_leaf(const plan_t *p, const route_table_t *t, uint32_t leaf) noexcept nogil:
    if leaf & 1:
        return leaf >> 1 < p.nroutes
    return leaf >> 1 <= t.leaves


cdef int check_leaves(const plan_t *p, const route_table_t *t) noexcept nogil:
    cdef const uint32_t *leaves = <const uint32_t *> at(p, t.leaves_at)
    cdef uint32_t i
    for i in range(t.leaves):
        if leaves[i] >> 1 >= p.nroutes:
            return -1
    # A list ends with the last entry at the latest.
    return 0 if t.leaves == 0 or leaves[t.leaves - 1] & 1 else -1


cdef int check_hosts(const plan_t *p, const route_table_t *t) noexcept nogil:
    cdef const route_host_t *hosts = <const route_host_t *> at(p, t.hosts_at)
    cdef uint32_t used = 0
    cdef uint32_t i
    for i in range(t.hosts_size):
        if hosts[i].root:
            used += 1
            if hosts[i].root > t.nodes or hosts[i].name.len > ROUTE_HOST_MAX or not plan_text_fits(p, hosts[i].name):
                return -1
    # A lookup ends at an empty slot, so there must be one.
    return 0 if used < t.hosts_size else -1


# A child stands behind its parent, so a walk goes forward and ends; and knows it, so the way back is the way that was
# come: it ends at the root of the walk.
cdef bint is_child(const route_table_t *t, const route_node_t *nodes, uint32_t node, uint32_t child,
                   uint32_t any_) noexcept nogil:
    return node < child < t.nodes and nodes[child].parent == (node << 1 | any_)


cdef int check_edges(const plan_t *p, const route_table_t *t) noexcept nogil:
    cdef const route_edge_t *edges = <const route_edge_t *> at(p, t.edges_at)
    cdef const route_node_t *nodes = <const route_node_t *> at(p, t.nodes_at)
    cdef uint32_t used = 0
    cdef uint32_t i
    for i in range(t.edges_size):
        if edges[i].child | edges[i].leaf:
            used += 1
            if edges[i].node >= t.nodes or not is_leaf(p, t, edges[i].leaf) or not plan_text_fits(p, edges[i].segment):
                return -1
            if edges[i].child and not is_child(t, nodes, edges[i].node, edges[i].child - 1, 0):
                return -1
    return 0 if used < t.edges_size else -1


cdef int check_nodes(const plan_t *p, const route_table_t *t) noexcept nogil:
    cdef const route_node_t *nodes = <const route_node_t *> at(p, t.nodes_at)
    cdef uint32_t i
    for i in range(t.nodes):
        if (not is_leaf(p, t, nodes[i].prefix) or not is_leaf(p, t, nodes[i].exact)
                or not is_leaf(p, t, nodes[i].param_leaf)):
            return -1
        if nodes[i].param and not is_child(t, nodes, i, nodes[i].param - 1, 1):
            return -1
    return 0


cdef int route_check(const plan_t *p, const plan_frontend_t *f) noexcept nogil:
    cdef const route_table_t *t
    if not f.hosts_at:
        return 0
    if not plan_array_fits(p, f.hosts_at, 1, sizeof(route_table_t)):
        return -1
    t = <const route_table_t *> at(p, f.hosts_at)
    if (not t.hosts_size or t.hosts_size & (t.hosts_size - 1) or not t.edges_size or t.edges_size & (t.edges_size - 1)
            or t.any_root > t.nodes or t.extra > 31 - METHOD_PATCH or t.nodes >= <uint32_t> 1 << 31
            or not plan_array_fits(p, t.hosts_at, t.hosts_size, sizeof(route_host_t))
            or not plan_array_fits(p, t.edges_at, t.edges_size, sizeof(route_edge_t))
            or not plan_array_fits(p, t.nodes_at, t.nodes, sizeof(route_node_t))
            or not plan_array_fits(p, t.leaves_at, t.leaves, sizeof(uint32_t))
            or <uint64_t> t.extra_at + t.extra > p.ntexts):
        return -1
    if check_leaves(p, t) or check_hosts(p, t) or check_nodes(p, t):
        return -1
    return check_edges(p, t)
