from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from lb._speedups.base.mapping cimport MAPPING_ARENA, MAPPING_ARENA_AT
from lb._speedups.policy.action cimport action_is_known
from lb._speedups.policy.convert cimport (
    CONVERTERS_CODEC_END, CONVERTERS_DIGEST_END, CONVERTERS_HASH_END, CONVERTERS_JSON_END, CONVERTERS_NET_END,
    CONVERTERS_NUMBER_END, CONVERTERS_REGEX_END, CONVERTERS_TEXT_END, CONVERTERS_TIME_END,
)
from lb._speedups.policy.convert_variable cimport CONVERTERS_VARIABLE_END
from lb._speedups.policy.convert_map cimport CONVERTERS_MAP_END
from lb._speedups.policy.fetch cimport (
    FETCHES_AUTH_END, FETCHES_CONNECTION_END, FETCHES_INTERNAL_END, FETCHES_PROCESS_END, FETCHES_REQUEST_END,
    FETCHES_RESPONSE_END, FETCHES_SOCKET_END,
)
from lb._speedups.policy.fetch_table cimport FETCHES_TABLE_END
from lb._speedups.policy.fetch_transaction cimport FETCHES_TRANSACTION_END
from lb._speedups.policy.fetch_variable cimport FETCHES_VARIABLE_END
from lb._speedups.policy.look cimport LOOKS
from lb._speedups.policy.pattern cimport set_check
from lb._speedups.policy.fetch_body cimport FETCHES_BODY_END
from lb._speedups.policy.fetch_payload cimport FETCHES_PAYLOAD_END
from lb._speedups.policy.plan cimport plan_array_fits, plan_text_fits
from lb._speedups.policy.program cimport (
    ARG_ACL, ARG_BACKEND, ARG_END, ARG_EXPR, ARG_FORMAT, ARG_FRONTEND, ARG_REGEX, ARG_SERVER, ARG_TABLE,
    ARG_VARIABLE, CONVERTERS_CODEC, CONVERTERS_DIGEST, CONVERTERS_HASH, CONVERTERS_JSON, CONVERTERS_NET,
    CONVERTERS_NUMBER, CONVERTERS_REGEX, CONVERTERS_TABLE, CONVERTERS_TEXT, CONVERTERS_TIME, CONVERTERS_VARIABLE,
    ARG_REFERENCE, CONVERTERS_MAP, FETCHES_AUTH, FETCHES_BODY, FETCHES_CONNECTION, FETCHES_INTERNAL, FETCHES_PAYLOAD,
    FETCHES_PROCESS, FETCHES_REQUEST, FETCHES_RESPONSE, FETCHES_SOCKET, FETCHES_SOURCE, FETCHES_TABLE, FETCHES_TRACKED,
    FETCHES_TRANSACTION, FETCHES_VARIABLE, PART_EXPR, PART_TEXT, acl_t, arg_t, cond_t, expr_t, format_t, op_t, part_t, program_of,
    program_t, regex_row_t, rule_t, ruleset_t, set_t, term_t, test_t,
)
from lb._speedups.policy.reference cimport reference_fits
from lb._speedups.policy.regex cimport REGEX_FLAGS, REGEX_PATTERN_MAX, regex_is_available
from lb._speedups.policy.sample cimport SAMPLE_TYPES
from lb._speedups.policy.table cimport table_t
from lb._speedups.policy.variable cimport SCOPE_PROC, SCOPE_RES, variable_scope_of


cdef inline const char *at(const plan_t *p, uint32_t offset) noexcept nogil:
    return <const char *> p + offset


cdef inline bint is_range(uint64_t first, uint64_t n, uint64_t all_) noexcept nogil:
    return first + n <= all_


cdef bint is_fetch(uint16_t code) noexcept nogil:
    cdef unsigned int family = code >> 8
    cdef unsigned int end = 0
    if family == FETCHES_INTERNAL:
        end = FETCHES_INTERNAL_END
    elif family == FETCHES_CONNECTION:
        end = FETCHES_CONNECTION_END
    elif family == FETCHES_REQUEST:
        end = FETCHES_REQUEST_END
    elif family == FETCHES_RESPONSE:
        end = FETCHES_RESPONSE_END
    elif family == FETCHES_TRACKED:
        end = LOOKS
    elif family == FETCHES_SOURCE:
        end = LOOKS
    elif family == FETCHES_TABLE:
        end = FETCHES_TABLE_END
    elif family == FETCHES_AUTH:
        end = FETCHES_AUTH_END
    elif family == FETCHES_VARIABLE:
        end = FETCHES_VARIABLE_END
    elif family == FETCHES_SOCKET:
        end = FETCHES_SOCKET_END
    elif family == FETCHES_PROCESS:
        end = FETCHES_PROCESS_END
    elif family == FETCHES_TRANSACTION:
        end = FETCHES_TRANSACTION_END
    elif family == FETCHES_PAYLOAD:
        end = FETCHES_PAYLOAD_END
    elif family == FETCHES_BODY:
        end = FETCHES_BODY_END
    return 0 < (code & 255) < end


cdef bint is_converter(uint16_t code) noexcept nogil:
    cdef unsigned int family = code >> 8
    cdef unsigned int end = 0
    if family == CONVERTERS_TEXT:
        end = CONVERTERS_TEXT_END
    elif family == CONVERTERS_NUMBER:
        end = CONVERTERS_NUMBER_END
    elif family == CONVERTERS_CODEC:
        end = CONVERTERS_CODEC_END
    elif family == CONVERTERS_HASH:
        end = CONVERTERS_HASH_END
    elif family == CONVERTERS_NET:
        end = CONVERTERS_NET_END
    elif family == CONVERTERS_TIME:
        end = CONVERTERS_TIME_END
    elif family == CONVERTERS_DIGEST:
        end = CONVERTERS_DIGEST_END
    elif family == CONVERTERS_JSON:
        end = CONVERTERS_JSON_END
    elif family == CONVERTERS_VARIABLE:
        end = CONVERTERS_VARIABLE_END
    elif family == CONVERTERS_REGEX:
        end = CONVERTERS_REGEX_END
    elif family == CONVERTERS_TABLE:
        end = LOOKS
    elif family == CONVERTERS_MAP:
        end = CONVERTERS_MAP_END
    return 0 < (code & 255) < end


cdef int check_arrays(const plan_t *p, const program_t *g) noexcept nogil:
    if (not plan_array_fits(p, g.args_at, g.args, sizeof(arg_t))
            or not plan_array_fits(p, g.ops_at, g.ops, sizeof(op_t))
            or not plan_array_fits(p, g.exprs_at, g.exprs, sizeof(expr_t))
            or not plan_array_fits(p, g.sets_at, g.sets, sizeof(set_t))
            or not plan_array_fits(p, g.tests_at, g.tests, sizeof(test_t))
            or not plan_array_fits(p, g.acls_at, g.acls, sizeof(acl_t))
            or not plan_array_fits(p, g.terms_at, g.terms, sizeof(term_t))
            or not plan_array_fits(p, g.conds_at, g.conds, sizeof(cond_t))
            or not plan_array_fits(p, g.parts_at, g.parts, sizeof(part_t))
            or not plan_array_fits(p, g.formats_at, g.formats, sizeof(format_t))
            or not plan_array_fits(p, g.rules_at, g.rules, sizeof(rule_t))
            or not plan_array_fits(p, g.rulesets_at, g.rulesets, sizeof(ruleset_t))
            or not plan_array_fits(p, g.regexes_at, g.regexes, sizeof(regex_row_t))):
        return -1
    return 0


cdef int check_args(const plan_t *p, const program_t *g) noexcept nogil:
    cdef const arg_t *args = <const arg_t *> at(p, g.args_at)
    cdef uint64_t limit
    cdef uint32_t i
    for i in range(g.args):
        if args[i].kind >= ARG_END or not plan_text_fits(p, args[i].text):
            return -1
        if args[i].kind == ARG_FRONTEND:
            limit = p.nfrontends
        elif args[i].kind == ARG_BACKEND:
            limit = p.nbackends
        elif args[i].kind == ARG_SERVER:
            limit = p.nservers
        elif args[i].kind == ARG_EXPR:
            limit = g.exprs
        elif args[i].kind == ARG_FORMAT:
            limit = g.formats
        elif args[i].kind == ARG_ACL:
            limit = g.acls
        elif args[i].kind == ARG_VARIABLE:
            if not SCOPE_PROC <= variable_scope_of(<uint64_t> args[i].i) <= SCOPE_RES:
                return -1
            continue
        elif args[i].kind == ARG_REGEX:
            limit = g.regexes
        elif args[i].kind == ARG_TABLE:
            if (args[i].i < MAPPING_ARENA_AT or args[i].i % 64 != 0
                    or args[i].i > MAPPING_ARENA_AT + MAPPING_ARENA - <int64_t> sizeof(table_t)):
                return -1
            continue
        elif args[i].kind == ARG_REFERENCE:
            if not reference_fits(<uint64_t> args[i].i):
                return -1
            continue
        else:
            continue
        if <uint64_t> args[i].i >= limit:
            return -1
    return 0


cdef int check_expressions(const plan_t *p, const program_t *g) noexcept nogil:
    cdef const op_t *ops = <const op_t *> at(p, g.ops_at)
    cdef const expr_t *exprs = <const expr_t *> at(p, g.exprs_at)
    cdef uint32_t i, k
    for i in range(g.ops):
        if ops[i].cast >= SAMPLE_TYPES or not is_range(ops[i].args, ops[i].nargs, g.args):
            return -1
    for i in range(g.exprs):
        if exprs[i].nops == 0 or exprs[i].type >= SAMPLE_TYPES or not is_range(exprs[i].ops, exprs[i].nops, g.ops):
            return -1
        if not is_fetch(ops[exprs[i].ops].code):
            return -1
        for k in range(1, exprs[i].nops):
            if not is_converter(ops[exprs[i].ops + k].code):
                return -1
    return 0


# Whether an expression asks only ACLs below `acl`: what asks itself would never end.
cdef bint asks_below(const plan_t *p, const program_t *g, uint32_t expr, uint32_t acl) noexcept nogil:
    cdef const expr_t *e = (<const expr_t *> at(p, g.exprs_at)) + expr
    cdef const op_t *ops = (<const op_t *> at(p, g.ops_at)) + e.ops
    cdef const arg_t *args = <const arg_t *> at(p, g.args_at)
    cdef uint32_t i, k
    for i in range(e.nops):
        for k in range(ops[i].nargs):
            if args[ops[i].args + k].kind == ARG_ACL and args[ops[i].args + k].i >= acl:
                return False
    return True


cdef int check_conditions(const plan_t *p, const program_t *g) noexcept nogil:
    cdef const set_t *sets = <const set_t *> at(p, g.sets_at)
    cdef const test_t *tests = <const test_t *> at(p, g.tests_at)
    cdef const acl_t *acls = <const acl_t *> at(p, g.acls_at)
    cdef const term_t *terms = <const term_t *> at(p, g.terms_at)
    cdef const cond_t *conds = <const cond_t *> at(p, g.conds_at)
    cdef uint32_t i, k
    for i in range(g.sets):
        if set_check(p, &sets[i]) != 0 or not is_range(sets[i].regexes, sets[i].nregexes, g.regexes):
            return -1
    for i in range(g.tests):
        if tests[i].expr >= g.exprs or tests[i].set_ >= g.sets:
            return -1
    for i in range(g.acls):
        if not is_range(acls[i].tests, acls[i].ntests, g.tests):
            return -1
        for k in range(acls[i].ntests):
            if not asks_below(p, g, tests[acls[i].tests + k].expr, i):
                return -1
    for i in range(g.terms):
        if terms[i].acl >= g.acls:
            return -1
    for i in range(g.conds):
        if not is_range(conds[i].terms, conds[i].nterms, g.terms):
            return -1
    return 0


cdef int check_regexes(const plan_t *p, const program_t *g) noexcept nogil:
    cdef const regex_row_t *rows = <const regex_row_t *> at(p, g.regexes_at)
    cdef uint32_t i
    if g.regexes != 0 and not regex_is_available():
        return -1
    for i in range(g.regexes):
        if not plan_text_fits(p, rows[i].text) or rows[i].text.len > REGEX_PATTERN_MAX or rows[i].flags > REGEX_FLAGS:
            return -1
    return 0


cdef int check_formats(const plan_t *p, const program_t *g) noexcept nogil:
    cdef const part_t *parts = <const part_t *> at(p, g.parts_at)
    cdef const format_t *formats = <const format_t *> at(p, g.formats_at)
    cdef uint32_t i
    for i in range(g.parts):
        if parts[i].kind == PART_TEXT:
            if not plan_text_fits(p, parts[i].text):
                return -1
        elif parts[i].kind != PART_EXPR or parts[i].expr >= g.exprs:
            return -1
    for i in range(g.formats):
        if not is_range(formats[i].parts, formats[i].nparts, g.parts):
            return -1
    return 0


cdef int check_rules(const plan_t *p, const program_t *g) noexcept nogil:
    cdef const rule_t *rules = <const rule_t *> at(p, g.rules_at)
    cdef const ruleset_t *rulesets = <const ruleset_t *> at(p, g.rulesets_at)
    cdef uint32_t i
    for i in range(g.rules):
        if not action_is_known(rules[i].action) or rules[i].cond > g.conds:
            return -1
        if not is_range(rules[i].args, rules[i].nargs, g.args):
            return -1
    for i in range(g.rulesets):
        if not is_range(rulesets[i].rules, rulesets[i].nrules, g.rules):
            return -1
    return 0


cdef int program_check(const plan_t *p) noexcept nogil:
    cdef const program_t *g
    if p.program_at == 0:
        return 0
    if not plan_array_fits(p, p.program_at, 1, sizeof(program_t)):
        return -1
    g = program_of(p)
    if check_arrays(p, g) or check_args(p, g) or check_expressions(p, g) or check_conditions(p, g) \
            or check_regexes(p, g) or check_formats(p, g) or check_rules(p, g):
        return -1
    return 0


cdef bint program_has(const plan_t *p, uint32_t ruleset) noexcept nogil:
    return ruleset == 0 or (p.program_at != 0 and ruleset <= program_of(p).rulesets)
