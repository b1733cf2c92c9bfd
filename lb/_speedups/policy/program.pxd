# Compiled rules, as they stand in the plan image: flat arrays that refer to each other by index.
#
#     ruleset -> rules -> cond -> terms -> acl -> tests -> expr -> ops -> args
#                      \-> args                       \-> set (patterns) -> regexes
#                      \-> formats -> parts -> expr
#
# lb/language makes the rows, face/program.pyx writes them, program_check.pyx looks at every index before a worker does. An
# operation's code says its family in the high byte (`code >> 8`): a family is a module, fetch_*.pyx or convert_*.pyx, and
# numbers the operations in the low byte. Codes are matched by number with lb/language/catalog.py; a test compares them.
# Actions have families in the same way: action.pxd.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lb._speedups.policy.plan cimport plan_t, text_t

cdef enum:                       # families of fetches
    FETCHES_INTERNAL = 1         # constants, dates, counters
    FETCHES_CONNECTION           # addresses and ports
    FETCHES_REQUEST              # what a request says
    FETCHES_RESPONSE
    FETCHES_TRACKED              # of the entries the stream tracks
    FETCHES_SOURCE               # of the entry of the client's address
    FETCHES_VARIABLE             # variables and captures
    FETCHES_PAYLOAD              # bytes that have not been given a meaning yet
    FETCHES_BODY
    FETCHES_TRANSACTION          # how the stream goes: times, bytes, states
    FETCHES_AUTH                 # who the client says he is
    FETCHES_SOCKET               # what the kernel knows of a connection
    FETCHES_PROCESS              # of the process and of proxies
    FETCHES_TABLE                # of stick tables as such

cdef enum:                       # families of converters
    CONVERTERS_TEXT = 1
    CONVERTERS_NUMBER
    CONVERTERS_CODEC
    CONVERTERS_HASH
    CONVERTERS_NET
    CONVERTERS_TIME
    CONVERTERS_REGEX
    CONVERTERS_MAP
    CONVERTERS_TABLE
    CONVERTERS_DIGEST            # libcrypto's
    CONVERTERS_JSON              # and other structured text
    CONVERTERS_VARIABLE

cdef enum:                       # arg_t.kind
    ARG_NONE = 0
    ARG_INT
    ARG_TEXT
    ARG_FRONTEND                 # i = index
    ARG_BACKEND
    ARG_SERVER                   # i = index of plan_server_t
    ARG_EXPR                     # i = index
    ARG_FORMAT
    ARG_NET                      # i = bits of the mask; text = 4 or 16 bytes
    ARG_TABLE                    # i = place of the stick table in the mapping
    ARG_VARIABLE                 # i = id of a variable (variable.pxd)
    ARG_ACL                      # i = index
    ARG_REGEX                    # i = index of its regex_row_t
    ARG_REFERENCE                # i = place of the reference in the store, and in its low bits which use of it
    ARG_END

ctypedef struct arg_t:
    uint8_t kind                 # ARG_*
    uint8_t pad[7]
    int64_t i
    text_t text

ctypedef struct op_t:            # a fetch or a converter with its arguments
    uint16_t code
    uint8_t cast                 # converters: sample_type that their input must have; fetches: 0
    uint8_t nargs
    uint32_t args                # index of the first

ctypedef struct expr_t:
    uint32_t ops                 # index of the fetch; its converters follow
    uint16_t nops
    uint8_t type                 # sample_type of the result, SAMPLE_ANY when only running it tells
    uint8_t pad

cdef enum match_method:          # set_t.method
    MATCH_FOUND = 1
    MATCH_BOOL
    MATCH_INT
    MATCH_IP
    MATCH_LEN
    MATCH_STR
    MATCH_BIN
    MATCH_BEG
    MATCH_END
    MATCH_SUB
    MATCH_DIR
    MATCH_DOM
    MATCH_REG
    MATCH_METHODS

cdef enum:                       # set_t.flags
    SET_IGNORE_CASE = 1 << 0

ctypedef struct word_t:          # open addressing by word_hash; a word of length 0 stands in set_t.empty instead
    text_t text                  # len 0 = empty slot
    uint32_t hash
    uint32_t pad

ctypedef struct range_t:         # both ends included; a set's ranges are sorted and do not touch
    int64_t low
    int64_t high

ctypedef struct net_t:           # addresses in network order, both ends included; sorted
    uint8_t low[16]
    uint8_t high[16]

ctypedef struct set_t:           # the patterns of one test
    uint8_t method               # match_method
    uint8_t flags                # SET_*
    uint8_t cast                 # sample_type that a sample is turned into before it is looked up
    uint8_t empty                # words: the empty word is one of them
    uint32_t size                # words: slots, a power of two; else 0
    uint32_t words_at            # offset of word_t[size]
    uint32_t longest             # words: bytes of the longest
    uint32_t ranges_at           # offset of range_t[ranges] (MATCH_INT, MATCH_LEN)
    uint32_t ranges
    uint32_t nets4_at            # offset of net_t[nets4]: IPv4 in the first 4 bytes
    uint32_t nets4
    uint32_t nets6_at
    uint32_t nets6
    uint32_t regexes             # MATCH_REG: index of the first; they are tried in order
    uint32_t nregexes
    uint64_t lengths[4]          # words: bit per length below 256 that one has (bit 255 also stands for longer ones)
    uint64_t firsts[4]           # rolled words: bit per byte that may begin one, in either case if that is ignored
    uint64_t seconds[4]          # and per byte that may follow it; all, if a word is a single byte
    uint64_t reference           # as ARG_REFERENCE: what is looked up is there, and nothing here; 0 = none

ctypedef struct regex_row_t:     # a pattern that each worker compiles: policy/regexes.pxd
    text_t text
    uint32_t flags               # REGEX_* of policy/regex.pxd
    uint32_t pad

ctypedef struct test_t:
    uint32_t expr
    uint32_t set_                # index

ctypedef struct acl_t:           # true when one of its tests is
    uint32_t tests
    uint32_t ntests

cdef enum:                       # term_t.flags
    TERM_NOT = 1 << 0
    TERM_OR = 1 << 1             # begins another alternative

ctypedef struct term_t:
    uint32_t acl                 # index
    uint32_t flags               # TERM_*

ctypedef struct cond_t:          # alternatives of terms that must all hold
    uint32_t terms
    uint32_t nterms

cdef enum:                       # part_t.kind
    PART_TEXT = 1
    PART_EXPR

cdef enum:                       # part_t.flags
    PART_QUOTE = 1 << 0          # %{+Q}

ctypedef struct part_t:          # of a format string
    uint8_t kind                 # PART_*
    uint8_t flags
    uint16_t pad
    uint32_t expr
    text_t text

ctypedef struct format_t:
    uint32_t parts
    uint32_t nparts

cdef enum:                       # rule_t.flags
    RULE_UNLESS = 1 << 0

ctypedef struct rule_t:
    uint16_t action              # ACTION_* (policy/action.pxd)
    uint16_t nargs
    uint32_t args                # index of the first
    uint32_t cond                # index + 1, 0 = always
    uint32_t line                # of the file, for explain and logs; 0 = not known
    uint32_t flags               # RULE_*

ctypedef struct ruleset_t:
    uint32_t rules               # index of the first
    uint32_t nrules

cdef enum:                       # program_t.uses: what the view must hold only then
    PROGRAM_DESTINATION = 1 << 0  # where the client connected to
    PROGRAM_ID = 1 << 1          # the request id
    PROGRAM_RECORD = 1 << 2      # times, bytes and states
    PROGRAM_RATES = 1 << 3       # sessions and requests a second, which are counted only then

ctypedef struct program_t:       # at plan_t.program_at; all offsets are from the image's start
    uint32_t args_at
    uint32_t args
    uint32_t ops_at
    uint32_t ops
    uint32_t exprs_at
    uint32_t exprs
    uint32_t sets_at
    uint32_t sets
    uint32_t tests_at
    uint32_t tests
    uint32_t acls_at
    uint32_t acls
    uint32_t terms_at
    uint32_t terms
    uint32_t conds_at
    uint32_t conds
    uint32_t parts_at
    uint32_t parts
    uint32_t formats_at
    uint32_t formats
    uint32_t rules_at
    uint32_t rules
    uint32_t rulesets_at
    uint32_t rulesets
    uint32_t regexes_at          # offset of regex_row_t[regexes]
    uint32_t regexes
    uint32_t uses                # PROGRAM_*
    uint32_t pad

cdef inline const program_t *program_of(const plan_t *p) noexcept nogil:
    return <const program_t *> (<const char *> p + p.program_at)

# Case folding and hashing of words: FNV-1a, a byte a step, because prefixes are hashed on the way.
cdef enum:
    WORD_SEED = 0x811c9dc5
    WORD_PRIME = 0x01000193

cdef inline uint8_t word_fold(uint8_t c, uint8_t flags) noexcept nogil:
    return c | 0x20 if flags & SET_IGNORE_CASE and 65 <= c <= 90 else c

cdef inline uint32_t word_step(uint32_t h, uint8_t c) noexcept nogil:
    return (h ^ c) * <uint32_t> WORD_PRIME

# Words of sub, dir and dom stand anywhere in a value: a sum that moves on by a byte finds them, one pass per length that a
# word has. They are WORD_ROLLED bytes at most, so what a pass costs is bounded whatever a client sends. Sets of up to
# WORD_SLOTS_FEW slots are looked for by the bytes that words begin with first.
cdef enum:
    WORD_ROLLED = 255
    WORD_BASE = 0x2c1b3c6d
    WORD_SLOTS_FEW = 32

cdef inline bint word_is_rolled(uint8_t method) noexcept nogil:
    return method == MATCH_SUB or method == MATCH_DIR or method == MATCH_DOM

cdef inline uint32_t word_roll(uint32_t h, uint8_t c) noexcept nogil:
    return h * <uint32_t> WORD_BASE + c

# Where a search for a hash begins. Low bits of a rolled one depend on low bits of the text alone.
cdef inline uint32_t word_slot(uint32_t h, uint32_t mask) noexcept nogil:
    h ^= h >> 16
    h *= <uint32_t> 0x85ebca6b
    return (h ^ h >> 13) & mask

# Of sets of 256 bits.
cdef inline bint bits_have(const uint64_t *bits, uint8_t i) noexcept nogil:
    return (bits[i >> 6] >> (i & 63)) & 1

cdef inline void bits_put(uint64_t *bits, uint8_t i) noexcept nogil:
    bits[i >> 6] |= <uint64_t> 1 << (i & 63)

# Whether this length has a bit in set_t.lengths.
cdef inline bint set_has_length(const set_t *s, size_t n) noexcept nogil:
    return bits_have(s.lengths, 255 if n > 255 else <uint8_t> n)

# Whether a rolled word may begin with these two bytes.
cdef inline bint set_has_start(const set_t *s, const char *p) noexcept nogil:
    return bits_have(s.firsts, <uint8_t> p[0]) and bits_have(s.seconds, <uint8_t> p[1])
