# Writes the plan image of policy/plan.pxd from the rows of lb/config/plan.py, once, in the compiler process.
#
# First everything is counted (route trees included), so that every array has its place; then the image is filled through
# pointers into a bytearray; texts come last, each once, with a NUL behind it. The result is checked the way a worker checks it.
import fcntl
import hashlib
import os

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.policy.plan cimport (
    PLAN_MAGIC, PLAN_VERSION, ROUTE_TIMES, forward_field_t, forwarding_t, log_op_t, monitor_need_t, monitor_t,
    net4_t, net6_t, netset_t, plan_backend, plan_backend_t, plan_check, plan_condition, plan_condition_t,
    plan_frontend, plan_frontend_t, plan_key_t, plan_listener, plan_listener_t, plan_log, plan_log_op, plan_log_t,
    plan_mirror, plan_mirror_t, plan_oid_hash, plan_piece, plan_piece_t, plan_redirect, plan_redirect_t, plan_reply,
    plan_reply_t, plan_route, plan_route_t, plan_server, plan_server_t, plan_share, plan_share_t, plan_split,
    plan_split_t, plan_t, plan_texts, route_edge_t, route_host_t, route_node_t, route_table_t, text_t,
)
from lb._speedups.policy.limit cimport plan_limit, plan_limit_t
from lb._speedups.policy.persistence cimport persistence_t, stick_t
from lb._speedups.policy.plan cimport limit_list_t, phases_t, plan_socket, plan_socket_t
from lb._speedups.policy.route cimport route_hash

cdef enum:
    ALIGNMENT = 8                   # of every array

cdef enum:                          # places in a node of Tree
    PREFIX = 0
    EXACT
    EDGES
    PARAM
    PARAM_LEAF
    PARENT

PARAMETER = b"\0"                   # as lb.model.route writes it


cdef uint32_t power_above(uint64_t n):
    """Return the least power of two that is at least twice as large as n, 1 for nothing."""
    cdef uint32_t size = 1
    while size < 2 * n:
        size *= 2
    return size


cdef class Tree:
    """The routes of one frontend: hosts, nodes and edges, on their way into tables."""

    cdef dict hosts                 # name -> root node
    cdef dict edges                 # (node, segment) -> [child node or -1, leaf]
    cdef list nodes                 # [prefix, exact, edges, child by parameter or -1, leaf by parameter, parent] each
    cdef list leaves                # of leaves with several routes: entries as in the image
    cdef list ranks                 # by route: how many conditions it has
    cdef readonly list methods
    cdef readonly uint32_t at       # offset of the route_table_t

    def __init__(self, row, list ranks):
        self.hosts = {}
        self.edges = {}
        self.nodes = []
        self.leaves = []
        self.ranks = ranks
        self.methods = row.methods
        for host, path, is_exact, route in row.places:
            self.add(host, path, is_exact, route)
        for node in self.nodes:
            node[PREFIX] = self.leaf(node[PREFIX])
            node[EXACT] = self.leaf(node[EXACT])
            node[PARAM_LEAF] = self.leaf(node[PARAM_LEAF])
        for edge in self.edges.values():
            edge[1] = self.leaf(edge[1])

    cdef int node(self, int parent):
        # A leaf is None, a route, or a list of routes while the tree grows.
        self.nodes.append([None, None, 0, -1, None, 2 * len(self.nodes) if parent < 0 else parent])
        return len(self.nodes) - 1

    cdef list edge(self, int node, bytes segment):
        found = self.edges.get((node, segment))
        if found is None:
            found = self.edges[node, segment] = [-1, None]
            self.nodes[node][EDGES] += 1
        return found

    cdef put(self, list holder, int at, int route):
        if holder[at] is None:
            holder[at] = route
        elif type(holder[at]) is int:
            holder[at] = [holder[at], route]
        else:
            holder[at].append(route)

    cdef leaf(self, given):
        """Return how a leaf stands in the image: those with more conditions first, then in the order of the file."""
        if given is None:
            return 0
        if type(given) is int:
            return 2 * given + 1
        first = len(self.leaves) + 1
        self.leaves.extend([2 * route for route in sorted(given, key=lambda route: (-self.ranks[route], route))])
        self.leaves[len(self.leaves) - 1] += 1
        return 2 * first

    cdef add(self, bytes host, bytes path, bint is_exact, int route):
        cdef list at
        if not path.startswith(b"/") or not (is_exact or path.endswith(b"/")) or not 0 <= route < len(self.ranks):
            raise ValueError(f"not a route: {path!r}")
        node = self.hosts.get(host)
        if node is None:
            node = self.hosts[host] = self.node(-1)
        *inner, last = path[1:].split(b"/")
        for segment in inner:
            if segment == PARAMETER:
                at = self.nodes[node]
                if at[PARAM] < 0:
                    at[PARAM] = self.node(2 * node + 1)
                node = at[PARAM]
            else:
                at = self.edge(node, segment)
                if at[0] < 0:
                    at[0] = self.node(2 * node)
                node = at[0]
        if not last:
            self.put(self.nodes[node], EXACT if is_exact else PREFIX, route)
        elif last == PARAMETER:
            self.put(self.nodes[node], PARAM_LEAF, route)
        else:
            self.put(self.edge(node, last), 1, route)

    cdef uint32_t hosts_size(self):
        return power_above(len(self.hosts) - (b"" in self.hosts))

    cdef uint32_t edges_size(self):
        return power_above(len(self.edges))


cdef class Image:
    """One image being filled."""

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
        out.proxy_max = row.proxy_max
        out.proxy_ms = row.proxy_ms
        out.proxy_flags = row.proxy_flags


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


cdef class LimitLists:
    """The lists of limits, flat: equal ones stand once."""

    cdef readonly list flat
    cdef dict places

    def __init__(self, rows):
        self.flat = []
        self.places = {}
        for row in (*rows.frontends, *rows.backends, *rows.routes):
            if row.limits and row.limits not in self.places:
                self.places[row.limits] = len(self.flat)
                self.flat.extend(row.limits)

    cdef put(self, limit_list_t *out, limits):
        out.at = self.places[limits] if limits else 0
        out.n = len(limits)


cdef place_persistence(Image image, row):
    """Take room for what a backend persists by; put_persistence() fills it."""
    if row is None:
        return 0, 0, 0
    at = image.place(1, sizeof(persistence_t))
    return at, image.place(len(row.sticks), sizeof(stick_t)), image.place(len(row.exceptions), sizeof(stick_t))


cdef put_sticks(Image image, uint32_t at, rows, list tables):
    cdef stick_t *out = <stick_t *> (image.base + at)
    for i, row in enumerate(rows):
        out[i].table_at = tables[row.table] if row.table >= 0 else 0
        out[i].flags = row.flags
        out[i].expr = row.expr
        out[i].cond = row.cond


cdef put_persistence(Image image, place, row, list tables):
    cdef persistence_t *out
    at, sticks_at, exceptions_at = place
    out = <persistence_t *> (image.base + <uint32_t> at)
    image.text(&out.name, row.name)
    image.text(&out.tail, row.tail)
    image.text(&out.removal, row.removal)
    out.flags = row.flags
    out.max_idle_s = row.max_idle_s
    out.max_life_s = row.max_life_s
    out.sticks_at, out.sticks = sticks_at, len(row.sticks)
    out.exceptions_at, out.exceptions = exceptions_at, len(row.exceptions)
    out.forces = row.forces
    put_sticks(image, sticks_at, row.sticks, tables)
    put_sticks(image, exceptions_at, row.exceptions, tables)


cdef put_limits(Image image, plan_t *p, list rows, LimitLists lists, list oids, list tables):
    cdef uint32_t *flat = <uint32_t *> (<char *> p + p.limit_lists_at)
    cdef plan_limit_t *out
    for i, row in enumerate(rows):
        out = <plan_limit_t *> plan_limit(p, i)
        image.text(&out.name, row.name)
        image.text(&out.policy, row.policy)
        out.table_at = tables[row.table]
        out.interval_ns = row.interval_ns
        out.oid = oids[row.object]
        out.burst = row.burst
        out.quota = row.quota
        out.window_s = row.window_s
        out.expr = row.expr
        out.flags = row.flags
    for i, number in enumerate(lists.flat):
        flat[i] = number


cdef put_frontends(Image image, plan_t *p, list rows, list oids, list trees, list places, LimitLists limits):
    cdef plan_frontend_t *out
    for i, row in enumerate(rows):
        out = plan_frontend(p, i)
        out.oid = oids[row.object]
        image.text(&out.name, row.name)
        out.mode = row.mode
        out.flags = row.flags
        out.maxconn = row.maxconn
        out.default_route = row.default_route
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
        out.routes = len(row.places)
        out.max_requests = row.max_requests
        out.http_connection = row.http_connection
        out.close_both = row.close_both
        out.log_flags = row.log_flags
        out.logs_at, out.logs = row.logs
        out.mirror = row.mirror
        out.request_rules, out.response_rules, out.errors = row.rules.request, row.rules.response, row.rules.errors
        put_phases(&out.phases, row.rules)
        limits.put(&out.limits, row.limits)
        out.request_captures, out.response_captures = row.captures
        tree = trees[i]
        if tree is not None:
            out.hosts_at = (<Tree> tree).at
            put_tree(image, tree)


cdef put_phases(phases_t *out, rules):
    out.connection = rules.connection
    out.session = rules.session
    out.content = rules.content
    out.inspect_ms = rules.inspect_ms
    out.answer = rules.answer
    out.answer_inspect_ms = rules.answer_inspect_ms
    out.after = rules.after


cdef put_tree(Image image, Tree tree):
    cdef route_table_t *t = <route_table_t *> (image.base + tree.at)
    cdef route_host_t *hosts = <route_host_t *> (image.base + t.hosts_at)
    cdef route_edge_t *edges = <route_edge_t *> (image.base + t.edges_at)
    cdef route_node_t *nodes = <route_node_t *> (image.base + t.nodes_at)
    cdef uint32_t *leaves = <uint32_t *> (image.base + t.leaves_at)
    cdef uint32_t i, h
    cdef bytes name
    for i, node in enumerate(tree.nodes):
        nodes[i].prefix = node[PREFIX]
        nodes[i].exact = node[EXACT]
        nodes[i].edges = node[EDGES]
        nodes[i].param = node[PARAM] + 1
        nodes[i].param_leaf = node[PARAM_LEAF]
        nodes[i].parent = node[PARENT]
    for i, entry in enumerate(tree.leaves):
        leaves[i] = entry
    for name, root in tree.hosts.items():
        if not name:
            t.any_root = root + 1
            continue
        if name.startswith(b"."):
            t.wildcards |= <uint64_t> 1 << name.count(b".")
        h = route_hash(name, len(name), 0)
        i = h & (t.hosts_size - 1)
        while hosts[i].root:
            i = (i + 1) & (t.hosts_size - 1)
        hosts[i].hash = h
        hosts[i].root = root + 1
        image.text(&hosts[i].name, name)
    for (number, name), (child, leaf) in tree.edges.items():
        h = route_hash(name, len(name), number)
        i = h & (t.edges_size - 1)
        while edges[i].child | edges[i].leaf:
            i = (i + 1) & (t.edges_size - 1)
        edges[i].hash = h
        edges[i].node = number
        edges[i].child = child + 1
        edges[i].leaf = leaf
        image.text(&edges[i].segment, name)


cdef place_tree(Image image, Tree tree):
    """Take room for a tree's table and arrays; the table is filled once there is memory."""
    tree.at = image.place(1, sizeof(route_table_t))
    return (
        tree,
        image.place(tree.hosts_size(), sizeof(route_host_t)),
        image.place(tree.edges_size(), sizeof(route_edge_t)),
        image.place(len(tree.nodes), sizeof(route_node_t)),
        image.place(len(tree.leaves), sizeof(uint32_t)),
    )


cdef open_tree(Image image, Tree tree, hosts_at, edges_at, nodes_at, leaves_at, Routing routing):
    cdef route_table_t *t = <route_table_t *> (image.base + tree.at)
    t.hosts_at = hosts_at
    t.hosts_size = tree.hosts_size()
    t.edges_at = edges_at
    t.edges_size = tree.edges_size()
    t.nodes_at = nodes_at
    t.nodes = len(tree.nodes)
    t.leaves_at = leaves_at
    t.leaves = len(tree.leaves)
    t.extra_at = routing.text(tree.methods)
    t.extra = len(tree.methods)


cdef class Routing:
    """What routes lead to, flat: the arrays that all frontends share."""

    cdef list conditions
    cdef list shares
    cdef list pieces
    cdef list texts

    def __init__(self):
        self.conditions = []
        self.shares = []
        self.pieces = []
        self.texts = []

    cdef text(self, texts):
        """Add texts in a row and return the place of the first."""
        first = len(self.texts)
        self.texts.extend(texts)
        return first


cdef count_routing(rows, list trees):
    """Return how many conditions, shares, pieces and texts there will be."""
    conditions = sum([len(route.conditions) for route in rows.routes])
    values = sum([len(each.values) for route in rows.routes for each in route.conditions])
    shares = sum([len(split.shares) for split in rows.splits])
    pieces = sum([len(redirect.pieces) for redirect in rows.redirects])
    headers = sum([2 * len(reply.headers) for reply in rows.replies])
    methods = sum([len(tree.methods) for tree in trees if tree is not None])
    return conditions, shares, pieces, values + headers + methods


cdef put_routes(Image image, plan_t *p, rows, Routing routing, LimitLists limits):
    cdef plan_route_t *out
    cdef plan_condition_t *condition
    for i, row in enumerate(rows.routes):
        out = plan_route(p, i)
        image.text(&out.name, row.name)
        out.number = row.number
        out.kind = row.kind
        out.target = row.target
        out.methods = row.methods
        out.conditions_at = len(routing.conditions)
        out.conditions = len(row.conditions)
        routing.conditions.extend(row.conditions)
        out.retries = row.retries
        out.connect_ms = row.connect_ms
        out.server_ms = row.server_ms
        out.tunnel_ms = row.tunnel_ms
        out.client_ms = row.client_ms
        out.mirror = row.mirror
        limits.put(&out.limits, row.limits)
        if out.retries >= 0 or out.connect_ms | out.server_ms | out.tunnel_ms | out.client_ms:
            out.flags |= ROUTE_TIMES
    for i, row in enumerate(routing.conditions):
        condition = plan_condition(p, i)
        condition.kind = row.kind
        condition.test = row.test
        image.text(&condition.name, row.name)
        condition.values_at = routing.text(row.values)
        condition.values = len(row.values)


cdef put_key(Image image, plan_key_t *out, row):
    out.source = row.source
    out.hash = row.function
    out.flags = row.flags
    out.depth = row.depth
    out.len = row.len
    image.text(&out.name, row.name)


cdef put_targets(Image image, plan_t *p, rows, Routing routing):
    cdef plan_split_t *split
    cdef plan_share_t *share
    cdef plan_redirect_t *redirect
    cdef plan_piece_t *piece
    cdef plan_reply_t *reply
    for i, row in enumerate(rows.splits):
        split = plan_split(p, i)
        split.shares_at = len(routing.shares)
        split.shares = len(row.shares)
        routing.shares.extend(row.shares)
        put_key(image, &split.key, row.key)
        image.text(&split.cookie, row.cookie)
        image.text(&split.attributes, row.attributes)
    for i, (backend, weight) in enumerate(routing.shares):
        share = plan_share(p, i)
        share.backend = backend
        share.weight = weight
        # 64 bits of the name, the same on every machine.
        name = rows.backends[backend].name if backend < len(rows.backends) else b""
        share.identity = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
    for i, row in enumerate(rows.redirects):
        redirect = plan_redirect(p, i)
        redirect.kind = row.kind
        redirect.flags = row.flags
        redirect.status = row.status
        redirect.pieces_at = len(routing.pieces)
        redirect.pieces = len(row.pieces)
        routing.pieces.extend(row.pieces)
    for i, (text, segment) in enumerate(routing.pieces):
        piece = plan_piece(p, i)
        image.text(&piece.text, text)
        piece.segment = segment
    for i, row in enumerate(rows.replies):
        reply = plan_reply(p, i)
        reply.status = row.status
        image.text(&reply.type, row.content_type)
        image.text(&reply.body, row.body)
        reply.headers_at = routing.text([each for pair in row.headers for each in pair])
        reply.headers = len(row.headers)


cdef put_backends(Image image, plan_t *p, list rows, list oids, list offsets, LimitLists limits, list persistences):
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
        out.reuse = row.reuse
        out.http_connection = row.http_connection
        put_key(image, &out.key, row.key)
        out.server_fin_ms = row.server_fin_ms
        out.udp_responses = row.udp_responses
        out.udp_requests = row.udp_requests
        out.request_rules, out.response_rules, out.errors = row.rules.request, row.rules.response, row.rules.errors
        put_phases(&out.phases, row.rules)
        limits.put(&out.limits, row.limits)
        if row.persistence is not None:
            out.persistence_at = persistences[i][0]
            put_persistence(image, persistences[i], row.persistence, offsets[len(rows):])


cdef put_servers(Image image, plan_t *p, list rows, list oids):
    cdef uint32_t *slots = <uint32_t *> (<char *> p + p.by_oid_at)
    cdef plan_server_t *out
    cdef uint32_t slot
    cdef bytes address
    for i, row in enumerate(rows):
        out = plan_server(p, i)
        out.oid = oids[row.object]
        image.text(&out.name, row.name)
        image.text(&out.cookie, row.cookie)
        out.backend = row.backend
        out.weight = row.weight
        out.flags = row.flags
        out.send_proxy = row.send_proxy
        out.family = row.family
        address = row.address
        if len(address) > sizeof(out.address):
            raise ValueError(f"an address of {len(address)} bytes; at most {sizeof(out.address)} fit")
        out.address_len = len(address)
        memcpy(out.address, <char *> address, len(address))
        out.socket = row.socket
        out.link_hash = row.link_hash
        out.max_idle, out.idle_ms, out.max_requests, out.max_age_ms = row.pool
        slot = plan_oid_hash(out.oid) & (p.by_oid_size - 1)
        while slots[slot]:
            slot = (slot + 1) & (p.by_oid_size - 1)
        slots[slot] = i + 1


cdef put_name(plan_t *p, bytes name, uint32_t seed, uint32_t entry):
    cdef uint32_t *slots = <uint32_t *> (<char *> p + p.names_at)
    cdef uint32_t slot = route_hash(name, len(name), seed) & (p.names_size - 1)
    while slots[slot]:
        slot = (slot + 1) & (p.names_size - 1)
    slots[slot] = entry


cdef put_names(plan_t *p, rows):
    for i, row in enumerate(rows.backends):
        put_name(p, row.name, 0, i + 1)
    for i, row in enumerate(rows.servers):
        put_name(p, row.name, row.backend + 1, len(rows.backends) + i + 1)


cdef put_mirrors(plan_t *p, list rows):
    cdef plan_mirror_t *out
    for i, row in enumerate(rows):
        out = plan_mirror(p, i)
        out.backend = row.backend
        out.percent = row.percent
        out.max_body = row.max_body
        out.max_copies = row.max_copies
        out.timeout_ms = row.timeout_ms


cdef put_sockets(Image image, plan_t *p, list rows):
    cdef plan_socket_t *out
    cdef bytes source
    for i, row in enumerate(rows):
        out = plan_socket(p, i)
        out.flags = row.flags
        out.user_timeout_ms = row.user_timeout_ms
        out.mss = row.mss
        out.keepalive_idle_s, out.keepalive_interval_s, out.keepalive_count = row.keepalive
        image.text(&out.interface, row.interface)
        out.source_family = row.family
        source = row.source
        if len(source) > sizeof(out.source):
            raise ValueError(f"a source address of {len(source)} bytes; at most {sizeof(out.source)} fit")
        out.source_len = len(source)
        memcpy(out.source, <char *> source, len(source))
        out.port_low, out.port_high = row.ports


cdef put_logs(Image image, plan_t *p, list rows):
    cdef plan_log_t *out
    cdef log_op_t *op
    cdef uint32_t at = 0
    for i, row in enumerate(rows):
        out = plan_log(p, i)
        out.target = row.target
        out.format = row.format
        out.flags = row.flags
        out.error_level = row.error_level
        out.least = row.least
        out.gravest = row.gravest
        out.room = row.room
        out.sample_size = row.sample_size
        image.text(&out.sample, row.sample)
        out.ops_at = at
        out.ops = len(row.ops)
        for kind, flags, text, *number in row.ops:
            op = <log_op_t *> plan_log_op(p, at)
            op.kind = kind
            op.flags = flags
            op.number = number[0] if number else 0
            image.text(&op.text, text)
            at += 1


def build(generation, rows, oids, offsets):
    from lb._speedups.face.program import place as place_program
    from lb._speedups.face.program import put as put_program
    from lb._speedups.face.users import place as place_users
    from lb._speedups.face.users import put as put_users

    cdef Image image = Image()
    cdef plan_t *p
    cdef Routing routing = Routing()
    if len(offsets) != len(rows.backends) + rows.tables + rows.references:
        raise ValueError(
            f"{len(offsets)} places for {len(rows.backends)} backends, {rows.tables} tables, {rows.references} references"
        )
    places_at = len(rows.backends)
    references_at = places_at + rows.tables
    # The method counts as one condition.
    ranks = [len(route.conditions) + bool(route.methods) for route in rows.routes]
    trees = [Tree(row, ranks) if row.places else None for row in rows.frontends]
    image.place(1, sizeof(plan_t))
    listeners_at = image.place(len(rows.listeners), sizeof(plan_listener_t))
    frontends_at = image.place(len(rows.frontends), sizeof(plan_frontend_t))
    backends_at = image.place(len(rows.backends), sizeof(plan_backend_t))
    servers_at = image.place(len(rows.servers), sizeof(plan_server_t))
    sockets_at = image.place(len(rows.sockets), sizeof(plan_socket_t))
    logs_at = image.place(len(rows.logs), sizeof(plan_log_t))
    mirrors_at = image.place(len(rows.mirrors), sizeof(plan_mirror_t))
    nlogops = sum(len(row.ops) for row in rows.logs)
    logops_at = image.place(nlogops, sizeof(log_op_t))
    by_oid_size = power_above(len(rows.servers))
    by_oid_at = image.place(by_oid_size, sizeof(uint32_t))
    names_size = power_above(len(rows.backends) + len(rows.servers))
    names_at = image.place(names_size, sizeof(uint32_t))
    nconditions, nshares, npieces, ntexts = count_routing(rows, trees)
    routes_at = image.place(len(rows.routes), sizeof(plan_route_t))
    conditions_at = image.place(nconditions, sizeof(plan_condition_t))
    splits_at = image.place(len(rows.splits), sizeof(plan_split_t))
    shares_at = image.place(nshares, sizeof(plan_share_t))
    redirects_at = image.place(len(rows.redirects), sizeof(plan_redirect_t))
    pieces_at = image.place(npieces, sizeof(plan_piece_t))
    replies_at = image.place(len(rows.replies), sizeof(plan_reply_t))
    texts_at = image.place(ntexts, sizeof(text_t))
    limits = LimitLists(rows)
    limits_at = image.place(len(rows.limits), sizeof(plan_limit_t))
    limit_lists_at = image.place(len(limits.flat), sizeof(uint32_t))
    placed = [place_tree(image, tree) for tree in trees if tree is not None]
    for row in rows.listeners:
        image.place_netset(row.proxies)
    places = [place_forwarding(image, row) for row in rows.frontends]
    persistences = [place_persistence(image, row.persistence) for row in rows.backends]
    program = place_program(image, rows.program) if rows.program is not None else None
    users = place_users(image, rows.userlists) if rows.userlists else None
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
    p.nsockets, p.sockets_at = len(rows.sockets), sockets_at
    p.workers = rows.workers
    p.max_idle = rows.max_idle
    p.nlogs, p.logs_at = len(rows.logs), logs_at
    p.nmirrors, p.mirrors_at = len(rows.mirrors), mirrors_at
    p.nlogops, p.logops_at = nlogops, logops_at
    p.by_oid_size, p.by_oid_at = by_oid_size, by_oid_at
    p.names_size, p.names_at = names_size, names_at
    p.nroutes, p.routes_at = len(rows.routes), routes_at
    p.nconditions, p.conditions_at = nconditions, conditions_at
    p.nsplits, p.splits_at = len(rows.splits), splits_at
    p.nshares, p.shares_at = nshares, shares_at
    p.nredirects, p.redirects_at = len(rows.redirects), redirects_at
    p.npieces, p.pieces_at = npieces, pieces_at
    p.nreplies, p.replies_at = len(rows.replies), replies_at
    p.ntexts, p.texts_at = ntexts, texts_at
    p.nlimits, p.limits_at = len(rows.limits), limits_at
    p.nlimit_lists, p.limit_lists_at = len(limits.flat), limit_lists_at
    for tree, hosts_at, edges_at, nodes_at, leaves_at in placed:
        open_tree(image, tree, hosts_at, edges_at, nodes_at, leaves_at, routing)
    put_listeners(image, p, rows.listeners, oids)
    put_frontends(image, p, rows.frontends, oids, trees, places, limits)
    put_routes(image, p, rows, routing, limits)
    put_targets(image, p, rows, routing)
    for i, text in enumerate(routing.texts):
        image.text(plan_texts(p, i), text)
    put_backends(image, p, rows.backends, oids, offsets, limits, persistences)
    put_servers(image, p, rows.servers, oids)
    put_names(p, rows)
    put_mirrors(p, rows.mirrors)
    put_sockets(image, p, rows.sockets)
    put_logs(image, p, rows.logs)
    put_limits(image, p, rows.limits, limits, oids, offsets[len(rows.backends):])
    if program is not None:
        p.program_at = put_program(
            image, rows.program, program, offsets[places_at:references_at], offsets[references_at:]
        )
    if users is not None:
        p.users_at = put_users(image, rows.userlists, users)
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
