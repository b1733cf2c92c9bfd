# Converters that look values up in maps (policy/reference.pxd): `map_<match>_<output>`. Args: the reference with its use,
# then what to answer if there is no entry.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef enum:                       # CONVERTERS_MAP, four of each match: text, integer, address, the key that was found
    CONVERT_MAP_STR = 1
    CONVERT_MAP_STR_INT
    CONVERT_MAP_STR_IP
    CONVERT_MAP_STR_KEY
    CONVERT_MAP_BEG
    CONVERT_MAP_BEG_INT
    CONVERT_MAP_BEG_IP
    CONVERT_MAP_BEG_KEY
    CONVERT_MAP_END
    CONVERT_MAP_END_INT
    CONVERT_MAP_END_IP
    CONVERT_MAP_END_KEY
    CONVERT_MAP_SUB
    CONVERT_MAP_SUB_INT
    CONVERT_MAP_SUB_IP
    CONVERT_MAP_SUB_KEY
    CONVERT_MAP_DIR
    CONVERT_MAP_DIR_INT
    CONVERT_MAP_DIR_IP
    CONVERT_MAP_DIR_KEY
    CONVERT_MAP_DOM
    CONVERT_MAP_DOM_INT
    CONVERT_MAP_DOM_IP
    CONVERT_MAP_DOM_KEY
    CONVERT_MAP_INT
    CONVERT_MAP_INT_INT
    CONVERT_MAP_INT_IP
    CONVERT_MAP_INT_KEY
    CONVERT_MAP_IP
    CONVERT_MAP_IP_INT
    CONVERT_MAP_IP_IP
    CONVERT_MAP_IP_KEY
    CONVERT_MAP_LEN
    CONVERT_MAP_LEN_INT
    CONVERT_MAP_LEN_IP
    CONVERT_MAP_LEN_KEY
    CONVERT_MAP = 41             # a map_str
    CONVERTERS_MAP_END

cdef int convert_map(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
