from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp

from lb._speedups.policy.plan cimport (
    plan_array_fits, plan_text_fits, route_edge_t, route_host_t, route_node_t, route_table_t,
)


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)


cdef inline const char *at(const plan_t *p, uint32_t offset) noexcept nogil:
    return <const char *> p + offset


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


cdef int32_t walk(const plan_t *p, const route_table_t *t, uint32_t node, const char *path, size_t len) noexcept nogil:
    cdef const route_node_t *nodes = <const route_node_t *> at(p, t.nodes_at)
    cdef const char *end = path + len
    cdef const char *slash
    cdef const route_edge_t *edge
    cdef int32_t best = nodes[node].prefix
    if len == 0 or path[0] != b'/':
        return best
    path += 1
    while True:
        if path == end:
            return nodes[node].exact if nodes[node].exact >= 0 else best
        if not nodes[node].edges:
            return best
        slash = <const char *> memchr(path, b'/', end - path)
        if slash == NULL:
            edge = find_edge(p, t, node, path, end - path)
            return <int32_t> edge.leaf - 1 if edge != NULL and edge.leaf else best
        edge = find_edge(p, t, node, path, slash - path)
        if edge == NULL or not edge.child:
            return best
        node = edge.child - 1
        if nodes[node].prefix >= 0:
            best = nodes[node].prefix
        path = slash + 1


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


cdef int32_t route_find(const plan_t *p, const plan_frontend_t *f, const char *authority, size_t authority_len,
                        const char *path, size_t path_len) noexcept nogil:
    cdef const route_table_t *t
    cdef const route_host_t *host
    cdef char name[ROUTE_HOST_MAX]
    cdef size_t len
    cdef int32_t found
    if not f.hosts_at:
        return f.default_backend
    t = <const route_table_t *> at(p, f.hosts_at)
    if t.hosts_size > 1:
        len = normal_host(authority, authority_len, name)
        host = find_host(p, t, name, len) if len else NULL
        if host != NULL:
            found = walk(p, t, host.root - 1, path, path_len)
            if found >= 0:
                return found
    if t.any_root:
        found = walk(p, t, t.any_root - 1, path, path_len)
        if found >= 0:
            return found
    return f.default_backend


cdef bint is_backend(const plan_t *p, int32_t index) noexcept nogil:
    return -1 <= index and index < <int64_t> p.nbackends


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


cdef int check_edges(const plan_t *p, const route_table_t *t) noexcept nogil:
    cdef const route_edge_t *edges = <const route_edge_t *> at(p, t.edges_at)
    cdef uint32_t used = 0
    cdef uint32_t i
    for i in range(t.edges_size):
        if edges[i].child | edges[i].leaf:
            used += 1
            # A child stands behind its parent, so a walk goes forward and ends.
            if edges[i].node >= t.nodes or edges[i].child > t.nodes or (edges[i].child and edges[i].child - 1 <= edges[i].node):
                return -1
            if edges[i].leaf > p.nbackends or not plan_text_fits(p, edges[i].segment):
                return -1
    return 0 if used < t.edges_size else -1


cdef int route_check(const plan_t *p, const plan_frontend_t *f) noexcept nogil:
    cdef const route_table_t *t
    cdef const route_node_t *nodes
    cdef uint32_t i
    if not f.hosts_at:
        return 0
    if not plan_array_fits(p, f.hosts_at, 1, sizeof(route_table_t)):
        return -1
    t = <const route_table_t *> at(p, f.hosts_at)
    if (not t.hosts_size or t.hosts_size & (t.hosts_size - 1) or not t.edges_size or t.edges_size & (t.edges_size - 1)
            or t.any_root > t.nodes
            or not plan_array_fits(p, t.hosts_at, t.hosts_size, sizeof(route_host_t))
            or not plan_array_fits(p, t.edges_at, t.edges_size, sizeof(route_edge_t))
            or not plan_array_fits(p, t.nodes_at, t.nodes, sizeof(route_node_t))):
        return -1
    nodes = <const route_node_t *> at(p, t.nodes_at)
    for i in range(t.nodes):
        if not is_backend(p, nodes[i].prefix) or not is_backend(p, nodes[i].exact):
            return -1
    if check_hosts(p, t):
        return -1
    return check_edges(p, t)
