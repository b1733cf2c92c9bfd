"""Maps and ACL files for Python: read by the compiler, kept by the supervisor, shown and changed on the admin socket."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memset

from lb._speedups.base.lock cimport lock_init
from lb._speedups.base.mapping cimport mapping_t
from lb._speedups.base.store cimport STORE_AT, STORE_BYTES, STORE_PAGE, store_holds, store_release, store_reserve
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.program cimport MATCH_INT, MATCH_IP
from lb._speedups.policy.reference cimport (
    RECORD_LIVE, RECORD_VALUED, REFERENCE_ADDRESSES, REFERENCE_BAD_KEY, REFERENCE_BAD_VALUE, REFERENCE_DIGITS, REFERENCE_DONE,
    REFERENCE_FULL, REFERENCE_INTEGERS, REFERENCE_KEY_MAX, REFERENCE_LOST, REFERENCE_MAP, REFERENCE_NETS, REFERENCE_NONE,
    REFERENCE_NUMBERS, REFERENCE_SHORT, REFERENCE_USES, image_append, image_begin, image_bytes, image_key, image_record,
    image_settle, image_t, image_value, record_bytes, record_key, record_t, reference_append, reference_at, reference_delete,
    reference_delete_record, reference_find, reference_fold, reference_image, reference_judge, reference_measure,
    reference_set, reference_set_record, reference_t, value_t, value_text,
)
from lb._speedups.policy.sample cimport (
    SAMPLE_ADDR, SAMPLE_CONST, SAMPLE_SCRATCH, SAMPLE_SINT, SAMPLE_STR, eval_t, sample_cast, sample_t, sample_text,
)

import time


cdef extern from "lb.h" nogil:
    uint32_t lb_load_u32(const uint32_t *p)
    uint64_t lb_load_u64(const uint64_t *p)
    void lb_store_u64(uint64_t *p, uint64_t value)


globals().update(
    REFERENCE_USES=REFERENCE_USES,
    REFERENCE_KEY_MAX=REFERENCE_KEY_MAX,
    REFERENCE_MAP=REFERENCE_MAP,
    REFERENCE_INTEGERS=REFERENCE_INTEGERS,
    REFERENCE_ADDRESSES=REFERENCE_ADDRESSES,
    REFERENCE_NETS=REFERENCE_NETS,
    REFERENCE_NUMBERS=REFERENCE_NUMBERS,
    REFERENCE_DIGITS=REFERENCE_DIGITS,
    REFERENCE_SHORT=REFERENCE_SHORT,
    REFERENCE_DONE=REFERENCE_DONE,
    REFERENCE_FULL=REFERENCE_FULL,
    REFERENCE_BAD_KEY=REFERENCE_BAD_KEY,
    REFERENCE_BAD_VALUE=REFERENCE_BAD_VALUE,
    REFERENCE_NONE=REFERENCE_NONE,
    REFERENCE_LOST=REFERENCE_LOST,
    STORE_PAGE=STORE_PAGE,
    STORE_AT=<uint64_t> STORE_AT,
    STORE_BYTES=<uint64_t> STORE_BYTES,
)

cdef enum:
    # Bytes of an entry that nobody has written yet: what room is left for is counted in these.
    SLACK_BYTES = 96
    # Bytes in front of the first image.
    HEADER = 4096


ctypedef struct line_t:
    uint64_t key
    uint64_t value
    uint32_t key_len
    uint32_t value_len
    uint32_t line


cdef mapping_t *mapping_in(Mapping mapping) except NULL:
    if mapping.m == NULL:
        raise ValueError("the mapping is closed")
    return mapping.m


cdef reference_t *reference_in(Mapping mapping, uint64_t at) except NULL:
    mapping_in(mapping)
    if at % 64 or not store_holds(at, sizeof(reference_t)):
        raise ValueError(f"no reference at {at}")
    return reference_at(mapping.m, at)


cdef const image_t *image_of(Mapping mapping, const reference_t *ref):
    return reference_image(mapping.m, lb_load_u64(&ref.image_at))


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c' ' or c == c'\t'


cdef class Entries:
    cdef bytes content
    cdef line_t *lines
    cdef size_t n
    cdef bint is_map
    cdef bint is_raw

    def __init__(self, bytes content, bint is_map, bint is_raw=False):
        self.content = content
        self.is_map = is_map
        self.is_raw = is_raw
        self.read()

    def __dealloc__(self):
        free(self.lines)

    def __len__(self):
        return self.n

    cdef int read(self) except -1:
        cdef const char *base = self.content
        cdef const char *p = base
        cdef const char *end = base + len(self.content)
        cdef const char *stop
        cdef const char *here
        cdef line_t *made
        cdef line_t *out
        cdef size_t room = 0
        cdef uint32_t number = 0
        cdef bint failed = False
        with nogil:
            while p < end:
                stop = <const char *> memchr(p, c'\n', <size_t> (end - p))
                if stop == NULL:
                    stop = end
                here = p
                p = stop + 1
                number += 1
                if here < stop and here[0] == c'#' and not self.is_raw:
                    continue
                while not self.is_raw and stop > here and (is_blank((stop - 1)[0]) or (stop - 1)[0] == c'\r'):
                    stop -= 1
                while not self.is_raw and here < stop and is_blank(here[0]):
                    here += 1
                if here == stop or (here[0] == c'#' and not self.is_map and not self.is_raw):
                    continue
                if self.n == room:
                    room = 2 * room + 64
                    made = <line_t *> realloc(self.lines, room * sizeof(line_t))
                    if made == NULL:
                        failed = True
                        break
                    self.lines = made
                out = &self.lines[self.n]
                self.n += 1
                out.line = number
                out.key = <uint64_t> (here - base)
                if self.is_map:
                    while here < stop and not is_blank(here[0]):
                        here += 1
                else:
                    here = stop
                out.key_len = <uint32_t> (<uint64_t> (here - base) - out.key)
                while here < stop and is_blank(here[0]):
                    here += 1
                out.value = <uint64_t> (here - base)
                out.value_len = <uint32_t> (stop - here)
        if failed:
            raise MemoryError
        return 0

    def judge(self, uint32_t flags):
        cdef const char *base = self.content
        cdef const line_t *line
        cdef size_t i
        cdef int answer = REFERENCE_DONE
        with nogil:
            for i in range(self.n):
                line = &self.lines[i]
                answer = reference_judge(
                    flags, base + line.key, line.key_len, base + line.value if self.is_map else NULL, line.value_len
                )
                if answer != REFERENCE_DONE:
                    break
        if answer == REFERENCE_DONE:
            return None
        line = &self.lines[i]
        key, value = line.key, line.value
        return (
            line.line, answer, self.content[key : key + line.key_len], self.content[value : value + line.value_len]
        )

    cdef uint64_t heap(self, uint32_t flags, uint64_t slack):
        cdef uint64_t n = slack * (SLACK_BYTES + record_bytes(flags, 0, 0, self.is_map))
        cdef size_t i
        for i in range(self.n):
            n += record_bytes(flags, self.lines[i].key_len, self.lines[i].value_len, self.is_map)
        return n

    def size(self, uint32_t flags, uint32_t uses, uint64_t slack):
        return HEADER + image_bytes(flags, uses, self.n + slack, self.n, self.heap(flags, slack))

    def build(self, Mapping mapping, uint64_t at, uint32_t flags, uses, uint64_t slack, uint64_t entries_max, generation):
        cdef reference_t *ref = reference_in(mapping, at)
        cdef image_t *image = reference_image(mapping.m, at + HEADER)
        cdef const char *base = self.content
        cdef const line_t *line
        cdef uint64_t heap = self.heap(flags, slack)
        cdef size_t i
        cdef int failed = 0
        if len(uses) > REFERENCE_USES:
            raise ValueError(f"{len(uses)} uses of one file; {REFERENCE_USES} are possible")
        ref.self_at = at
        ref.generation = generation
        ref.flags = flags
        ref.nuses = len(uses)
        ref.entries_max = entries_max
        for i, (method, use_flags) in enumerate(uses):
            ref.uses[i].method = method
            ref.uses[i].flags = use_flags
        if lock_init(&ref.lock) != 0:
            raise MemoryError
        with nogil:
            image_begin(image, ref, 0, self.n + slack, self.n, heap)
            for i in range(self.n):
                line = &self.lines[i]
                ref.serial += 1
                if image_append(
                    image, base + line.key, line.key_len, base + line.value, line.value_len, self.is_map, 0, ref.serial
                ) == NULL:
                    failed = -1
                    break
            if failed == 0:
                failed = image_settle(image)
        if failed:
            raise MemoryError
        ref.entries = self.n
        lb_store_u64(&ref.image_at, at + HEADER)


def reserve(Mapping mapping, uint64_t at, uint64_t size):
    mapping_in(mapping)
    if not store_holds(at, size) or (at - STORE_AT) % STORE_PAGE:
        raise ValueError(f"{size} bytes at {at} are not in the store")
    if store_reserve(mapping.m, at, size) != 0:
        PyErr_SetFromErrno(OSError)


def release(Mapping mapping, uint64_t at, uint64_t size):
    mapping_in(mapping)
    if not store_holds(at, size) or (at - STORE_AT) % STORE_PAGE:
        raise ValueError(f"{size} bytes at {at} are not in the store")
    store_release(mapping.m, at, size)


def information(Mapping mapping, uint64_t at):
    cdef const reference_t *ref = reference_in(mapping, at)
    cdef const image_t *image
    if lb_load_u64(&ref.image_at) == 0:
        return None
    image = image_of(mapping, ref)
    return {
        "image_at": ref.image_at,
        "image_size": image.size,
        "version": image.version,
        "next_version": ref.next_version,
        "entries": ref.entries,
        "used": image.used,
        "capacity": image.capacity,
        "base": image.base,
        "gone": image.gone,
        "logged": image.logged,
        "log_size": image.log_size,
        "appended": image.appended,
        "torn": image.torn,
        "changes": ref.changes,
        "refused": ref.refused,
        "heap_free": image.heap_end - image.heap_used,
        "heap_room": image.heap_end - image.heap_base,
        "flags": ref.flags,
    }


def uses(Mapping mapping, uint64_t at):
    cdef const reference_t *ref = reference_in(mapping, at)
    return [(ref.uses[i].method, ref.uses[i].flags) for i in range(ref.nuses)]


cdef object value_of(const image_t *image, const record_t *r):
    cdef const value_t *v
    if not r.flags & RECORD_VALUED:
        return None
    v = image_value(image, lb_load_u32(&r.value))
    return value_text(v)[:v.len]


cdef object row_of(const image_t *image, uint32_t index, uint32_t version):
    cdef const uint32_t *order = <const uint32_t *> (<const char *> image + image.order_at)
    cdef const record_t *r = image_record(image, order[index])
    if lb_load_u32(&r.state) != RECORD_LIVE or r.version != version:
        return None
    return r.serial, record_key(image, r)[:r.key_len], value_of(image, r)


def rows(Mapping mapping, uint64_t at, uint32_t version):
    cdef const image_t *image = image_of(mapping, reference_in(mapping, at))
    cdef uint32_t i
    for i in range(lb_load_u32(&image.used)):
        row = row_of(image, i, version)
        if row is not None:
            yield row


cdef class Evaluation:
    cdef eval_t eval

    def __cinit__(self):
        self.eval.scratch = <char *> malloc(SAMPLE_SCRATCH)
        if self.eval.scratch == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.eval.scratch)


def find(Mapping mapping, uint64_t at, uint32_t use, bytes text):
    cdef const reference_t *ref = reference_in(mapping, at)
    cdef Evaluation evaluation = Evaluation()
    cdef const image_t *image
    cdef const record_t *r
    cdef sample_t s
    if use >= ref.nuses:
        raise IndexError(use)
    memset(&s, 0, sizeof(s))
    sample_text(&s, text, len(text), SAMPLE_CONST)
    r = reference_find(&evaluation.eval, mapping.m, at + use, &s, False, &image)
    if r == NULL:
        return None
    return record_key(image, r)[:r.key_len], value_of(image, r)


def set_entry(Mapping mapping, uint64_t at, bytes key, value):
    cdef reference_t *ref = reference_in(mapping, at)
    cdef const char *v = NULL
    if value is not None:
        v = <bytes> value
    return reference_set(mapping.m, ref, key, len(key), v, 0 if value is None else len(value))


def delete_entry(Mapping mapping, uint64_t at, bytes key):
    return reference_delete(mapping.m, reference_in(mapping, at), key, len(key))


def append_entry(Mapping mapping, uint64_t at, bytes key, value, uint32_t version):
    cdef reference_t *ref = reference_in(mapping, at)
    cdef const char *v = NULL
    if value is not None:
        v = <bytes> value
    return reference_append(mapping.m, ref, key, len(key), v, 0 if value is None else len(value), version)


def has_key(Mapping mapping, uint64_t at, bytes key):
    return image_key(image_of(mapping, reference_in(mapping, at)), key, len(key)) != NULL


cdef object place_of_serial(Mapping mapping, uint64_t at, uint32_t serial):
    cdef const image_t *image = image_of(mapping, reference_in(mapping, at))
    cdef const uint32_t *order = <const uint32_t *> (<const char *> image + image.order_at)
    cdef const record_t *r
    cdef uint32_t i
    for i in range(lb_load_u32(&image.used)):
        r = image_record(image, order[i])
        if r.serial == serial and lb_load_u32(&r.state) == RECORD_LIVE:
            return i
    return None


def set_serial(Mapping mapping, uint64_t at, uint32_t serial, bytes value):
    index = place_of_serial(mapping, at, serial)
    if index is None:
        return REFERENCE_NONE
    return reference_set_record(mapping.m, reference_in(mapping, at), index, value, len(value))


def delete_serial(Mapping mapping, uint64_t at, uint32_t serial):
    index = place_of_serial(mapping, at, serial)
    if index is None:
        return REFERENCE_NONE
    return reference_delete_record(mapping.m, reference_in(mapping, at), index)


def prepare(Mapping mapping, uint64_t at):
    cdef reference_t *ref = reference_in(mapping, at)
    ref.next_version += 1
    return ref.next_version


def fold_room(Mapping mapping, uint64_t at, uint32_t version, bint keeps, uint64_t slack):
    cdef reference_t *ref = reference_in(mapping, at)
    cdef uint64_t base, heap, capacity
    with nogil:
        reference_measure(mapping.m, ref, version, keeps, &base, &heap)
    # Workers may append between this and the fold: room to take that over too.
    base += slack // 4
    heap += slack // 4 * (SLACK_BYTES + record_bytes(ref.flags, 0, 0, ref.flags & REFERENCE_MAP != 0))
    capacity = base + slack
    heap += slack * (SLACK_BYTES + record_bytes(ref.flags, 0, 0, ref.flags & REFERENCE_MAP != 0))
    return image_bytes(ref.flags, ref.nuses, capacity, base, heap), capacity, base, heap


def fold(
    Mapping mapping, uint64_t at, uint64_t image_at, uint32_t version, bint keeps, uint64_t capacity, uint64_t base,
    uint64_t heap
):
    cdef reference_t *ref = reference_in(mapping, at)
    cdef mapping_t *m = mapping.m
    cdef int r
    with nogil:
        r = reference_fold(m, ref, image_at, version, keeps, capacity, base, heap)
    return r


cdef uint8_t taken(uint8_t method) noexcept:
    if method == MATCH_IP:
        return SAMPLE_ADDR
    return SAMPLE_SINT if method == MATCH_INT else SAMPLE_STR


def lookup_ns(Mapping mapping, uint64_t at, uint32_t use, texts, int times):
    cdef const reference_t *ref = reference_in(mapping, at)
    cdef Evaluation evaluation = Evaluation()
    cdef sample_t *samples
    cdef sample_t s
    cdef const image_t *image
    cdef uint64_t found = 0
    cdef int n = len(texts), _k, i
    if use >= ref.nuses or n == 0:
        raise IndexError(use)
    samples = <sample_t *> malloc(n * sizeof(sample_t))
    if samples == NULL:
        raise MemoryError
    for i in range(n):
        sample_text(&samples[i], <bytes> texts[i], len(texts[i]), SAMPLE_CONST)
        sample_cast(&evaluation.eval, &samples[i], taken(ref.uses[use].method))
    begin = time.perf_counter_ns()
    with nogil:
        for _k in range(times):
            for i in range(n):
                s = samples[i]
                evaluation.eval.used = 0
                found += reference_find(&evaluation.eval, mapping.m, at + use, &s, False, &image) != NULL
    took = time.perf_counter_ns() - begin
    free(samples)
    return took / (times * n)
