from libc.stdint cimport uint32_t
from libc.string cimport memset

from lb._speedups.base.ledger cimport ledger_of, ledger_t
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.io.conn cimport conn_reset
from lb._speedups.policy.action cimport ACTION_EXPECT_PROXY, ACTION_SILENT_DROP
from lb._speedups.policy.rule cimport RULES_DONE, RULES_VERDICT, verdict_t
from lb._speedups.policy.table cimport (
    COUNT_REQUEST, COUNT_SESSION, TABLE_TRACKS, table_count, table_release,
)
from lb._speedups.relay.link cimport link_close
from lb._speedups.relay.relay cimport engine_t, tracked_t
from lb._speedups.relay.rules cimport rules_apply_link
from lb._speedups.relay.settings cimport settings_silence


# Keep what rules have tracked. 0, or -1 without memory: it was given back.
cdef int keep(link_t *l, const tracked_t *found) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef uint32_t places = 0
    cdef int i
    for i in range(TABLE_TRACKS):
        places |= found.tracks[i].place
    if places == 0:
        return 0
    if l.tracked == NULL:
        l.tracked = <tracked_t *> pool_take(&e.tracked_pool)
    if l.tracked != NULL:
        l.tracked[0] = found[0]
        return 0
    release(e, found)
    return -1


cdef void release(engine_t *e, const tracked_t *found) noexcept nogil:
    cdef int i
    for i in range(TABLE_TRACKS):
        if found.tracks[i].place != 0:
            table_release(e.mapping, ledger_of(e.mapping, e.slot), found.tracks[i].place, e.now_ms)


# ADMIT_*; with ADMIT_NO the link is still there, and `silent` says whether its client is not to be told.
cdef int run(link_t *l, uint32_t ruleset, bint *silent) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef int answer = ADMIT_YES
    cdef tracked_t found
    cdef verdict_t verdict
    cdef int r
    if l.tracked != NULL:
        found = l.tracked[0]
    else:
        memset(&found, 0, sizeof(found))
    silent[0] = False
    verdict.at = 0
    verdict.lax = 0
    while True:
        r = rules_apply_link(l, ruleset, found.tracks, &verdict)
        if r == RULES_VERDICT and verdict.rule.action == ACTION_EXPECT_PROXY:
            answer = ADMIT_PROXY
            verdict.at += 1
            continue
        break
    if r != RULES_DONE:
        if r != RULES_VERDICT:
            e.rows[l.frontend_oid].internal_errors += 1
        elif verdict.rule.action == ACTION_SILENT_DROP:
            silent[0] = True
        answer = ADMIT_NO
    if keep(l, &found) != 0:
        e.rows[l.frontend_oid].internal_errors += 1
        answer = ADMIT_NO
    return answer


cdef int admit_connection(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef bint silent
    cdef int answer = run(l, l.frontend.phases.connection, &silent)
    if answer == ADMIT_NO:
        e.rows[l.frontend_oid].denied_conn += 1
        e.rows[l.listener_oid].denied_conn += 1
        if silent:
            settings_silence(l)
        else:
            conn_reset(&l.conn)               # the cheapest end: nothing is left to wait for, on either side
        link_close(l)
    return answer


cdef bint admit_session(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef ledger_t *ledger = ledger_of(e.mapping, e.slot)
    cdef bint silent
    cdef int i
    if l.frontend.phases.session != 0 and run(l, l.frontend.phases.session, &silent) == ADMIT_NO:
        e.rows[l.frontend_oid].denied_sess += 1
        e.rows[l.listener_oid].denied_sess += 1
        if silent:
            settings_silence(l)
        link_close(l)
        return False
    if l.tracked != NULL:
        for i in range(TABLE_TRACKS):
            if l.tracked.tracks[i].place != 0:
                table_count(e.mapping, ledger, l.tracked.tracks[i].place, COUNT_SESSION, e.now_ms)
    return True


cdef void admit_request(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef ledger_t *ledger = ledger_of(e.mapping, e.slot)
    cdef int i
    for i in range(TABLE_TRACKS):
        if l.tracked.tracks[i].place != 0:
            l.tracked.tracks[i].number = table_count(
                e.mapping, ledger, l.tracked.tracks[i].place, COUNT_REQUEST, e.now_ms
            )


cdef void admit_release(link_t *l) noexcept nogil:
    release(l.engine, l.tracked)
    pool_give(&l.engine.tracked_pool, l.tracked)
    l.tracked = NULL
