# References: files of patterns, with values (maps) or without (ACL files), that change at run time.
#
#     plan: set_t.reference, ARG_REFERENCE
#        |
#     reference_t (one a file and generation: lock, uses) -- image_at --> image_t (all that can be looked up)
#
# Both stand in the store (base/store.pxd). The compiler child builds the first image of a file; whoever changes an entry
# (a rule in a worker, the admin socket in the supervisor) appends to the present image under the lock; nothing in an image
# moves or is written twice, so lookups take no lock. A change becomes visible to all processes by one store, the last of
# it: the state of a record, its value, or the place of the image.
#
# An image has one version of the entries to look up, `version`, and may carry entries of later ones that nobody sees yet.
# A *fold* (the supervisor, reference_fold) makes another image of it, without what is gone and with new room, and puts it
# in its place: when room gets short, when what was appended makes lookups slower, and for `commit` (with another version)
# and `clear` (with none). Changes that are made meanwhile are made again in the new image under the lock. The old one is
# given back when every worker has come through its loop since: samples point into it for as long as a rule runs.
#
# Lookups. Records have an order, that of the file and then of time. Words: an open-addressed index per use, filled in
# order; `beg` without -i takes the longest that fits, `str` the first of equal ones, all others the first in the order
# (HAProxy's trees and lists). Networks and numbers: what an image was built with is cut into segments that do not overlap,
# each with its best record (the longest network; the first range), searched for in a tree of cache lines; a record that is
# gone names the next best one, `next`. What was appended since is looked up beside it: networks by a hash per length,
# numbers in a list. So the costs do not grow with the file, and not much with changes.
#
# A process that dies inside the lock leaves a record that nobody sees, and some lost bytes.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lb._speedups.base.lock cimport lb_lock_t
from lb._speedups.base.mapping cimport mapping_t
from lb._speedups.base.store cimport store_holds
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef enum:
    REFERENCE_USES = 16          # ways in which one file is looked up
    REFERENCE_KEY_MAX = 16384    # bytes of a key, and of a value

cdef enum:                       # reference_t.flags
    REFERENCE_MAP = 1 << 0       # entries have values
    REFERENCE_INTEGERS = 1 << 1  # and these are numbers
    REFERENCE_ADDRESSES = 1 << 2  # or addresses
    REFERENCE_NETS = 1 << 3      # keys are networks
    REFERENCE_NUMBERS = 1 << 4   # keys are numbers or ranges
    REFERENCE_DIGITS = 1 << 5    # keys are hexadecimal digits
    REFERENCE_SHORT = 1 << 6     # keys may stand anywhere in a value: WORD_ROLLED bytes at most

cdef enum:                       # answers of what changes entries
    REFERENCE_DONE = 0
    REFERENCE_FULL = -1          # no room; counted, and the supervisor is told
    REFERENCE_BAD_KEY = -2       # the key is not what a use of the file needs
    REFERENCE_BAD_VALUE = -3
    REFERENCE_NONE = -4          # no such entry
    REFERENCE_LOST = -5          # the lock cannot be taken: a bug

cdef enum:                       # record_t.state
    RECORD_WRITTEN = 1           # by somebody who is at it, or died over it
    RECORD_LIVE
    RECORD_GONE

cdef enum:                       # record_t.flags
    RECORD_VALUED = 1 << 0       # it has a value: an entry of a map
    RECORD_OVERLAID = 1 << 1     # a range that overlaps others: when it is gone, the order is searched

ctypedef struct record_t:        # an entry; 8-byte aligned. Behind it: net_part_t, span_t if the file needs them, the key, NUL
    uint32_t state               # atomic: RECORD_*; LIVE is written last
    uint32_t version
    uint32_t index               # its place in the order
    uint32_t serial              # its number, the same in all images
    uint32_t value               # atomic: place / 8 of a value_t
    uint32_t next                # place / 8 of the next best one of a network, or the next appended number
    uint32_t key_len
    uint32_t flags               # RECORD_*

ctypedef struct net_part_t:
    uint8_t address[16]          # network order, masked; IPv4 in the first 4
    uint8_t family               # 4 or 6
    uint8_t bits
    uint8_t pad[6]

ctypedef struct span_t:          # both ends included
    int64_t low
    int64_t high

ctypedef struct value_t:
    uint32_t len
    # the bytes and a NUL follow

ctypedef struct use_t:           # a way to look things up
    uint8_t method               # match_method
    uint8_t flags                # SET_IGNORE_CASE
    uint8_t pad[6]

ctypedef struct index_t:         # of words, and of appended networks
    uint64_t slots_at            # offset in the image of uint64_t[mask + 1]: hash << 32 | place / 8; atomic, 0 = empty
    uint32_t mask
    uint32_t longest             # atomic: bytes of the longest word
    uint64_t lengths[4]          # atomic: bit per length that a word, or network, has (bit 255: longer ones too)

ctypedef struct segments_t:      # from starts[i] on, owners[i] is the best record, 0 = none
    uint32_t n                   # 0 = no segments
    uint32_t levels              # of the tree over them: every 8th start, every 64th...
    uint64_t starts_at           # offset of uint64_t[], level by level, the lowest first; each at a cache line
    uint64_t lows_at             # IPv6: the same of the lower halves; 0 = none
    uint64_t owners_at           # offset of uint32_t[n]
    uint32_t sizes[12]           # starts of each level
    uint64_t levels_at[12]       # offset of each level

ctypedef struct image_t:
    # immutable once built
    uint64_t size                # bytes, this included
    uint32_t version             # of the entries to look up
    uint32_t flags               # REFERENCE_*
    uint32_t nuses
    uint32_t capacity            # records
    uint32_t base                # records that segments know
    uint32_t log_size
    uint64_t order_at            # offset of uint32_t[capacity]: place / 8 of each record
    uint64_t log_at              # offset of uint32_t[log_size]: indexes of records that were changed since
    uint64_t heap_end            # offset
    uint64_t heap_base           # offset: where what was appended since begins
    use_t uses[REFERENCE_USES]
    segments_t nets4
    segments_t nets6
    segments_t numbers
    # under lock; lookups read `indexes`
    uint64_t heap_used           # offset
    uint32_t used                # atomic: records
    uint32_t logged              # records of log_at
    uint32_t gone                # records that are
    uint32_t torn                # somebody died inside: a change may have been made and not be in the log
    uint32_t first_number        # place / 8 of the first appended number or range; atomic, 0 = none
    uint32_t last_number
    uint32_t appended            # records that segments do not know and should
    index_t keys                 # keys as they are: of changes, str and beg
    index_t nets                 # appended networks by bits and address; lengths: IPv4 at 0, IPv6 at 64
    index_t indexes[REFERENCE_USES]

ctypedef struct reference_t:
    lb_lock_t lock
    uint64_t image_at            # atomic: place of the image
    uint64_t self_at             # place of this
    uint64_t generation          # supervisor: that names it
    uint64_t entries_max         # for rules: no more than these
    uint32_t flags               # REFERENCE_*
    uint32_t nuses
    uint32_t serial              # under lock: of the last record
    uint32_t next_version        # supervisor: the latest that was prepared
    uint64_t entries             # under lock: live records of all versions
    uint64_t changes             # under lock: made since the file was read
    uint64_t refused             # under lock: for want of room
    use_t uses[REFERENCE_USES]

# Whether a number is the place of a reference and of one of its uses, as ARG_REFERENCE and set_t.reference have them.
cdef inline bint reference_fits(uint64_t place) noexcept nogil:
    return place & 63 < REFERENCE_USES and store_holds(place & ~<uint64_t> 63, sizeof(reference_t))

cdef inline reference_t *reference_at(mapping_t *m, uint64_t place) noexcept nogil:
    return <reference_t *> (<char *> m + (place & ~<uint64_t> 63))

cdef inline image_t *reference_image(mapping_t *m, uint64_t at) noexcept nogil:
    return <image_t *> (<char *> m + at)

cdef inline record_t *image_record(const image_t *image, uint32_t place) noexcept nogil:
    return <record_t *> (<char *> image + 8 * <uint64_t> place)

cdef inline const value_t *image_value(const image_t *image, uint32_t place) noexcept nogil:
    return <const value_t *> (<const char *> image + 8 * <uint64_t> place)

cdef inline const char *value_text(const value_t *v) noexcept nogil:
    return <const char *> v + sizeof(value_t)

cdef inline const net_part_t *record_net(const record_t *r) noexcept nogil:
    return <const net_part_t *> (<const char *> r + sizeof(record_t))

cdef inline const span_t *record_span(const image_t *image, const record_t *r) noexcept nogil:
    return <const span_t *> (
        <const char *> r + sizeof(record_t) + (sizeof(net_part_t) if image.flags & REFERENCE_NETS else 0)
    )

cdef inline const char *record_key(const image_t *image, const record_t *r) noexcept nogil:
    return <const char *> r + sizeof(record_t) + (sizeof(net_part_t) if image.flags & REFERENCE_NETS else 0) \
        + (sizeof(span_t) if image.flags & REFERENCE_NUMBERS else 0)

# ---- lookups ----

# The record that a sample finds by a use, cast for that; NULL if none. `image` is where it stands. `any`: one that fits will
# do, whichever.
cdef const record_t *reference_find(
    eval_t *c, mapping_t *m, uint64_t place, sample_t *s, bint any, const image_t **image
) noexcept nogil

# The record with exactly this key, the first of the order; NULL.
cdef record_t *image_key(const image_t *image, const char *key, size_t n) noexcept nogil

# ---- changes ----

# Set the value of all entries with this key, or add one. Without a value (an ACL): add one if there is none.
cdef int reference_set(
    mapping_t *m, reference_t *ref, const char *key, size_t n, const char *value, size_t value_n
) noexcept nogil

# Remove all entries with this key.
cdef int reference_delete(mapping_t *m, reference_t *ref, const char *key, size_t n) noexcept nogil

# Admin. Append an entry whatever is there (value NULL: none); set or remove one record (index in the present image).
cdef int reference_append(
    mapping_t *m, reference_t *ref, const char *key, size_t n, const char *value, size_t value_n, uint32_t version
) noexcept nogil
cdef int reference_set_record(
    mapping_t *m, reference_t *ref, uint32_t index, const char *value, size_t value_n
) noexcept nogil
cdef int reference_delete_record(mapping_t *m, reference_t *ref, uint32_t index) noexcept nogil

# Whether a key, or a value (NULL: none), is what these flags ask for. REFERENCE_DONE, _BAD_KEY, _BAD_VALUE.
cdef int reference_judge(
    uint32_t flags, const char *key, size_t n, const char *value, size_t value_n
) noexcept nogil

# HAProxy's reading of texts: a number or range (pat_parse_int), a network (pat_parse_ip), a whole number (map_parse_int).
cdef bint reference_read_span(const char *p, size_t n, span_t *out) noexcept nogil
cdef bint reference_read_net(const char *p, size_t n, net_part_t *out) noexcept nogil
cdef bint reference_read_integer(const char *p, size_t n, int64_t *out) noexcept nogil

# ---- images: what builds them ----

# Bytes that records of these keys and values take (sums with their numbers), and of an image with so much room.
cdef uint64_t image_bytes(uint32_t flags, uint32_t nuses, uint64_t capacity, uint64_t base, uint64_t heap) noexcept nogil
cdef uint64_t record_bytes(uint32_t flags, size_t key_n, size_t value_n, bint valued) noexcept nogil

# Begin an image in zeroed memory with room for `capacity` records and `heap` bytes of them; `base` of them may be put in
# segments.
cdef void image_begin(
    image_t *image, const reference_t *ref, uint32_t version, uint64_t capacity, uint64_t base, uint64_t heap
) noexcept nogil

# Append a record that has been judged; the record, or NULL: no room.
cdef record_t *image_append(
    image_t *image, const char *key, size_t n, const char *value, size_t value_n, bint valued, uint32_t version,
    uint32_t serial
) noexcept nogil

# All records that the image is built of are there: cut them into segments. 0, or -1: no memory.
cdef int image_settle(image_t *image) noexcept nogil

# ---- folds: the supervisor alone ----

# What an image that is folded to a version has: records of that version (none, unless it keeps them) and of later ones, and
# the bytes of these.
cdef void reference_measure(mapping_t *m, reference_t *ref, uint32_t version, bint keeps, uint64_t *records,
                            uint64_t *heap) noexcept nogil

# Build the image in zeroed memory at `at`, with room for `base` records taken over and `capacity` in all, and put it in
# place. REFERENCE_FULL: there was not enough room, or memory; all is as it was. It may run in a thread of its own, if no
# other thread changes this reference meanwhile.
cdef int reference_fold(
    mapping_t *m, reference_t *ref, uint64_t at, uint32_t version, bint keeps, uint64_t capacity, uint64_t base,
    uint64_t heap
) noexcept nogil
