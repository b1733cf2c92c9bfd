from libc.stdint cimport uint8_t, uint32_t

from lb._speedups.policy.balance cimport BALANCE_DOWN, balance_members, balance_t
from lb._speedups.policy.persistence cimport (
    PERSISTED_DIRECT, PERSISTED_NAMED, persistence_request, persistence_response, persistence_store,
)
from lb._speedups.relay.relay cimport engine_t
from lb._speedups.relay.rules cimport rules_look


cdef void persist_request(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef balance_t *balance = <balance_t *> (<char *> e.mapping + st.backend.balance_at)
    cdef uint32_t place
    if st.settings != NULL and st.settings.use_server != 0:
        place = st.settings.use_server - 1 - st.backend.servers_at
        if not balance_members(balance)[place].flags & BALANCE_DOWN:
            # As in HAProxy: no cookie is asked then, and none is set.
            st.persisted.flags |= PERSISTED_NAMED | PERSISTED_DIRECT
    rules_look(st)
    persistence_request(&e.eval, st.request, balance, &st.persisted)


cdef void persist_store(stream_t *st) noexcept nogil:
    rules_look(st)
    persistence_store(&st.engine.eval, st.server_at)


cdef int persist_response(stream_t *st, message_t *m) noexcept nogil:
    rules_look(st)
    return persistence_response(&st.engine.eval, st.server_at, st.request, m, &st.persisted)


cdef void persist_forget(stream_t *st) noexcept nogil:
    st.persisted.server = 0
    st.persisted.flags &= <uint8_t> ~PERSISTED_DIRECT
    if st.persisted.cookie == c'V':
        st.persisted.cookie = c'D'
