# Actions of rules. A code has its family in the high byte (`code >> 8`): a family is a module, action_*.pyx, and numbers its
# actions in the low byte. Codes are matched by number with lb/config/actions/number.py; a test compares them.
from libc.stdint cimport uint16_t

cdef enum:                       # families
    ACTIONS_VERDICT = 1          # what ends a stream or steers it: relay carries them out
    ACTIONS_EDIT                 # of the head
    ACTIONS_REWRITE              # of the head, by regular expressions and normalizers
    ACTIONS_VARIABLE             # variables and captures
    ACTIONS_MAP                  # changes of maps and pattern files
    ACTIONS_TABLE                # of stick tables
    ACTIONS_STREAM               # how the stream goes on: log level, timeouts, addresses; relay carries them out too
    ACTIONS_PHASE                # of one phase alone; relay carries them out

cdef enum:                       # ACTIONS_VERDICT
    ACTION_ALLOW = 0x101         # no more rules of this set
    ACTION_DENY                  # args as of ACTION_RETURN; without a body what the proxy answers to such an error
    ACTION_REJECT                # close without a word
    ACTION_RETURN                # args: status (its text: reason phrase), content type, body, then name and format of each header
    ACTION_REDIRECT              # args: status, kind, format, RULE_REDIRECT_* flags, value of Set-Cookie (empty = none)
    ACTION_USE_BACKEND           # args: backend, or the format of its name
    ACTION_TARPIT                # args: ms, then as ACTION_DENY
    ACTION_SILENT_DROP           # forget the connection: the client is not told
    ACTIONS_VERDICT_END

cdef enum:                       # flags of ACTION_REDIRECT
    RULE_REDIRECT_DROP_QUERY = 1 << 0
    RULE_REDIRECT_APPEND_SLASH = 1 << 1
    RULE_REDIRECT_IGNORE_EMPTY = 1 << 2  # a location that is empty: the rule is passed over
    RULE_REDIRECT_KEEP_QUERY = 1 << 3

cdef enum:                       # ACTIONS_EDIT
    ACTION_SET_HEADER = 0x201    # args: name, format
    ACTION_ADD_HEADER
    ACTION_DEL_HEADER            # args: name
    ACTION_SET_METHOD            # args: format
    ACTION_SET_PATH
    ACTION_SET_QUERY
    ACTION_SET_PATHQ
    ACTION_SET_STATUS            # args: status, reason text
    ACTIONS_EDIT_END

cdef enum:                       # ACTIONS_REWRITE
    ACTION_REPLACE_HEADER = 0x301    # args: name, regex, format with references
    ACTION_REPLACE_VALUE         # of a list, each element
    ACTION_REPLACE_PATH          # args: regex, format with references
    ACTION_REPLACE_PATHQ
    ACTION_REPLACE_URI
    ACTION_SET_URI               # args: format
    ACTION_NORMALIZE_URI         # args: NORMALIZE_*, flags
    ACTIONS_REWRITE_END

cdef enum:                       # ACTIONS_VARIABLE
    ACTION_SET_VAR = 0x401       # args: variable, conditions, expression
    ACTION_SET_VAR_FMT           # args: variable, conditions, format
    ACTION_UNSET_VAR             # args: variable
    ACTION_CAPTURE               # args: slot, its length, expression, whether it is one of responses
    ACTIONS_VARIABLE_END
cdef enum:                       # ACTIONS_MAP
    ACTION_SET_MAP = 0x501       # args: reference, format of the key, format of the value
    ACTION_DEL_MAP               # args: reference, format of the key
    ACTION_ADD_ACL
    ACTION_DEL_ACL
    ACTIONS_MAP_END

cdef enum:                       # ACTIONS_TABLE
    ACTION_TRACK = 0x601         # args: which of a stream's tracks, expression of the key, table
    ACTION_SC_INC_GPC            # args: which of the tracks, number in the array, value (a number or an expression)
    ACTION_SC_INC_GPC0
    ACTION_SC_INC_GPC1
    ACTION_SC_ADD_GPC
    ACTION_SC_SET_GPT
    ACTION_SC_SET_GPT0
    ACTIONS_TABLE_END

cdef enum:                       # ACTIONS_STREAM
    ACTION_SET_LOG_LEVEL = 0x701  # args: severity, -1 = no record
    ACTION_SET_TIMEOUT           # args: ms of client, server, tunnel: each a number, an expression or none
    ACTION_SET_SRC               # args: expression of an address
    ACTION_SET_SRC_PORT          # args: expression of a number
    ACTION_SET_DST
    ACTION_SET_DST_PORT
    ACTION_USE_SERVER            # args: server, or the format of its name
    ACTION_EARLY_HINT            # args: name, format
    ACTION_STRICT_MODE           # args: 1 or 0; rules_run looks at it
    ACTION_PAUSE                 # args: ms, a number or an expression
    ACTION_SET_FC_MARK           # args: a number or an expression
    ACTION_SET_FC_TOS
    ACTIONS_STREAM_END

cdef enum:                       # ACTIONS_PHASE
    ACTION_EXPECT_PROXY = 0x801  # connection rules: a PROXY header comes first
    ACTION_WAIT_FOR_BODY         # request rules. args: ms, bytes that are enough (0 = all)
    ACTIONS_PHASE_END

cdef inline bint action_is_known(uint16_t code) noexcept nogil:
    return (
        ACTION_ALLOW <= code < ACTIONS_VERDICT_END
        or ACTION_SET_HEADER <= code < ACTIONS_EDIT_END
        or ACTION_REPLACE_HEADER <= code < ACTIONS_REWRITE_END
        or ACTION_SET_VAR <= code < ACTIONS_VARIABLE_END
        or ACTION_SET_MAP <= code < ACTIONS_MAP_END
        or ACTION_TRACK <= code < ACTIONS_TABLE_END
        or ACTION_SET_LOG_LEVEL <= code < ACTIONS_STREAM_END
        or ACTION_EXPECT_PROXY <= code < ACTIONS_PHASE_END
    )

# Whether a rule refuses when nobody can tell whether its condition holds.
cdef inline bint action_refuses(uint16_t code) noexcept nogil:
    return code == ACTION_DENY or code == ACTION_REJECT or code == ACTION_TARPIT or code == ACTION_SILENT_DROP
