"""Variables of the process for Python: made by the supervisor, shown and set on the admin socket."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset, strlen

from lb._speedups.base.clock cimport clock_init, clock_mono_ms, clock_real_us, clock_t_
from lb._speedups.base.mapping cimport mapping_oldest, mapping_t
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.expression cimport expr_run, format_run
from lb._speedups.policy.plan cimport plan_check, plan_t
from lb._speedups.policy.program cimport program_of
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_FOUND, SAMPLE_METH, SAMPLE_SCRATCH, SAMPLE_STR, SAMPLE_TEXT_MAX, eval_t, sample_t, view_t,
)
from lb._speedups.policy.variable cimport (
    PROCESS_CELLS, PROCESS_VALUE_MAX, SCOPE_PROC, process_give, process_make, process_put, process_take, process_value,
    process_variable, process_variable_t, process_variables, value_t, variable_scope_of,
)
from lb._speedups.proto.message cimport METHOD_OTHER

import os

globals().update(PROCESS_CELLS=PROCESS_CELLS, PROCESS_VALUE_MAX=PROCESS_VALUE_MAX)


cdef mapping_t *mapping_in(Mapping mapping) except NULL:
    if mapping.m == NULL:
        raise ValueError("the mapping is closed")
    return mapping.m


cdef uint64_t id_of(int64_t number) except 0:
    if variable_scope_of(<uint64_t> number) != SCOPE_PROC:
        raise ValueError(f"{number} is no variable of the process")
    return <uint64_t> number


def place_variable(Mapping mapping, int64_t number, str name, *, generation=None):
    """Give a variable its place; without a generation it keeps it for good. True: it had none. Raise OSError."""
    cdef mapping_t *m = mapping_in(mapping)
    cdef bytes raw = name.encode()
    known = process_variable(m, id_of(number)) != NULL
    if process_make(
        m, id_of(number), raw, len(raw), <uint64_t> -1 if generation is None else <uint64_t> generation, mapping_oldest(m)
    ) == NULL:
        PyErr_SetFromErrno(OSError)
    return not known


def read_variable(Mapping mapping, int64_t number):
    """Return (type, integer, method, text or address) of a variable; None: it is not known; type 0: it is not set."""
    cdef process_variable_t *cell = process_variable(mapping_in(mapping), id_of(number))
    cdef value_t *v
    if cell == NULL or process_take(cell) != 0:
        return None
    v = &process_value(cell).value
    found = v.type, v.i, v.method, process_value(cell).text[:v.len], (<char *> v.address)[:16]
    process_give(cell)
    return found


def write_variable(Mapping mapping, int64_t number, uint8_t type, *, int64_t integer=0, uint8_t method=0, bytes text=b"",
                   bytes address=b""):
    """Set a variable that has a place. False: it has none, or the value is too long."""
    cdef process_variable_t *cell = process_variable(mapping_in(mapping), id_of(number))
    cdef value_t head
    cdef int r
    if cell == NULL or process_take(cell) != 0:
        return False
    memset(&head, 0, sizeof(head))
    head.type = type
    head.i = integer
    head.method = method
    head.len = len(text)
    memcpy(head.address, <char *> address, min(len(address), 16))
    r = process_put(cell, &head, text)
    process_give(cell)
    return r == 0


def evaluate(Mapping mapping, bytes image, *, bint is_format=False):
    """Return (type, integer, method, text, address) of the first expression, or the text of the first format, of a plan; None:
    nothing is there."""
    cdef plan_t *p
    cdef view_t view
    cdef eval_t c
    cdef clock_t_ clock
    cdef sample_t s
    cdef ssize_t n
    # Aligned as a mapped one is.
    room = bytearray(len(image) + 64)
    scratch = bytearray(SAMPLE_SCRATCH)
    p = <plan_t *> ((<size_t> <char *> room + 63) & ~<size_t> 63)
    memcpy(p, <char *> image, len(image))
    if plan_check(p, len(image)) or p.program_at == 0 or (program_of(p).formats if is_format else program_of(p).exprs) == 0:
        raise ValueError("not a plan with a program")
    memset(&view, 0, sizeof(view))
    view.is_final = 1
    memset(&c, 0, sizeof(c))
    memset(&s, 0, sizeof(s))
    clock_init(&clock)
    view.plan = p
    view.mapping = mapping_in(mapping)
    view.now_ms = clock_mono_ms(&clock)
    view.now_us = clock_real_us(&clock)
    c.view = &view
    c.scratch = scratch
    c.random = int.from_bytes(os.urandom(8), "little")
    if is_format:
        out = bytearray(SAMPLE_TEXT_MAX)
        n = format_run(&c, program_of(p), 0, out, SAMPLE_TEXT_MAX)
        return None if n < 0 else (SAMPLE_STR, 0, 0, bytes(out[:n]), bytes(16))
    if expr_run(&c, program_of(p), 0, &s) != SAMPLE_FOUND:
        return None
    has_text = s.type == SAMPLE_STR or s.type == SAMPLE_BIN or (s.type == SAMPLE_METH and s.method == METHOD_OTHER)
    return s.type, s.i, s.method, s.p[:s.len] if has_text else b"", (<char *> s.address)[:16]


def variable_names(Mapping mapping):
    """Return the names of all variables that have a place."""
    cdef mapping_t *m = mapping_in(mapping)
    cdef uint64_t at = process_variables(m).first_at
    cdef process_variable_t *cell
    names = []
    while at != 0:
        cell = <process_variable_t *> (<char *> m + at)
        names.append(cell.name[:strlen(cell.name)].decode())
        at = cell.later_at
    return sorted(names)
