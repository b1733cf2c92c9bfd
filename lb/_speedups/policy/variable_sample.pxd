# Variables as samples: what fetches, converters and actions do with them. Which store an id belongs to is decided here, and
# whether its scope is there now: `req.` is not once there is a response, `res.` not before.
from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.policy.sample cimport eval_t, sample_t

# The value of a variable: SAMPLE_FOUND or SAMPLE_NONE. Its bytes are good until the variable changes, those of a variable of
# the process until the scratch is emptied.
cdef int variable_read(eval_t *c, uint64_t id, sample_t *s) noexcept nogil

# Keep a sample, on these conditions (VARIABLE_IF_*). 0, or -1: it was not kept.
cdef int variable_write(eval_t *c, uint64_t id, uint32_t conditions, const sample_t *s) noexcept nogil

cdef void variable_unset(eval_t *c, uint64_t id) noexcept nogil

# Copy bytes that may be a variable's into the scratch, so that they outlive it. False: no room.
cdef bint variable_detach(eval_t *c, sample_t *s) noexcept nogil
