from libc.stdint cimport uint32_t
from libc.string cimport memchr, memset

from lb._speedups.base.password cimport (
    PASSWORD_MAX, PASSWORD_RIGHT, PASSWORD_UNKNOWN, PASSWORD_WRONG, password_known, password_same,
)
from lb._speedups.policy.convert_codec cimport codec_from_base64
from lb._speedups.policy.fetch cimport (
    FETCH_HTTP_AUTH, FETCH_HTTP_AUTH_BEARER, FETCH_HTTP_AUTH_GROUP, FETCH_HTTP_AUTH_PASS, FETCH_HTTP_AUTH_TYPE,
    FETCH_HTTP_AUTH_USER, arg_at,
)
from lb._speedups.policy.fields cimport bytes_t, field_at
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_WAIT, sample_bool, sample_text,
)
from lb._speedups.policy.users cimport user_t, users_find


cdef struct slice_t:
    const char *p
    size_t n


cdef struct login_t:
    slice_t user
    slice_t password


# `scheme value`: its parts, with any number of blanks between them. False: it has not both.
cdef bint split(const bytes_t *field, slice_t *scheme, slice_t *value) noexcept nogil:
    cdef const char *blank = <const char *> memchr(field.p, c' ', field.n)
    cdef size_t at
    if blank == NULL or blank == field.p:
        return False
    scheme.p = field.p
    scheme.n = <size_t> (blank - field.p)
    at = scheme.n
    while at < field.n and field.p[at] == c' ':
        at += 1
    value.p = field.p + at
    value.n = field.n - at
    return True


# RFC 9110 11.1: names of schemes know no case. `word` is in lower case.
cdef bint is_scheme(const slice_t *scheme, const char *word, size_t n) noexcept nogil:
    cdef size_t i
    if scheme.n != n:
        return False
    for i in range(n):
        if (scheme.p[i] | 0x20) != word[i]:
            return False
    return True


cdef bint credentials(eval_t *c, const char *name, size_t len, slice_t *scheme, slice_t *value) noexcept nogil:
    cdef bytes_t field
    if c.view.request == NULL or not field_at(c.view.request, name, len, False, 1, &field):
        return False
    return split(&field, scheme, value)


# User and password of Basic credentials, decoded into the scratch.
cdef bint login(eval_t *c, login_t *out) noexcept nogil:
    cdef slice_t scheme, value
    cdef const char *colon
    cdef sample_t s
    if not credentials(c, b"authorization", 13, &scheme, &value) or not is_scheme(&scheme, b"basic", 5):
        return False
    memset(&s, 0, sizeof(s))
    sample_text(&s, value.p, value.n, SAMPLE_CONST)
    if codec_from_base64(c, &s, False) != SAMPLE_FOUND:
        return False
    colon = <const char *> memchr(s.p, c':', s.len)
    if colon == NULL:
        return False
    out.user.p = s.p
    out.user.n = <size_t> (colon - s.p)
    out.password.p = colon + 1
    out.password.n = s.len - out.user.n - 1
    return True


cdef int check(eval_t *c, const user_t *user, const slice_t *password) noexcept nogil:
    cdef const char *secret = plan_text(c.view.plan, user.secret)
    cdef char given[PASSWORD_MAX + 1]
    cdef uint32_t i
    if password.n > PASSWORD_MAX:
        return PASSWORD_WRONG
    if not user.plain:
        if c.view.passwords == NULL:
            return PASSWORD_WRONG
        return password_known(c.view.passwords, secret, user.secret.len, password.p, <uint32_t> password.n)
    # Padded to one length, so that the time does not tell the password's.
    memset(given, 0, sizeof(given))
    for i in range(user.secret.len):
        if i < password.n:
            given[i] = password.p[i]
    if password_same(given, secret, user.secret.len) and password.n == user.secret.len:
        return PASSWORD_RIGHT
    return PASSWORD_WRONG


# http_auth, http_auth_group: whether the list has this user with this password; the second is his name then.
cdef int is_user(eval_t *c, const program_t *g, const op_t *op, bint named, sample_t *s) noexcept nogil:
    cdef const arg_t *list = arg_at(c, g, op, 0, ARG_INT)
    cdef const user_t *user
    cdef login_t said
    cdef int answer = PASSWORD_WRONG
    if list == NULL or not login(c, &said):
        return SAMPLE_NONE
    user = users_find(c.view.plan, <uint32_t> list.i, said.user.p, said.user.n)
    if user != NULL:
        answer = check(c, user, &said.password)
    if answer == PASSWORD_UNKNOWN and c.view.passwords.can_ask:
        return SAMPLE_WAIT
    if not named:
        return sample_bool(s, answer == PASSWORD_RIGHT)
    if answer != PASSWORD_RIGHT:
        return SAMPLE_NONE
    sample_text(s, said.user.p, said.user.n, SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int bearer(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *name = arg_at(c, g, op, 0, ARG_TEXT)
    cdef slice_t scheme, value
    if name == NULL:
        if not credentials(c, b"authorization", 13, &scheme, &value):
            return SAMPLE_NONE
    elif not credentials(c, plan_text(c.view.plan, name.text), name.text.len, &scheme, &value):
        return SAMPLE_NONE
    if not is_scheme(&scheme, b"bearer", 6):
        return SAMPLE_NONE
    sample_text(s, value.p, value.n, SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int scheme_of(eval_t *c, sample_t *s) noexcept nogil:
    cdef slice_t scheme, value
    cdef login_t said
    if not credentials(c, b"authorization", 13, &scheme, &value):
        return SAMPLE_NONE
    if is_scheme(&scheme, b"bearer", 6):
        sample_text(s, b"Bearer", 6, SAMPLE_CONST)
        return SAMPLE_FOUND
    if not login(c, &said):
        return SAMPLE_NONE
    sample_text(s, b"Basic", 5, SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int fetch_auth(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef login_t said
    if code == FETCH_HTTP_AUTH or code == FETCH_HTTP_AUTH_GROUP:
        return is_user(c, g, op, code == FETCH_HTTP_AUTH_GROUP, s)
    if code == FETCH_HTTP_AUTH_BEARER:
        return bearer(c, g, op, s)
    if code == FETCH_HTTP_AUTH_TYPE:
        return scheme_of(c, s)
    if not login(c, &said):
        return SAMPLE_NONE
    if code == FETCH_HTTP_AUTH_USER:
        sample_text(s, said.user.p, said.user.n, SAMPLE_CONST)
        return SAMPLE_FOUND
    if code == FETCH_HTTP_AUTH_PASS:
        sample_text(s, said.password.p, said.password.n, SAMPLE_CONST)
        return SAMPLE_FOUND
    return SAMPLE_NONE
