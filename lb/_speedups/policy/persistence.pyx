from libc.stdint cimport uint16_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from lb._speedups.policy.balance cimport BALANCE_DOWN, balance_members
from lb._speedups.policy.expression cimport cond_run, expr_run
from lb._speedups.policy.fetch_table cimport fetch_key
from lb._speedups.policy.plan cimport plan_server, plan_server_by_oid, plan_text
from lb._speedups.policy.program cimport program_of
from lb._speedups.policy.sample cimport SAMPLE_FOUND, sample_t
from lb._speedups.policy.table cimport (
    STORE_SERVER_ID, table_at, table_enter, table_entry_t, table_key_t, table_leave, table_read_locked, table_set_locked,
    table_t,
)
from lb._speedups.proto.message cimport (
    FIELD_DELETED, FIELD_EDIT, MESSAGE_BLOCK, MESSAGE_EDIT_MAX, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_POST,
    METHOD_TRACE, NAME_COOKIE, NAME_OTHER, NAME_SET_COOKIE, field_t, message_add, message_delete, message_find,
)


cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)


cdef enum:
    DATE = 5                     # digits of a date
    DATE_SLACK_S = 86400         # dates may lie so far in the future


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c' ' or c == c'\t'


# ---- dates ----


cdef int digit_of(char c) noexcept nogil:
    if c'A' <= c <= c'Z':
        return c - c'A'
    if c'a' <= c <= c'z':
        return c - c'a' + 26
    if c'0' <= c <= c'9':
        return c - c'0' + 52
    if c == c'+':
        return 62
    return 63 if c == c'/' else -1


# Seconds of a date, 0 when it is none.
cdef int32_t read_date(const char *p) noexcept nogil:
    cdef uint32_t n = 0
    cdef int i, digit
    for i in range(DATE):
        digit = digit_of(p[i])
        if digit < 0:
            return 0
        n = n << 6 | <uint32_t> digit
    return <int32_t> (n << 2)


cdef void put_date(char *p, uint32_t quads) noexcept nogil:
    cdef const char *digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    cdef int i
    for i in range(DATE):
        p[DATE - 1 - i] = digits[quads >> (6 * i) & 63]


# Whether a date is more than `most` seconds ago, or stands in the future. Differences wrap as HAProxy's do.
cdef bint is_over(int32_t now_s, int32_t date_s, int32_t most) noexcept nogil:
    cdef int32_t ago = <int32_t> (<uint32_t> now_s - <uint32_t> date_s)
    cdef int32_t ahead = <int32_t> (<uint32_t> date_s - <uint32_t> now_s)
    return ago > most or ahead > DATE_SLACK_S


# ---- what a Cookie field holds ----


# Where a value ends: at `,` or `;` outside quotes.
cdef int value_end(const char *p, int at, int end) noexcept nogil:
    cdef bint quoted = False
    while at < end:
        if quoted and p[at] == c'\\':
            at += 1
        elif p[at] == c'"':
            quoted = not quoted
        elif not quoted and (p[at] == c',' or p[at] == c';'):
            return at
        at += 1
    return min(at, end)


# One cookie of a field: offsets in its value.
cdef struct cookie_t:
    int name                     # first byte of its name
    int name_end
    int equal                    # its `=`, or where it ends without one
    int value
    int value_end                # without blanks
    int next                     # the delimiter behind it, or the field's end


cdef void read_cookie(const char *p, int at, int end, bint comma, cookie_t *k) noexcept nogil:
    while at < end and is_blank(p[at]):
        at += 1
    k.name = at
    k.name_end = at
    while at < end and p[at] != c'=' and p[at] != c';' and not (comma and p[at] == c','):
        at += 1
        if not is_blank(p[at - 1]):
            k.name_end = at
    k.equal = at
    if at == end or p[at] != c'=':
        k.value = at
        k.value_end = at
        k.next = at
        return
    at += 1
    while at < end and is_blank(p[at]):
        at += 1
    k.value = at
    k.next = value_end(p, at, end)
    k.value_end = k.next
    while k.value_end > k.value and is_blank(p[k.value_end - 1]):
        k.value_end -= 1


# Take the blanks around `=` away; the new end of the field.
cdef int tighten(char *p, int end, cookie_t *k) noexcept nogil:
    cdef int before = k.equal - k.name_end
    cdef int behind = k.value - (k.equal + 1)
    if before:
        memmove(p + k.name_end, p + k.equal, end - k.equal)
    if behind:
        memmove(p + k.name_end + 1, p + k.value - before, end - k.value)
    k.equal -= before
    k.value -= before + behind
    k.value_end -= before + behind
    k.next -= before + behind
    return end - before - behind


# Cut what stands between from_[0] and `next` out of a list, with one delimiter: by how much the rest moves back. from_[0] is where
# the next part begins.
cdef int cut_out(char *p, int end, int *from_, int next) noexcept nogil:
    cdef int to = from_[0]
    if to == 0:
        if next < end:
            next += 1
        while next < end and is_blank(p[next]):
            next += 1
    else:
        while to > 0 and is_blank(p[to - 1]):
            to -= 1
        from_[0] = to
        if next < end:
            p[to] = p[next]
            to += 1
            next += 1
            if to + 1 < next:
                p[to] = c' '
                to += 1
            while next < end and is_blank(p[next]):
                next += 1
    memmove(p + to, p + next, end - next)
    return next - to


# ---- requests ----


cdef struct look_t:
    const plan_t *plan
    const plan_backend_t *backend
    const persistence_t *persistence
    balance_t *balance
    int32_t now_s
    persisted_t *out


cdef inline bint is_down(const look_t *k, uint32_t i) noexcept nogil:
    return (balance_members(k.balance)[i].flags & BALANCE_DOWN) != 0


# The server that has this value, if it may be used.
cdef void find_server(look_t *k, const char *value, uint32_t n) noexcept nogil:
    cdef const plan_server_t *first = plan_server(k.plan, k.backend.servers_at)
    cdef uint32_t i
    for i in range(k.backend.servers):
        if first[i].cookie.len != n or memcmp(plan_text(k.plan, first[i].cookie), value, n) != 0:
            continue
        if not is_down(k, i) or k.persistence.flags & PERSIST_DOWN or k.out.flags & PERSISTED_FORCED:
            k.out.cookie = c'D' if is_down(k, i) else c'V'
            k.out.server = first[i].oid
            k.out.flags |= PERSISTED_DIRECT
            return
        k.out.cookie = c'D'                   # another one may share the value


# Our cookie, whose value is p[0:n]. Returns where the server's part of it ends.
cdef int judge_cookie(look_t *k, const char *p, int n) noexcept nogil:
    cdef const persistence_t *c = k.persistence
    cdef persisted_t *out = k.out
    cdef const char *bar
    cdef int end = n, at
    if c.flags & PERSIST_PREFIX:
        bar = <const char *> memchr(p, c'~', n)
        if bar != NULL:
            end = <int> (bar - p)
    else:
        bar = <const char *> memchr(p, c'|', n)
        if bar != NULL:
            end = <int> (bar - p)
            at = end + 1
            if n - at >= DATE and read_date(p + at) != 0:
                out.last_s = read_date(p + at)
            bar = <const char *> memchr(p + at, c'|', n - at)
            if bar != NULL and p + n - bar > DATE and read_date(bar + 1) != 0:
                out.first_s = read_date(bar + 1)
    at = end
    if out.first_s != 0 and c.max_life_s != 0 and is_over(k.now_s, out.first_s, c.max_life_s):
        out.cookie = c'O'
        at = 0
    elif out.last_s != 0 and c.max_idle_s != 0 and is_over(k.now_s, out.last_s, c.max_idle_s):
        out.cookie = c'E'
        at = 0
    if at == 0 and (out.cookie == c'O' or out.cookie == c'E'):
        out.first_s = 0
        out.last_s = 0
        end = 0
    if end != 0 and not out.flags & (PERSISTED_IGNORED | PERSISTED_NAMED | PERSISTED_DIRECT):
        find_server(k, p, end)
    if out.cookie == 0:
        out.cookie = c'U' if out.flags & (PERSISTED_IGNORED | PERSISTED_NAMED | PERSISTED_DIRECT) else c'I'
    return end


# Look at the cookies of a field, whose value is p[0:end], and change them. The length that is left.
cdef int look_at_field(look_t *k, char *p, int end) noexcept nogil:
    cdef const persistence_t *c = k.persistence
    cdef const char *name = plan_text(k.plan, c.name)
    cdef cookie_t found
    cdef int at = 0, drop = -1, delim, moved
    cdef bint first = True, keep = False, is_ours
    while at < end:
        read_cookie(p, at if first else at + 1, end, True, &found)
        first = False
        if found.name < end and p[found.name] == c'$':
            at = found.next                   # an attribute (RFC 2965): it goes with what stands before it
            continue
        is_ours = False
        if found.equal != found.next:
            if found.name_end != found.equal or found.value > found.equal + 1:
                end = tighten(p, end, &found)
            is_ours = found.name_end - found.name == <int> c.name.len and memcmp(p + found.name, name, c.name.len) == 0
        if is_ours:
            delim = found.value + judge_cookie(k, p + found.value, found.value_end - found.value)
            if c.flags & PERSIST_PREFIX and delim != found.value_end:
                # The rest is the application's.
                moved = delim + 1 - found.value
                memmove(p + found.value, p + delim + 1, end - (delim + 1))
                found.next -= moved
                end -= moved
                drop = -1
                keep = True
            elif drop < 0 and (c.flags & (PERSIST_INSERT | PERSIST_INDIRECT)) == (PERSIST_INSERT | PERSIST_INDIRECT):
                drop = at
        else:
            keep = True
            if drop >= 0:
                moved = cut_out(p, end, &drop, at)
                found.next -= moved
                end -= moved
                drop = -1
        at = found.next
    if drop >= 0:
        end = drop if keep else 0
    return end


cdef void look_at_cookies(look_t *k, message_t *m) noexcept nogil:
    cdef field_t *field
    cdef unsigned int i
    cdef int left
    if m.by_name[<unsigned int> NAME_COOKIE] == 0:
        return
    for i in range(m.by_name[<unsigned int> NAME_COOKIE] - 1, m.nfields):
        field = &m.fields[i]
        if field.id != NAME_COOKIE or field.flags & FIELD_DELETED:
            continue
        left = look_at_field(k, m.block + field.value_at, field.value_len)
        if left == field.value_len:
            continue
        if left == 0:
            message_delete(m, i)
            continue
        field.value_len = <uint16_t> left
        field.flags |= FIELD_EDIT             # to be written from its name and value, not as it came


# ---- stick tables ----


cdef bint holds(eval_t *c, const stick_t *rule) noexcept nogil:
    cdef int r
    if rule.cond == 0:
        return True
    c.used = 0
    r = cond_run(c, program_of(c.view.plan), rule.cond - 1)
    return (r > 0) != ((rule.flags & STICK_UNLESS) != 0)


cdef bint key_of(eval_t *c, const stick_t *rule, table_key_t *key) noexcept nogil:
    cdef sample_t s
    s.flags = 0
    c.used = 0
    return expr_run(c, program_of(c.view.plan), rule.expr, &s) == SAMPLE_FOUND \
        and fetch_key(c, table_at(c.view.mapping, rule.table_at), &s, key) == SAMPLE_FOUND


# The place of the server that an entry names among those of the backend, -1 = it has none (any more).
cdef int place_of(const look_t *k, uint32_t oid) noexcept nogil:
    cdef const plan_server_t *first = plan_server(k.plan, k.backend.servers_at)
    cdef const plan_server_t *server = plan_server_by_oid(k.plan, oid) if oid != 0 else NULL
    cdef uint32_t i
    if server == NULL:
        return -1
    if first <= server < first + k.backend.servers:
        return <int> (server - first)
    # Another backend has stored it: a server of the same name is meant.
    for i in range(k.backend.servers):
        if first[i].name.len == server.name.len and memcmp(
                plan_text(k.plan, first[i].name), plan_text(k.plan, server.name), server.name.len) == 0:
            return <int> i
    return -1


cdef void match(eval_t *c, look_t *k, const stick_t *rule) noexcept nogil:
    cdef table_t *t = table_at(c.view.mapping, rule.table_at)
    cdef table_key_t key
    cdef table_entry_t *e
    cdef uint32_t oid = 0
    cdef int i
    if not holds(c, rule) or not key_of(c, rule, &key):
        return
    e = table_enter(c.view.mapping, t, &key, c.view.now_ms, False)
    if e == NULL:
        return
    oid = <uint32_t> table_read_locked(t, e, STORE_SERVER_ID, 0, c.view.now_ms)
    table_leave(t, key.shard)
    e = table_enter(c.view.mapping, t, &key, c.view.now_ms, True)     # it was used
    if e != NULL:
        table_leave(t, key.shard)
    i = place_of(k, oid)
    if i < 0 or k.out.flags & (PERSISTED_NAMED | PERSISTED_DIRECT):
        return
    if not is_down(k, <uint32_t> i) or k.persistence.flags & PERSIST_DOWN or k.out.flags & PERSISTED_FORCED:
        k.out.server = plan_server(k.plan, k.backend.servers_at)[i].oid
        k.out.flags |= PERSISTED_DIRECT


cdef void persistence_request(eval_t *c, message_t *m, balance_t *balance, persisted_t *out) noexcept nogil:
    cdef const persistence_t *p = persistence_of(c.view.plan, c.view.backend)
    cdef const stick_t *exceptions = <const stick_t *> (<const char *> c.view.plan + p.exceptions_at)
    cdef const stick_t *sticks = <const stick_t *> (<const char *> c.view.plan + p.sticks_at)
    cdef look_t k
    cdef uint32_t i
    k.plan = c.view.plan
    k.backend = c.view.backend
    k.persistence = p
    k.balance = balance
    k.now_s = <int32_t> (c.view.now_us // 1000000)
    k.out = out
    for i in range(p.exceptions):
        if holds(c, &exceptions[i]):
            out.flags |= PERSISTED_FORCED if i < p.forces else PERSISTED_IGNORED
            break
    if p.name.len != 0:
        look_at_cookies(&k, m)
    for i in range(p.sticks):
        if sticks[i].flags & STICK_MATCH:
            match(c, &k, &sticks[i])


cdef void persistence_store(eval_t *c, const plan_server_t *server) noexcept nogil:
    cdef const persistence_t *p = persistence_of(c.view.plan, c.view.backend)
    cdef const stick_t *sticks = <const stick_t *> (<const char *> c.view.plan + p.sticks_at)
    cdef uint64_t stored[STICK_STORES]
    cdef table_key_t key
    cdef table_entry_t *e
    cdef table_t *t
    cdef uint32_t i, j, n = 0, wanted
    # Those of the request first, as HAProxy has them.
    for j in range(2):
        wanted = STICK_STORE_RESPONSE if j else STICK_STORE_REQUEST
        for i in range(p.sticks):
            if not sticks[i].flags & wanted or n == STICK_STORES or was_stored(stored, n, sticks[i].table_at):
                continue
            if not holds(c, &sticks[i]) or not key_of(c, &sticks[i], &key):
                continue
            stored[n] = sticks[i].table_at
            n += 1
            t = table_at(c.view.mapping, sticks[i].table_at)
            e = table_enter(c.view.mapping, t, &key, c.view.now_ms, True)
            if e != NULL:
                table_set_locked(t, e, STORE_SERVER_ID, 0, server.oid)
                table_leave(t, key.shard)


cdef bint was_stored(const uint64_t *stored, uint32_t n, uint64_t at) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if stored[i] == at:
            return True
    return False


# ---- answers ----


# Give a field another value, put together from three parts. 0, or -1: no room.
cdef int replace_value(
    message_t *m, field_t *field, const char *a, size_t na, const char *b, size_t nb, const char *c, size_t nc
) noexcept nogil:
    cdef size_t n = na + nb + nc
    cdef char *to = m.block + m.edit_at
    if n > <size_t> (MESSAGE_BLOCK - m.edit_at):
        return -1
    memcpy(to, a, na)
    memcpy(to + na, b, nb)
    memcpy(to + na + nb, c, nc)
    field.value_at = m.edit_at
    field.value_len = <uint16_t> n
    field.flags |= FIELD_EDIT
    m.edit_at += <uint16_t> n
    return 0


# One Set-Cookie of the server. 0, or -1: no room.
cdef int look_at_set_cookie(
    const plan_t *plan, const persistence_t *c, const plan_server_t *server, message_t *m, unsigned int i, persisted_t *st
) noexcept nogil:
    cdef field_t *field = &m.fields[i]
    cdef char *p = m.block + field.value_at
    cdef int end = field.value_len
    cdef cookie_t k
    read_cookie(p, 0, end, False, &k)
    if k.equal == k.value_end:
        return 0                              # no `=`
    if k.name_end != k.equal or k.value > k.equal + 1:
        end = tighten(p, end, &k)
        field.value_len = <uint16_t> end
        field.flags |= FIELD_EDIT
    if st.flags & PERSISTED_IGNORED or k.name_end - k.name != <int> c.name.len \
            or memcmp(p + k.name, plan_text(plan, c.name), c.name.len) != 0:
        return 0
    st.set_ = c'P'
    if c.flags & PERSIST_PRESERVE:
        return 0
    if c.flags & PERSIST_INSERT or (st.flags & PERSISTED_DIRECT and c.flags & PERSIST_INDIRECT):
        message_delete(m, i)
        st.set_ = c'D'
        return 0
    if server.cookie.len == 0 or not c.flags & (PERSIST_REWRITE | PERSIST_PREFIX):
        return 0
    st.set_ = c'R'
    if c.flags & PERSIST_REWRITE:
        return replace_value(
            m, field, p, k.value, plan_text(plan, server.cookie), server.cookie.len, p + k.value_end, end - k.value_end
        )
    return prefix_value(plan, server, m, field, p, &k, end)


cdef int prefix_value(
    const plan_t *plan, const plan_server_t *server, message_t *m, field_t *field, const char *p, const cookie_t *k, int end
) noexcept nogil:
    cdef char value[MESSAGE_EDIT_MAX]
    if server.cookie.len >= sizeof(value):
        return -1
    memcpy(value, plan_text(plan, server.cookie), server.cookie.len)
    value[server.cookie.len] = c'~'
    return replace_value(m, field, p, k.value, value, server.cookie.len + 1, p + k.value, end - k.value)


# Whether the client gets a cookie of ours: its server is another one than it asked for, or a date is to be made new.
cdef bint is_due(const persistence_t *c, const message_t *request, const persisted_t *st, int32_t now_s) noexcept nogil:
    cdef int32_t ahead = <int32_t> (<uint32_t> st.last_s - <uint32_t> now_s)
    if not c.flags & PERSIST_INSERT or st.flags & PERSISTED_IGNORED or (st.set_ == c'P' and c.flags & PERSIST_PRESERVE):
        return False
    if c.flags & PERSIST_POSTONLY and request.method != METHOD_POST:
        return False
    return (
        not st.flags & PERSISTED_DIRECT
        or ((c.max_idle_s != 0 or st.last_s != 0) and (st.last_s == 0 or ahead < 0))
        or (c.max_life_s != 0) != (st.first_s != 0)
    )


# ---- caches (HAProxy's view of what they may keep, for `nocache`) ----


cdef bint is_word(const char *p, size_t n, const char *word, size_t len, bint whole) noexcept nogil:
    cdef size_t i
    if n < len or (whole and n != len):
        return False
    for i in range(len):
        if (p[i] | 0x20 if c'A' <= p[i] <= c'Z' else p[i]) != word[i]:
            return False
    return True


# What one directive of Cache-Control makes of the state: 1 = may be kept, 0 = may not.
cdef void hear_directive(const char *p, size_t n, bint *kept, bint *fresh, bint *stale) noexcept nogil:
    if is_word(p, n, b"public", 6, True):
        kept[0] = True
    elif is_word(p, n, b"max-age=0", 9, True):
        stale[0] = True
    elif is_word(p, n, b"private", 7, True) or is_word(p, n, b"no-cache", 8, True) or is_word(p, n, b"no-store", 8, True) \
            or is_word(p, n, b"s-maxage=0", 10, True):
        kept[0] = False
    elif is_word(p, n, b"s-maxage", 8, False):
        fresh[0] = True
        stale[0] = False
    elif is_word(p, n, b"max-age", 7, False):
        fresh[0] = True


cdef bint has_field(const message_t *m, const char *name, size_t n) noexcept nogil:
    return message_find(m, name, n, 0) >= 0


cdef bint is_cacheable(const message_t *request, const message_t *m) noexcept nogil:
    cdef bint kept, fresh = False, stale = False
    cdef const char *p
    cdef size_t at, end, stop
    cdef int i = -1
    kept = request.method == METHOD_GET or request.method == METHOD_HEAD or request.method == METHOD_OPTIONS \
        or request.method == METHOD_TRACE
    if not (m.status == 200 or m.status == 203 or m.status == 204 or m.status == 206 or m.status == 300 or m.status == 301
            or m.status == 404 or m.status == 405 or m.status == 410 or m.status == 414 or m.status == 501):
        kept = False
    i = message_find(m, b"pragma", 6, 0)
    if i >= 0 and is_word(m.block + m.fields[i].value_at, m.fields[i].value_len, b"no-cache", 8, True):
        return False
    i = message_find(m, b"cache-control", 13, 0)
    while i >= 0:
        p = m.block + m.fields[i].value_at
        end = m.fields[i].value_len
        at = 0
        while at < end:
            stop = at
            while stop < end and p[stop] != c',':
                stop += 1
            while at < stop and is_blank(p[at]):
                at += 1
            hear_directive(p + at, trimmed(p, at, stop), &kept, &fresh, &stale)
            at = stop + 1
        i = message_find(m, b"cache-control", 13, <unsigned int> i + 1)
    if stale:
        kept = False
    return kept and (fresh or has_field(m, b"expires", 7) or has_field(m, b"etag", 4) or has_field(m, b"last-modified", 13))


cdef size_t trimmed(const char *p, size_t at, size_t stop) noexcept nogil:
    while stop > at and is_blank(p[stop - 1]):
        stop -= 1
    return stop - at


# ---- the cookie of ours ----


cdef int insert(
    eval_t *c, const persistence_t *p, const plan_server_t *server, const message_t *request, message_t *m, persisted_t *st,
    int32_t now_s, bint cacheable
) noexcept nogil:
    cdef char value[MESSAGE_EDIT_MAX]
    cdef const plan_t *plan = c.view.plan
    cdef uint32_t quads = (<uint32_t> now_s + 3) >> 2
    cdef size_t n = p.name.len
    if n + server.cookie.len + p.tail.len + p.removal.len + 2 * (DATE + 1) + 1 > sizeof(value):
        return -1
    memcpy(value, plan_text(plan, p.name), n)
    if server.cookie.len == 0:
        memcpy(value + n, plan_text(plan, p.removal), p.removal.len)
        n += p.removal.len
    else:
        value[n] = c'='
        memcpy(value + n + 1, plan_text(plan, server.cookie), server.cookie.len)
        n += 1 + server.cookie.len
        if p.max_idle_s or p.max_life_s:
            value[n] = c'|'
            put_date(value + n + 1, quads)
            n += 1 + DATE
        if p.max_life_s:
            value[n] = c'|'
            put_date(value + n + 1, <uint32_t> st.first_s >> 2 if st.first_s else quads)
            n += 1 + DATE
        memcpy(value + n, plan_text(plan, p.tail), p.tail.len)
        n += p.tail.len
    if message_add(m, NAME_SET_COOKIE, b"Set-Cookie", 10, value, n) != 0:
        return -1
    st.set_ = c'U' if server.cookie.len and st.flags & PERSISTED_DIRECT else c'I'
    if cacheable:
        return message_add(m, NAME_OTHER, b"Cache-Control", 13, b"private", 7)
    return 0


cdef int persistence_response(
    eval_t *c, const plan_server_t *server, const message_t *request, message_t *m, persisted_t *st
) noexcept nogil:
    cdef const persistence_t *p = persistence_of(c.view.plan, c.view.backend)
    cdef int32_t now_s = <int32_t> (c.view.now_us // 1000000)
    cdef unsigned int i
    if p.name.len == 0:
        return 0
    if m.by_name[<unsigned int> NAME_SET_COOKIE]:
        for i in range(m.by_name[<unsigned int> NAME_SET_COOKIE] - 1, m.nfields):
            if m.fields[i].id != NAME_SET_COOKIE or m.fields[i].flags & FIELD_DELETED:
                continue
            if look_at_set_cookie(c.view.plan, p, server, m, i, st) != 0:
                return -1
    if not is_due(p, request, st, now_s):
        return 0
    return insert(c, p, server, request, m, st, now_s, (p.flags & PERSIST_NOCACHE) != 0 and is_cacheable(request, m))
