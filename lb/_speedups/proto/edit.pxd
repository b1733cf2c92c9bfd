# Edits of a head beyond adding and deleting fields: method, target, status. Whatever a text was made from, what cannot be
# written as HTTP is refused here, and a refused edit changes nothing. New bytes go to the edit area (MESSAGE_EDIT_MAX for all
# edits of a head together).
from libc.stdint cimport uint16_t

from lb._speedups.proto.message cimport message_t

# Each answers 0, or -1: the text is not allowed there, or there is no room.

# Another method. HEAD and CONNECT change how the answer is framed: a request can neither become nor stop being one.
cdef int edit_method(message_t *m, const char *p, size_t n) noexcept nogil

# Another target in origin form: a path that begins with `/`, perhaps a query. Sets path and query too.
cdef int edit_target(message_t *m, const char *p, size_t n) noexcept nogil

# Another target of any form that a rule may give: origin form, `*` where it is `*` already, or an absolute one, whose authority
# becomes Host.
cdef int edit_uri(message_t *m, const char *p, size_t n) noexcept nogil

# Another path; the query stays. Or another query, without its `?`; none when n is 0.
cdef int edit_path(message_t *m, const char *p, size_t n) noexcept nogil
cdef int edit_query(message_t *m, const char *p, size_t n) noexcept nogil

# Another status, 200..599, and its reason phrase. Only between statuses whose answers are framed the same: to or from 204 and
# 304 is refused.
cdef int edit_status(message_t *m, uint16_t status, const char *reason, size_t n) noexcept nogil

# All live fields of this name are deleted.
cdef void edit_drop(message_t *m, const char *name, size_t len) noexcept nogil

# Field i has another value, and stays where it is.
cdef int edit_value(message_t *m, unsigned int i, const char *value, size_t n) noexcept nogil

# A field is added; of Host there is one, which names the authority from then on.
cdef int edit_add(message_t *m, const char *name, size_t len, const char *value, size_t n) noexcept nogil
