# Writes the program of a plan image (policy/program.pxd) from the rows of lb/language/program.py.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.face.plan cimport Image
from lb._speedups.policy.convert_variable cimport CONVERT_WHEN
from lb._speedups.policy.fetch cimport (
    FETCH_BE_SESS_RATE, FETCH_DST, FETCH_DST_PORT, FETCH_FE_REQ_RATE, FETCH_FE_SESS_RATE, FETCH_SRV_SESS_RATE,
    FETCH_UNIQUE_ID,
)
from lb._speedups.policy.fetch_body cimport PROGRAM_BODY
from lb._speedups.policy.fetch_variable cimport FETCH_CAPTURE_REQ_METHOD, FETCH_CAPTURE_REQ_URI
from lb._speedups.policy.program cimport (
    ARG_REFERENCE, ARG_TABLE, CONVERTERS_VARIABLE, FETCHES_BODY, FETCHES_CONNECTION, FETCHES_PROCESS, FETCHES_REQUEST,
    FETCHES_TRANSACTION, FETCHES_VARIABLE, MATCH_END, PROGRAM_DESTINATION, PROGRAM_ID, PROGRAM_RATES, PROGRAM_RECORD,
    SET_IGNORE_CASE,
    WORD_ROLLED, WORD_SEED, acl_t, arg_t, bits_put, cond_t, expr_t, format_t, net_t, op_t, part_t, program_t, range_t,
    regex_row_t, rule_t, ruleset_t, set_t, term_t, test_t, word_is_rolled, word_roll, word_slot, word_step, word_t,
)

# What makes workers count sessions and requests a second.
RATES = [
    FETCHES_PROCESS << 8 | each for each in (FETCH_FE_SESS_RATE, FETCH_FE_REQ_RATE, FETCH_BE_SESS_RATE, FETCH_SRV_SESS_RATE)
]


cdef uint32_t slots_for(size_t n):
    """Return a power of two that leaves a table of n words at most half full; 0 for none."""
    cdef uint32_t size = 1
    if n == 0:
        return 0
    while size < 2 * n:
        size *= 2
    return size


def place(Image image, rows):
    """Take room for all arrays; what it returns is for put()."""
    sizes = (
        sizeof(arg_t), sizeof(op_t), sizeof(expr_t), sizeof(set_t), sizeof(test_t), sizeof(acl_t), sizeof(term_t),
        sizeof(cond_t), sizeof(part_t), sizeof(format_t), sizeof(rule_t), sizeof(ruleset_t), sizeof(regex_row_t),
    )
    at = image.place(1, sizeof(program_t))
    arrays = [image.place(len(each), size) for each, size in zip(rows, sizes, strict=True)]
    sets = []
    for row in rows.sets:
        words = [each for each in row.words if each]
        sets.append((
            image.place(slots_for(len(words)), sizeof(word_t)),
            image.place(len(row.ranges), sizeof(range_t)),
            image.place(len(row.nets4), sizeof(net_t)),
            image.place(len(row.nets6), sizeof(net_t)),
        ))
    return at, arrays, sets


# Words of a set that ignores case are in lower case.
cdef put_start(set_t *out, bytes word):
    cdef bint folds = out.flags & SET_IGNORE_CASE
    bits_put(out.firsts, word[0])
    for byte in word[1:2] or range(256):
        bits_put(out.seconds, byte)
    if folds:
        upper = word[:2].upper()
        bits_put(out.firsts, upper[0])
        for byte in upper[1:2]:
            bits_put(out.seconds, byte)


cdef put_words(Image image, set_t *out, row, uint32_t at):
    cdef word_t *words = <word_t *> (image.base + at)
    cdef bytes word
    cdef uint32_t h, i, n
    cdef uint8_t byte
    many = [each for each in row.words if each]
    out.empty = len(many) != len(row.words)
    out.size = slots_for(len(many))
    out.words_at = at if many else 0
    for word in many:
        n = len(word)
        if word_is_rolled(row.method):
            if n > WORD_ROLLED:
                raise ValueError("a pattern that may stand anywhere is too long")
            h = 0
            for byte in word:
                h = word_roll(h, byte)
        else:
            h = <uint32_t> WORD_SEED
            for byte in reversed(word) if row.method == MATCH_END else word:
                h = word_step(h, byte)
        i = word_slot(h, out.size - 1)
        while words[i].text.len:
            i = (i + 1) & (out.size - 1)
        words[i].hash = h
        image.text(&words[i].text, word)
        out.longest = max(out.longest, n)
        bits_put(out.lengths, min(n, 255))
        if word_is_rolled(row.method):
            put_start(out, word)


cdef put_nets(Image image, uint32_t at, nets):
    cdef net_t *out = <net_t *> (image.base + at)
    cdef bytes low, high
    for i, (low, high) in enumerate(nets):
        memcpy(out[i].low, <char *> low, len(low))
        memcpy(out[i].high, <char *> high, len(high))


cdef put_sets(Image image, uint32_t at, rows, places, references):
    cdef set_t *out = <set_t *> (image.base + at)
    cdef range_t *ranges
    for i, row in enumerate(rows):
        words_at, ranges_at, nets4_at, nets6_at = places[i]
        out[i].method = row.method
        out[i].flags = row.flags
        out[i].cast = row.cast
        if row.reference >= 0:
            out[i].reference = reference_place(references, row.reference)
        put_words(image, &out[i], row, words_at)
        ranges = <range_t *> (image.base + <uint32_t> ranges_at)
        for k, (low, high) in enumerate(row.ranges):
            ranges[k].low = low
            ranges[k].high = high
        out[i].ranges_at, out[i].ranges = ranges_at, len(row.ranges)
        put_nets(image, nets4_at, row.nets4)
        put_nets(image, nets6_at, row.nets6)
        out[i].nets4_at, out[i].nets4 = nets4_at, len(row.nets4)
        out[i].nets6_at, out[i].nets6 = nets6_at, len(row.nets6)
        out[i].regexes, out[i].nregexes = row.regexes, row.nregexes


# What a number of the program's references is in the store: its place, and in the low bits which use of it.
cdef uint64_t reference_place(references, number) except? 0:
    return references[number >> 6] + (number & 63)


cdef put_args(Image image, uint32_t at, rows, tables, references):
    cdef arg_t *out = <arg_t *> (image.base + at)
    for i, row in enumerate(rows):
        out[i].kind = row.kind
        out[i].i = row.number
        if row.kind == ARG_TABLE:
            out[i].i = tables[row.number]
        elif row.kind == ARG_REFERENCE:
            out[i].i = reference_place(references, row.number)
        image.text(&out[i].text, row.text)


cdef put_parts(Image image, uint32_t at, rows):
    cdef part_t *out = <part_t *> (image.base + at)
    for i, (kind, flags, expr, text) in enumerate(rows):
        out[i].kind = kind
        out[i].flags = flags
        out[i].expr = expr
        image.text(&out[i].text, text)


# An array of structs that are two 32-bit numbers.
cdef put_pairs(Image image, uint32_t at, rows):
    cdef uint32_t *out = <uint32_t *> (image.base + at)
    for i, (first, second) in enumerate(rows):
        out[2 * i] = first
        out[2 * i + 1] = second


cdef put_rules(Image image, uint32_t at, rows):
    cdef rule_t *out = <rule_t *> (image.base + at)
    for i, row in enumerate(rows):
        out[i].action = row.action
        out[i].flags = row.flags
        out[i].args = row.args
        out[i].nargs = row.nargs
        out[i].cond = row.cond
        out[i].line = row.line


cdef put_regexes(Image image, uint32_t at, rows):
    cdef regex_row_t *out = <regex_row_t *> (image.base + at)
    for i, (pattern, flags) in enumerate(rows):
        image.text(&out[i].text, pattern)
        out[i].flags = flags


cdef put_ops(Image image, uint32_t ops_at, uint32_t exprs_at, rows):
    cdef op_t *ops = <op_t *> (image.base + ops_at)
    cdef expr_t *exprs = <expr_t *> (image.base + exprs_at)
    for i, (code, cast, args, nargs) in enumerate(rows.ops):
        ops[i].code = code
        ops[i].cast = cast
        ops[i].args = args
        ops[i].nargs = nargs
    for i, (first, nops, kind) in enumerate(rows.exprs):
        exprs[i].ops = first
        exprs[i].nops = nops
        exprs[i].type = kind


def put(Image image, rows, placed, tables, references):
    """Fill what place() took room for; return the offset of the program_t."""
    cdef program_t *g
    at, arrays, sets = placed
    g = <program_t *> (image.base + <uint32_t> at)
    g.args_at, g.ops_at, g.exprs_at, g.sets_at, g.tests_at, g.acls_at, g.terms_at, g.conds_at, g.parts_at, \
        g.formats_at, g.rules_at, g.rulesets_at, g.regexes_at = arrays
    g.args, g.ops, g.exprs, g.sets, g.tests, g.acls, g.terms, g.conds, g.parts, g.formats, g.rules, g.rulesets, \
        g.regexes = \
        [len(each) for each in rows]
    for code, *_ in rows.ops:
        if code == FETCHES_CONNECTION << 8 | FETCH_DST or code == FETCHES_CONNECTION << 8 | FETCH_DST_PORT:
            g.uses |= PROGRAM_DESTINATION
        elif code == FETCHES_REQUEST << 8 | FETCH_UNIQUE_ID:
            g.uses |= PROGRAM_ID
        elif code == FETCHES_VARIABLE << 8 | FETCH_CAPTURE_REQ_METHOD or code == FETCHES_VARIABLE << 8 | FETCH_CAPTURE_REQ_URI:
            g.uses |= PROGRAM_RECORD
        elif code in RATES:
            g.uses |= PROGRAM_RATES
        elif code >> 8 == FETCHES_TRANSACTION or code == CONVERTERS_VARIABLE << 8 | CONVERT_WHEN:
            g.uses |= PROGRAM_RECORD
        elif code >> 8 == FETCHES_BODY:
            g.uses |= PROGRAM_BODY
    put_args(image, g.args_at, rows.args, tables, references)
    put_ops(image, g.ops_at, g.exprs_at, rows)
    put_sets(image, g.sets_at, rows.sets, sets, references)
    put_pairs(image, g.tests_at, rows.tests)
    put_pairs(image, g.acls_at, rows.acls)
    put_pairs(image, g.terms_at, rows.terms)
    put_pairs(image, g.conds_at, rows.conds)
    put_parts(image, g.parts_at, rows.parts)
    put_pairs(image, g.formats_at, rows.formats)
    put_rules(image, g.rules_at, rows.rules)
    put_pairs(image, g.rulesets_at, rows.rulesets)
    put_regexes(image, g.regexes_at, rows.regexes)
    return at
