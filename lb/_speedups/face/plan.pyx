# Writes the plan image of policy/plan.pxd from the rows of lb/config/plan.py, once, in the compiler process.
#
# First everything is counted (route trees included), so that every array has its place; then the image is filled through
# pointers into a bytearray; texts come last, each once, with a NUL behind it. The result is checked the way a worker checks it.
import fcntl
import os

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.policy.plan cimport (
    PLAN_MAGIC, PLAN_VERSION, forward_field_t, forwarding_t, monitor_need_t, monitor_t, net4_t, net6_t, netset_t,
    plan_backend, plan_backend_t, plan_check, plan_frontend, plan_frontend_t, plan_listener, plan_listener_t, plan_log,
    plan_log_t, plan_mirror, plan_mirror_t, plan_oid_hash, plan_server, plan_server_t, plan_t, route_edge_t,
    route_host_t, route_node_t, route_table_t, text_t,
)
from lb._speedups.policy.route cimport route_hash

cdef enum:
    ALIGNMENT = 8                   # of every array


cdef uint32_t power_above(uint64_t n):
    """Return the least power of two that is at least twice as large as n, 1 for nothing."""
    cdef uint32_t size = 1
    while size < 2 * n:
        size *= 2
    return size


cdef class Tree:
    """The routes of one frontend: hosts, nodes and edges, on their way into tables."""

    cdef dict hosts                 # name -> root node
    cdef dict edges                 # (node, segment) -> [child node or -1, leaf backend or -1]
    cdef list nodes                 # [prefix, exact, edges] each
    cdef readonly uint32_t at       # offset of the route_table_t

    def __init__(self, routes):
        self.hosts = {}
        self.edges = {}
        self.nodes = []
        for host, path, is_exact, backend in routes:
            self.add(host, path, is_exact, backend)

    cdef int node(self):
        self.nodes.append([-1, -1, 0])
        return len(self.nodes) - 1

    cdef list edge(self, int node, bytes segment):
        found = self.edges.get((node, segment))
        if found is None:
            found = self.edges[node, segment] = [-1, -1]
            self.nodes[node][2] += 1
        return found

    cdef add(self, bytes host, bytes path, bint is_exact, int backend):
        if not path.startswith(b"/") or not (is_exact or path.endswith(b"/")):
            raise ValueError(f"not a route: {path!r}")
        node = self.hosts.get(host)
        if node is None:
            node = self.hosts[host] = self.node()
        *inner, last = path[1:].split(b"/")
        for segment in inner:
            edge = self.edge(node, segment)
            if edge[0] < 0:
                edge[0] = self.node()
            node = edge[0]
        if last:
            self.edge(node, last)[1] = backend
        else:
            self.nodes[node][1 if is_exact else 0] = backend

    cdef uint32_t hosts_size(self):
        return power_above(len(self.hosts) - (b"" in self.hosts))

    cdef uint32_t edges_size(self):
        return power_above(len(self.edges))


cdef class Image:
    """One image being filled."""

    cdef bytearray raw
    cdef char *base
    cdef uint64_t end                # bytes in use
    cdef dict texts                  # text -> its offset
    cdef dict netsets                # bytes of a set of networks -> their offset

    def __init__(self):
        self.raw = bytearray()
        self.texts = {}
        self.netsets = {}

    cdef uint32_t place(self, uint64_t n, uint64_t size) except? 0:
        """Take room for an array and return its offset."""
        at = self.end
        self.end += (n * size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        if self.end >= 1 << 31:
            raise ValueError("the configuration is too large: its image would pass 2 GiB")
        return at

    cdef place_netset(self, row):
        """Take room for the ranges of a set of networks, once for equal ones; put_netset() fills it."""
        ranges = row.v4 + row.v6
        if len(row.v4) % sizeof(net4_t) or len(row.v6) % sizeof(net6_t):
            raise ValueError("a set of networks holds a part of a range")
        if ranges and ranges not in self.netsets:
            self.netsets[ranges] = self.place(1, len(ranges))

    cdef put_netset(self, netset_t *out, row):
        cdef bytes ranges = row.v4 + row.v6
        out.v4 = len(row.v4) // sizeof(net4_t)
        out.v6 = len(row.v6) // sizeof(net6_t)
        out.flags = row.flags
        if ranges:
            out.at = self.netsets[ranges]
            memcpy(self.base + out.at, <char *> ranges, len(ranges))

    cdef allocate(self):
        """Take the memory for all arrays; no pointer before this."""
        self.raw.extend(bytes(self.end))
        self.base = PyByteArray_AS_STRING(self.raw)

    cdef text(self, text_t *out, bytes text):
        """Give a text its place behind the arrays."""
        at = self.texts.get(text)
        if at is None:
            at = self.texts[text] = self.end
            self.end += len(text) + 1
            if self.end >= 1 << 31:
                raise ValueError("the configuration is too large: its image would pass 2 GiB")
        out.at = at
        out.len = len(text)

    cdef bytes finish(self):
        cdef plan_t *p = <plan_t *> self.base
        self.end = (self.end + ALIGNMENT) // ALIGNMENT * ALIGNMENT
        p.size = self.end
        self.base = NULL
        self.raw.extend(b"\0".join([*self.texts, b""]))
        self.raw.extend(bytes(self.end - len(self.raw)))
        return bytes(self.raw)


cdef put_listeners(Image image, plan_t *p, list rows, list oids):
    cdef plan_listener_t *out
    for i, row in enumerate(rows):
        out = plan_listener(p, i)
        out.oid = oids[row.object]
        out.frontend = row.frontend
        out.flags = row.flags
        image.text(&out.name, row.name)
        image.put_netset(&out.proxies, row.proxies)


cdef place_forwarding(Image image, row):
    """Take room for what a frontend forwards and its monitor; put_frontends() fills it."""
    at = fields_at = monitor_at = needs_at = 0
    if row.forwarding is not None:
        at = image.place(1, sizeof(forwarding_t))
        fields_at = image.place(len(row.forwarding.fields), sizeof(forward_field_t))
        image.place_netset(row.forwarding.trusted)
        image.place_netset(row.forwarding.excepted)
    if row.monitor is not None:
        monitor_at = image.place(1, sizeof(monitor_t))
        needs_at = image.place(len(row.monitor.needs), sizeof(monitor_need_t))
    return at, fields_at, monitor_at, needs_at


cdef put_forwarding(Image image, uint32_t at, uint32_t fields_at, row):
    cdef forwarding_t *out = <forwarding_t *> (image.base + at)
    cdef forward_field_t *fields = <forward_field_t *> (image.base + fields_at)
    cdef uint32_t i
    out.fields_at = fields_at
    out.fields = len(row.fields)
    out.written = row.written
    out.flags = row.flags
    image.put_netset(&out.trusted, row.trusted)
    image.put_netset(&out.excepted, row.excepted)
    image.text(&out.client, row.client)
    image.text(&out.via, row.via)
    image.text(&out.by_text, row.by_text)
    image.text(&out.for_text, row.for_text)
    image.text(&out.id_name, row.id_name)
    out.by = row.by
    out.for_ = row.for_
    out.id_format = row.id_format
    for i, field in enumerate(row.fields):
        image.text(&fields[i].name, field.name)
        image.text(&fields[i].key, field.key)
        fields[i].kind = field.kind
        fields[i].id = field.id
        out.lengths |= <uint64_t> 1 << ((fields[i].name.len - 1) & 63)


cdef put_monitor(Image image, uint32_t at, uint32_t needs_at, row):
    cdef monitor_t *out = <monitor_t *> (image.base + at)
    cdef monitor_need_t *needs = <monitor_need_t *> (image.base + needs_at)
    cdef uint32_t i
    image.text(&out.path, row.path)
    out.needs_at = needs_at
    out.needs = len(row.needs)
    for i, (backend, least) in enumerate(row.needs):
        needs[i].backend = backend
        needs[i].least = least


cdef put_frontends(Image image, plan_t *p, list rows, list oids, list trees, list places):
    cdef plan_frontend_t *out
    for i, row in enumerate(rows):
        out = plan_frontend(p, i)
        out.oid = oids[row.object]
        image.text(&out.name, row.name)
        out.mode = row.mode
        out.flags = row.flags
        out.maxconn = row.maxconn
        out.default_backend = row.default_backend
        out.client_ms = row.client_ms
        out.http_request_ms = row.http_request_ms
        out.http_keep_alive_ms = row.http_keep_alive_ms
        out.tunnel_ms = row.tunnel_ms
        out.keepalive_idle_s, out.keepalive_interval_s, out.keepalive_count = row.keepalive
        out.client_fin_ms = row.client_fin_ms
        if row.forwarding is not None:
            out.forwarding_at = places[i][0]
            put_forwarding(image, out.forwarding_at, places[i][1], row.forwarding)
        if row.monitor is not None:
            out.monitor_at = places[i][2]
            put_monitor(image, out.monitor_at, places[i][3], row.monitor)
        out.routes = len(row.routes)
        out.mirror = row.mirror
        tree = trees[i]
        if tree is not None:
            out.hosts_at = (<Tree> tree).at
            put_tree(image, tree)


cdef put_tree(Image image, Tree tree):
    cdef route_table_t *t = <route_table_t *> (image.base + tree.at)
    cdef route_host_t *hosts = <route_host_t *> (image.base + t.hosts_at)
    cdef route_edge_t *edges = <route_edge_t *> (image.base + t.edges_at)
    cdef route_node_t *nodes = <route_node_t *> (image.base + t.nodes_at)
    cdef uint32_t i, h
    cdef bytes name
    for i, (prefix, exact, below) in enumerate(tree.nodes):
        nodes[i].prefix = prefix
        nodes[i].exact = exact
        nodes[i].edges = below
    for name, root in tree.hosts.items():
        if not name:
            t.any_root = root + 1
            continue
        h = route_hash(name, len(name), 0)
        i = h & (t.hosts_size - 1)
        while hosts[i].root:
            i = (i + 1) & (t.hosts_size - 1)
        hosts[i].hash = h
        hosts[i].root = root + 1
        image.text(&hosts[i].name, name)
    for (node, name), (child, leaf) in tree.edges.items():
        h = route_hash(name, len(name), node)
        i = h & (t.edges_size - 1)
        while edges[i].child | edges[i].leaf:
            i = (i + 1) & (t.edges_size - 1)
        edges[i].hash = h
        edges[i].node = node
        edges[i].child = child + 1
        edges[i].leaf = leaf + 1
        image.text(&edges[i].segment, name)


cdef place_tree(Image image, Tree tree):
    """Take room for a tree's table and arrays; the table is filled once there is memory."""
    tree.at = image.place(1, sizeof(route_table_t))
    return (
        tree,
        image.place(tree.hosts_size(), sizeof(route_host_t)),
        image.place(tree.edges_size(), sizeof(route_edge_t)),
        image.place(len(tree.nodes), sizeof(route_node_t)),
    )


cdef open_tree(Image image, Tree tree, hosts_at, edges_at, nodes_at):
    cdef route_table_t *t = <route_table_t *> (image.base + tree.at)
    t.hosts_at = hosts_at
    t.hosts_size = tree.hosts_size()
    t.edges_at = edges_at
    t.edges_size = tree.edges_size()
    t.nodes_at = nodes_at
    t.nodes = len(tree.nodes)


cdef put_backends(Image image, plan_t *p, list rows, list oids, list offsets):
    cdef plan_backend_t *out
    for i, row in enumerate(rows):
        out = plan_backend(p, i)
        out.oid = oids[row.object]
        image.text(&out.name, row.name)
        out.mode = row.mode
        out.balance = row.balance
        out.retries = row.retries
        out.flags = row.flags
        out.servers_at = row.servers_at
        out.servers = row.servers
        out.balance_at = offsets[i]
        out.connect_ms = row.connect_ms
        out.server_ms = row.server_ms
        out.tunnel_ms = row.tunnel_ms
        out.queue_ms = row.queue_ms
        out.keepalive_idle_s, out.keepalive_interval_s, out.keepalive_count = row.keepalive
        key = row.key
        out.key = key.source
        out.key_hash = key.function
        out.key_flags = key.flags
        out.key_depth = key.depth
        out.key_len = key.len
        image.text(&out.key_name, key.name)
        out.server_fin_ms = row.server_fin_ms


cdef put_servers(Image image, plan_t *p, list rows, list oids):
    cdef uint32_t *slots = <uint32_t *> (<char *> p + p.by_oid_at)
    cdef plan_server_t *out
    cdef uint32_t slot
    cdef bytes address
    for i, row in enumerate(rows):
        out = plan_server(p, i)
        out.oid = oids[row.object]
        image.text(&out.name, row.name)
        out.backend = row.backend
        out.weight = row.weight
        out.flags = row.flags
        out.family = row.family
        address = row.address
        if len(address) > sizeof(out.address):
            raise ValueError(f"an address of {len(address)} bytes; at most {sizeof(out.address)} fit")
        out.address_len = len(address)
        memcpy(out.address, <char *> address, len(address))
        slot = plan_oid_hash(out.oid) & (p.by_oid_size - 1)
        while slots[slot]:
            slot = (slot + 1) & (p.by_oid_size - 1)
        slots[slot] = i + 1


cdef put_mirrors(plan_t *p, list rows):
    cdef plan_mirror_t *out
    for i, row in enumerate(rows):
        out = plan_mirror(p, i)
        out.backend = row.backend
        out.percent = row.percent
        out.max_body = row.max_body
        out.max_copies = row.max_copies
        out.timeout_ms = row.timeout_ms


def build(generation, rows, oids, offsets):
    cdef Image image = Image()
    cdef plan_t *p
    cdef plan_log_t *log
    if len(offsets) != len(rows.backends):
        raise ValueError(f"{len(offsets)} balances for {len(rows.backends)} backends")
    trees = [Tree(row.routes) if row.routes else None for row in rows.frontends]
    image.place(1, sizeof(plan_t))
    listeners_at = image.place(len(rows.listeners), sizeof(plan_listener_t))
    frontends_at = image.place(len(rows.frontends), sizeof(plan_frontend_t))
    backends_at = image.place(len(rows.backends), sizeof(plan_backend_t))
    servers_at = image.place(len(rows.servers), sizeof(plan_server_t))
    logs_at = image.place(len(rows.logs), sizeof(plan_log_t))
    mirrors_at = image.place(len(rows.mirrors), sizeof(plan_mirror_t))
    by_oid_size = power_above(len(rows.servers))
    by_oid_at = image.place(by_oid_size, sizeof(uint32_t))
    placed = [place_tree(image, tree) for tree in trees if tree is not None]
    for row in rows.listeners:
        image.place_netset(row.proxies)
    places = [place_forwarding(image, row) for row in rows.frontends]
    image.allocate()
    p = <plan_t *> image.base
    p.magic = PLAN_MAGIC
    p.version = PLAN_VERSION
    p.generation = generation
    p.maxconn = rows.maxconn
    p.grace_ms = rows.grace_ms
    p.maxconn_oid = oids[0]
    p.nlisteners, p.listeners_at = len(rows.listeners), listeners_at
    p.nfrontends, p.frontends_at = len(rows.frontends), frontends_at
    p.nbackends, p.backends_at = len(rows.backends), backends_at
    p.nservers, p.servers_at = len(rows.servers), servers_at
    p.nlogs, p.logs_at = len(rows.logs), logs_at
    p.nmirrors, p.mirrors_at = len(rows.mirrors), mirrors_at
    p.by_oid_size, p.by_oid_at = by_oid_size, by_oid_at
    for tree, hosts_at, edges_at, nodes_at in placed:
        open_tree(image, tree, hosts_at, edges_at, nodes_at)
    put_listeners(image, p, rows.listeners, oids)
    put_frontends(image, p, rows.frontends, oids, trees, places)
    put_backends(image, p, rows.backends, oids, offsets)
    put_servers(image, p, rows.servers, oids)
    put_mirrors(p, rows.mirrors)
    for i, (target, form) in enumerate(rows.logs):
        log = plan_log(p, i)
        log.target = target
        log.format = form
    made = image.finish()
    if plan_check(<char *> made, len(made)):
        raise ValueError("the rows do not fit together: an index points at nothing")
    return made


def write(generation, rows, oids, offsets):
    image = memoryview(build(generation, rows, oids, offsets))
    fd = os.memfd_create("lb-plan", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        while image:
            image = image[os.write(fd, image):]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    except BaseException:
        os.close(fd)
        raise
    return fd
