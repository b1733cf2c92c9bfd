# Converters of a family: moments (seconds, or with ms_ and us_ parts of them, since 1970) as text. See convert.pxd.
#
# ltime and utime are libc's strftime: every conversion it has, in the locale of the process, which is C's unless a host program
# has set another. What no calendar can show finds nothing; a text that does not fit is empty, as strftime's answer is.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int convert_time(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
