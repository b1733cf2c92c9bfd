from lb._speedups.policy.convert_codec cimport convert_codec
from lb._speedups.policy.convert_digest cimport convert_digest
from lb._speedups.policy.convert_hash cimport convert_hash
from lb._speedups.policy.convert_json cimport convert_json
from lb._speedups.policy.convert_map cimport convert_map
from lb._speedups.policy.convert_net cimport convert_net
from lb._speedups.policy.convert_number cimport convert_number
from lb._speedups.policy.convert_regex cimport convert_regex
from lb._speedups.policy.convert_table cimport convert_table
from lb._speedups.policy.convert_text cimport convert_text
from lb._speedups.policy.convert_time cimport convert_time
from lb._speedups.policy.convert_variable cimport convert_variable
from lb._speedups.policy.program cimport (
    CONVERTERS_CODEC, CONVERTERS_DIGEST, CONVERTERS_HASH, CONVERTERS_JSON, CONVERTERS_NET, CONVERTERS_NUMBER,
    CONVERTERS_REGEX, CONVERTERS_TABLE, CONVERTERS_TEXT, CONVERTERS_TIME, CONVERTERS_VARIABLE,
    CONVERTERS_MAP,
)
from lb._speedups.policy.sample cimport SAMPLE_FOUND, SAMPLE_NONE, sample_cast


cdef int convert_run(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int family = op.code >> 8
    if sample_cast(c, s, op.cast) != SAMPLE_FOUND:
        return SAMPLE_NONE
    if family == CONVERTERS_TEXT:
        return convert_text(c, g, op, s)
    if family == CONVERTERS_NUMBER:
        return convert_number(c, g, op, s)
    if family == CONVERTERS_VARIABLE:
        return convert_variable(c, g, op, s)
    if family == CONVERTERS_CODEC:
        return convert_codec(c, g, op, s)
    if family == CONVERTERS_HASH:
        return convert_hash(c, g, op, s)
    if family == CONVERTERS_NET:
        return convert_net(c, g, op, s)
    if family == CONVERTERS_TIME:
        return convert_time(c, g, op, s)
    if family == CONVERTERS_DIGEST:
        return convert_digest(c, g, op, s)
    if family == CONVERTERS_JSON:
        return convert_json(c, g, op, s)
    if family == CONVERTERS_REGEX:
        return convert_regex(c, g, op, s)
    if family == CONVERTERS_TABLE:
        return convert_table(c, g, op, s)
    if family == CONVERTERS_MAP:
        return convert_map(c, g, op, s)
    return SAMPLE_NONE
