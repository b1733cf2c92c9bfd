from lb._speedups.policy.sample cimport SAMPLE_NONE, sample_bool, sample_int
from lb._speedups.policy.table cimport (
    STORE_BYTES_IN_CNT, STORE_BYTES_IN_RATE, STORE_BYTES_OUT_CNT, STORE_BYTES_OUT_RATE, STORE_CONN_CNT, STORE_CONN_CUR,
    STORE_CONN_RATE, STORE_GLITCH_CNT, STORE_GLITCH_RATE, STORE_GPC, STORE_GPC0, STORE_GPC0_RATE, STORE_GPC1,
    STORE_GPC1_RATE, STORE_GPC_RATE, STORE_GPT, STORE_GPT0, STORE_HTTP_ERR_CNT, STORE_HTTP_ERR_RATE, STORE_HTTP_FAIL_CNT,
    STORE_HTTP_FAIL_RATE, STORE_HTTP_REQ_CNT, STORE_HTTP_REQ_RATE, STORE_SERVER_ID, STORE_SESS_CNT, STORE_SESS_RATE, STORES,
    table_add_locked, table_current_locked, table_read_locked, table_set_locked, table_touch_locked,
)


# Where a thing of its own, or the one in an array that stands for it, is: its store, STORES = neither is stored.
cdef inline uint32_t either(const table_t *t, uint32_t own, uint32_t array, uint32_t number, uint32_t *cell) noexcept nogil:
    if t.columns[own].cells != 0:
        cell[0] = 0
        return own
    cell[0] = number
    return array if number < t.columns[array].cells else <uint32_t> STORES


# What a look reads.
cdef uint32_t store_of(const table_t *t, uint32_t look, uint32_t *cell) noexcept nogil:
    if look == LOOK_CONN_CNT or look == LOOK_UPDT_CONN_CNT:
        return STORE_CONN_CNT
    if look == LOOK_CONN_CUR:
        return STORE_CONN_CUR
    if look == LOOK_CONN_RATE:
        return STORE_CONN_RATE
    if look == LOOK_SESS_CNT:
        return STORE_SESS_CNT
    if look == LOOK_SESS_RATE:
        return STORE_SESS_RATE
    if look == LOOK_HTTP_REQ_CNT:
        return STORE_HTTP_REQ_CNT
    if look == LOOK_HTTP_REQ_RATE:
        return STORE_HTTP_REQ_RATE
    if look == LOOK_HTTP_ERR_CNT:
        return STORE_HTTP_ERR_CNT
    if look == LOOK_HTTP_ERR_RATE:
        return STORE_HTTP_ERR_RATE
    if look == LOOK_HTTP_FAIL_CNT:
        return STORE_HTTP_FAIL_CNT
    if look == LOOK_HTTP_FAIL_RATE:
        return STORE_HTTP_FAIL_RATE
    if look == LOOK_GLITCH_CNT:
        return STORE_GLITCH_CNT
    if look == LOOK_GLITCH_RATE:
        return STORE_GLITCH_RATE
    if look == LOOK_BYTES_IN_RATE:
        return STORE_BYTES_IN_RATE
    if look == LOOK_BYTES_OUT_RATE:
        return STORE_BYTES_OUT_RATE
    if look == LOOK_KBYTES_IN:
        return STORE_BYTES_IN_CNT
    if look == LOOK_KBYTES_OUT:
        return STORE_BYTES_OUT_CNT
    if look == LOOK_SERVER_ID:
        return STORE_SERVER_ID
    if look == LOOK_GPC0 or look == LOOK_CLR_GPC0:
        return either(t, STORE_GPC0, STORE_GPC, 0, cell)
    if look == LOOK_GPC1 or look == LOOK_CLR_GPC1:
        return either(t, STORE_GPC1, STORE_GPC, 1, cell)
    if look == LOOK_GPT0:
        return either(t, STORE_GPT0, STORE_GPT, 0, cell)
    if look == LOOK_GPC0_RATE:
        return either(t, STORE_GPC0_RATE, STORE_GPC_RATE, 0, cell)
    if look == LOOK_GPC1_RATE:
        return either(t, STORE_GPC1_RATE, STORE_GPC_RATE, 1, cell)
    if look == LOOK_GPC or look == LOOK_CLR_GPC:
        return STORE_GPC
    if look == LOOK_GPT:
        return STORE_GPT
    if look == LOOK_GPC_RATE:
        return STORE_GPC_RATE
    return STORES


cdef bint look_count_locked(
    table_t *t, uint32_t shard, table_entry_t *e, uint32_t counter, uint32_t cell, uint64_t n, uint64_t now_ms, uint64_t *now
) noexcept nogil:
    cdef uint32_t count = STORE_GPC, rate = STORE_GPC_RATE
    cdef uint32_t count_cell = cell, rate_cell = cell
    if counter == LOOK_GPC0:
        count = either(t, STORE_GPC0, STORE_GPC, 0, &count_cell)
        rate = either(t, STORE_GPC0_RATE, STORE_GPC_RATE, 0, &rate_cell)
    elif counter == LOOK_GPC1:
        count = either(t, STORE_GPC1, STORE_GPC, 1, &count_cell)
        rate = either(t, STORE_GPC1_RATE, STORE_GPC_RATE, 1, &rate_cell)
    if count < STORES and count_cell >= t.columns[count].cells:
        count = STORES
    if rate < STORES and rate_cell >= t.columns[rate].cells:
        rate = STORES
    if count == STORES and rate == STORES:
        return False
    if rate < STORES:
        table_add_locked(t, e, rate, rate_cell, n, now_ms)
        now[0] = table_current_locked(t, e, rate, rate_cell)
    if count < STORES:
        table_add_locked(t, e, count, count_cell, n, now_ms)
        now[0] = table_read_locked(t, e, count, count_cell, now_ms)
    table_touch_locked(t, shard, e, now_ms)
    return True


cdef void look_mark_locked(
    table_t *t, uint32_t shard, table_entry_t *e, uint32_t tag, uint32_t cell, uint64_t value, uint64_t now_ms
) noexcept nogil:
    cdef uint32_t store = store_of(t, tag, &cell)
    if store < STORES and cell < t.columns[store].cells:
        table_set_locked(t, e, store, cell, value)
        table_touch_locked(t, shard, e, now_ms)


cdef int look_locked(
    table_t *t, uint32_t shard, table_entry_t *e, uint32_t look, uint32_t cell, uint64_t now_ms, sample_t *s
) noexcept nogil:
    cdef uint32_t store, counter
    cdef uint64_t value
    if look == LOOK_TRACKERS:
        return sample_int(s, e.refs)
    if look == LOOK_TRACKED or look == LOOK_IN_TABLE:
        return sample_bool(s, True)
    if look == LOOK_IDLE or look == LOOK_EXPIRE:
        if t.expire_ms == 0:
            return SAMPLE_NONE
        value = now_ms - e.touched_ms if now_ms > e.touched_ms else 0
        value = min(value, t.expire_ms)
        return sample_int(s, <int64_t> (value if look == LOOK_IDLE else t.expire_ms - value))
    if look == LOOK_INC_GPC0 or look == LOOK_INC_GPC1 or look == LOOK_INC_GPC:
        counter = LOOK_GPC0 if look == LOOK_INC_GPC0 else LOOK_GPC1 if look == LOOK_INC_GPC1 else LOOK_GPC
        if not look_count_locked(t, shard, e, counter, cell, 1, now_ms, &value):
            value = 0
        return sample_int(s, <int64_t> value)
    if not look_is_numbered(look):
        cell = 0
    store = store_of(t, look, &cell)
    if store >= STORES or cell >= t.columns[store].cells:
        return SAMPLE_NONE
    if look == LOOK_UPDT_CONN_CNT:
        table_add_locked(t, e, store, 0, 1, now_ms)
        table_touch_locked(t, shard, e, now_ms)
    value = table_read_locked(t, e, store, cell, now_ms)
    if look == LOOK_CLR_GPC0 or look == LOOK_CLR_GPC1 or look == LOOK_CLR_GPC:
        table_set_locked(t, e, store, cell, 0)
        table_touch_locked(t, shard, e, now_ms)
    elif look == LOOK_KBYTES_IN or look == LOOK_KBYTES_OUT:
        value >>= 10
    return sample_int(s, <int64_t> value)
