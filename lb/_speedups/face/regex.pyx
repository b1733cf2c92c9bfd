# Regular expressions for the control plane: patterns are checked here when a configuration is read, and health checks match
# with the limits that workers have.
from libc.stdint cimport uint8_t
from libc.string cimport memset

from lb._speedups.policy.regex cimport (
    REGEX_IGNORE_CASE, REGEX_LIMIT, REGEX_MESSAGE, REGEX_PATTERN_MAX, REGEX_SPANS, REGEX_YES, regex_budget_t,
    regex_expand, regex_fault_t, regex_is_available, regex_match, regex_message, regex_shelf_free, regex_shelf_init,
    regex_shelf_t, regex_span_t, regex_t, regex_take, regex_version,
)

IGNORE_CASE = REGEX_IGNORE_CASE
PATTERN_MAX = REGEX_PATTERN_MAX


class RegexError(ValueError):
    """Raise for a pattern that cannot be compiled: the argument says why, `at` is the byte where it was noticed."""

    def __init__(self, str message, int at):
        super().__init__(message)
        self.at = at


class RegexLimit(Exception):
    """Raise when a match reached a limit, so that nobody knows its answer."""


def version():
    """Return PCRE2's version; empty when lb was built without it."""
    cdef char text[REGEX_MESSAGE]
    return text[:regex_version(text)].decode()


def is_available():
    """Return whether lb was built with PCRE2."""
    return regex_is_available()


cdef class Regex:
    """A pattern, and a shelf that has nothing but it."""

    cdef regex_shelf_t shelf
    cdef regex_t *regex

    def __cinit__(self, bytes pattern not None, bint ignore_case=False):
        cdef regex_fault_t fault
        cdef char text[REGEX_MESSAGE]
        memset(&self.shelf, 0, sizeof(self.shelf))
        if not regex_is_available():
            raise RegexError("lb was built without PCRE2, which regular expressions need", 0)
        if regex_shelf_init(&self.shelf) != 0:
            raise MemoryError
        self.regex = regex_take(
            &self.shelf, <char *> pattern, len(pattern), <uint8_t> REGEX_IGNORE_CASE if ignore_case else 0, &fault)
        if self.regex == NULL:
            if fault.code == 0:
                raise MemoryError
            raise RegexError(text[:regex_message(fault.code, text)].decode("utf-8", "replace"), fault.at)

    def __dealloc__(self):
        regex_shelf_free(&self.shelf)

    @property
    def is_jit(self):
        return self.regex.is_jit != 0

    def search(self, subject not None, bint not_begin=False):
        """Return (begin, end) of the match and of groups 1 to 9, None for one that took no part; or None. Raise RegexLimit."""
        cdef bytes text = bytes(subject)
        cdef const char *p = text
        cdef size_t n = len(text)
        cdef regex_budget_t budget
        cdef regex_span_t spans[REGEX_SPANS]
        cdef int r
        budget.calls = 0
        with nogil:
            r = regex_match(&self.shelf, self.regex, p, n, not_begin, &budget, spans)
        if r == REGEX_LIMIT:
            raise RegexLimit
        if r != REGEX_YES:
            return None
        return tuple(None if spans[i].at < 0 else (spans[i].at, spans[i].end) for i in range(REGEX_SPANS))

    def expand(self, bytes subject not None, bytes format not None):
        """Return `format` with references to the first match in the subject; None when there is none, or it is cut in an escape."""
        cdef regex_budget_t budget
        cdef regex_span_t spans[REGEX_SPANS]
        cdef ssize_t n
        budget.calls = 0
        if regex_match(&self.shelf, self.regex, <char *> subject, len(subject), False, &budget, spans) != REGEX_YES:
            return None
        out = bytearray(65536)
        n = regex_expand(<char *> subject, spans, <char *> format, len(format), out, len(out))
        return None if n < 0 else bytes(out[:n])
