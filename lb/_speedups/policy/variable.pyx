from libc.errno cimport ENOSPC
from libc.string cimport memcpy, memmove, memset

from lb._speedups.base.lock cimport LOCK_BROKEN, LOCK_LOST, lock_give, lock_init, lock_repaired, lock_take
from lb._speedups.base.mapping cimport mapping_allocate, set_errno
from lb._speedups.base.pool cimport pool_drain, pool_give, pool_init, pool_take


cdef extern from "lb.h" nogil:
    void LB_KILL_POINT(const char *name)
    uint64_t lb_load_u64(uint64_t *p)
    void lb_store_u32(uint32_t *p, uint32_t value)
    void lb_store_u64(uint64_t *p, uint64_t value)


cdef enum:
    KEEP_STORES = 256            # free objects that the pools keep
    KEEP_VALUES = 64


cdef void variable_pools_init(variable_pools_t *pools, pool_t *buffers) noexcept nogil:
    pool_init(&pools.stores, b"variables", sizeof(variables_t), KEEP_STORES)
    pool_init(&pools.nodes, b"variable", sizeof(variable_t), KEEP_STORES)
    pool_init(&pools.values, b"value", VARIABLE_MEDIUM, KEEP_VALUES)
    pools.buffers = buffers


cdef void variable_pools_drain(variable_pools_t *pools) noexcept nogil:
    pool_drain(&pools.stores)
    pool_drain(&pools.nodes)
    pool_drain(&pools.values)


cdef inline uint32_t chain_of(uint64_t id) noexcept nogil:
    return <uint32_t> (id >> 8) & (VARIABLE_CHAINS - 1)


cdef variable_t *variable_find(const variables_t *store, uint64_t id) noexcept nogil:
    cdef variable_t *v
    if store == NULL:
        return NULL
    v = store.chains[chain_of(id)]
    while v != NULL and v.id != id:
        v = v.next
    return v


# ---- room ----


cdef inline uint32_t limit_of(uint8_t scope) noexcept nogil:
    if scope == SCOPE_SESS:
        return VARIABLE_SESS_MAX
    if scope == SCOPE_REQ or scope == SCOPE_RES:
        return VARIABLE_REQ_MAX
    return VARIABLE_TXN_MAX


cdef inline uint32_t room_for(uint32_t n) noexcept nogil:
    return VARIABLE_INLINE if n <= VARIABLE_INLINE else VARIABLE_MEDIUM if n <= VARIABLE_MEDIUM else VARIABLE_LARGE


# What a variable with this much room takes.
cdef inline uint32_t cost_of(uint32_t room) noexcept nogil:
    return <uint32_t> sizeof(variable_t) + (0 if room == VARIABLE_INLINE else room)


cdef inline pool_t *pool_of(variable_pools_t *pools, uint32_t room) noexcept nogil:
    return &pools.values if room == VARIABLE_MEDIUM else pools.buffers


cdef void free_variable(variable_pools_t *pools, variables_t *store, variable_t *v) noexcept nogil:
    if v.room != VARIABLE_INLINE:
        pool_give(pool_of(pools, v.room), v.p)
    store.bytes[variable_scope_of(v.id)] -= cost_of(v.room)
    store.count -= 1
    pool_give(&pools.nodes, v)


cdef void variable_drop(variable_pools_t *pools, variables_t *store, uint64_t id) noexcept nogil:
    cdef variable_t **at
    cdef variable_t *v
    if store == NULL:
        return
    at = &store.chains[chain_of(id)]
    while at[0] != NULL:
        v = at[0]
        if v.id == id:
            at[0] = v.next
            free_variable(pools, store, v)
            return
        at = &v.next


# Make an empty store if there is none. NULL without memory.
cdef variables_t *store_of(variable_pools_t *pools, variables_t **store) noexcept nogil:
    if store[0] == NULL:
        store[0] = <variables_t *> pool_take(&pools.stores)
        if store[0] != NULL:
            memset(store[0], 0, sizeof(variables_t))
    return store[0]


cdef int variable_keep(
    variable_pools_t *pools, variables_t **store, uint64_t id, const value_t *head, const char *text
) noexcept nogil:
    cdef uint8_t scope = variable_scope_of(id)
    cdef variables_t *s = store_of(pools, store)
    cdef variable_t *v = variable_find(s, id)
    cdef variable_t *made
    cdef uint32_t room = room_for(head.len)
    if s == NULL:
        return -1
    if v != NULL and v.room == room:
        memmove(v.p, text, head.len)
        v.value = head[0]
        return 0
    # The old one stays until the text is copied: the text may be its own.
    made = NULL
    if head.len <= VARIABLE_LARGE and scope < SCOPES \
            and s.bytes[scope] - (cost_of(v.room) if v != NULL else 0) + cost_of(room) <= limit_of(scope):
        made = <variable_t *> pool_take(&pools.nodes)
    if made != NULL:
        made.id = id
        made.value = head[0]
        made.room = room
        made.p = <char *> made.own if room == VARIABLE_INLINE else <char *> pool_take(pool_of(pools, room))
        if made.p == NULL:
            pool_give(&pools.nodes, made)
            made = NULL
        else:
            memcpy(made.p, text, head.len)
    if v != NULL:
        variable_drop(pools, s, id)
    if made == NULL:
        return -1
    made.next = s.chains[chain_of(id)]
    s.chains[chain_of(id)] = made
    s.bytes[scope] += cost_of(room)
    s.count += 1
    return 0


cdef void variables_forget(variable_pools_t *pools, variables_t *store, uint8_t scope) noexcept nogil:
    cdef variable_t **at
    cdef variable_t *v
    cdef int i
    if store == NULL or store.bytes[scope] == 0:
        return
    for i in range(VARIABLE_CHAINS):
        at = &store.chains[i]
        while at[0] != NULL:
            v = at[0]
            if variable_scope_of(v.id) == scope:
                at[0] = v.next
                free_variable(pools, store, v)
            else:
                at = &v.next


cdef void variables_free(variable_pools_t *pools, variables_t *store) noexcept nogil:
    cdef variable_t *v
    cdef int i
    if store == NULL:
        return
    for i in range(VARIABLE_CHAINS):
        while store.chains[i] != NULL:
            v = store.chains[i]
            store.chains[i] = v.next
            free_variable(pools, store, v)
    pool_give(&pools.stores, store)


# ---- of the process ----


cdef inline process_variable_t *cell_at(mapping_t *m, uint64_t at) noexcept nogil:
    return <process_variable_t *> (<char *> m + at)


cdef inline uint64_t *process_chain(mapping_t *m, uint64_t id) noexcept nogil:
    return &process_variables(m).chains[(id >> 8) & (PROCESS_CHAINS - 1)]


cdef process_variable_t *process_variable(mapping_t *m, uint64_t id) noexcept nogil:
    cdef uint64_t at = lb_load_u64(process_chain(m, id))
    cdef int steps = 0
    # A cell that is given another name may lead into another chain: whoever goes astray there finds an end.
    while at != 0 and steps < PROCESS_CELLS:
        if cell_at(m, at).id == id:
            return cell_at(m, at)
        at = lb_load_u64(&cell_at(m, at).next_at)
        steps += 1
    return NULL


cdef int process_take(process_variable_t *cell) noexcept nogil:
    cdef int r = lock_take(&cell.lock)
    if r == LOCK_LOST:
        return -1
    if r == LOCK_BROKEN:
        lock_repaired(&cell.lock)             # the value that is current is whole
    return 0


cdef void process_give(process_variable_t *cell) noexcept nogil:
    lock_give(&cell.lock)


cdef int process_put(process_variable_t *cell, const value_t *head, const char *text) noexcept nogil:
    cdef uint32_t other = 1 - (cell.current & 1)
    cdef process_value_t *to = &cell.values[other]
    if head.len > PROCESS_VALUE_MAX:
        memset(&to.value, 0, sizeof(value_t))
    else:
        memcpy(to.text, text, head.len)
        to.value = head[0]
    LB_KILL_POINT(b"variable.written")
    lb_store_u32(&cell.current, other)
    return 0 if head.len <= PROCESS_VALUE_MAX else -1


# Take a cell out of its chain.
cdef void unchain(mapping_t *m, process_variable_t *cell) noexcept nogil:
    cdef uint64_t *at = process_chain(m, cell.id)
    while at[0] != 0:
        if cell_at(m, at[0]) == cell:
            lb_store_u64(at, cell.next_at)
            return
        at = &cell_at(m, at[0]).next_at


# A cell that no generation in use names, or a fresh one.
cdef process_variable_t *spare_cell(mapping_t *m, uint64_t oldest) noexcept nogil:
    cdef process_variables_t *all_ = process_variables(m)
    cdef uint64_t at = all_.first_at
    if all_.cells < PROCESS_CELLS:
        at = mapping_allocate(m, sizeof(process_variable_t))
        if at == 0:
            return NULL
        if lock_init(&cell_at(m, at).lock) != 0:
            return NULL
        cell_at(m, at).later_at = all_.first_at
        all_.first_at = at
        all_.cells += 1
        return cell_at(m, at)
    while at != 0:
        if cell_at(m, at).generation < oldest:
            unchain(m, cell_at(m, at))
            return cell_at(m, at)
        at = cell_at(m, at).later_at
    set_errno(ENOSPC)
    return NULL


cdef process_variable_t *process_make(
    mapping_t *m, uint64_t id, const char *name, size_t len, uint64_t generation, uint64_t oldest
) noexcept nogil:
    cdef process_variable_t *cell = process_variable(m, id)
    cdef value_t unset
    if cell == NULL:
        cell = spare_cell(m, oldest)
        if cell == NULL:
            return NULL
        if process_take(cell) != 0:
            return NULL
        memset(&unset, 0, sizeof(unset))
        process_put(cell, &unset, b"")
        cell.id = id
        memset(cell.name, 0, PROCESS_NAME)
        memcpy(cell.name, name, len if len < PROCESS_NAME else PROCESS_NAME - 1)
        cell.generation = 0
        process_give(cell)
        cell.next_at = process_chain(m, id)[0]
        lb_store_u64(process_chain(m, id), <uint64_t> (<char *> cell - <char *> m))
    if cell.generation < generation:
        cell.generation = generation
    return cell
