# The message: one form of a head for every HTTP version.
#
# A message is a version-neutral head (request or response). Its bytes live in its own 16 KiB block; every span is an
# offset into that block, never a pointer into a connection's buffer. HTTP/1 receives straight into the block, HTTP/2
# will copy into it. The first MESSAGE_HEAD_MAX bytes are for what arrives, the last MESSAGE_EDIT_MAX are for edits.
#
# Theory of operation. Fields stand in `fields` in the order they arrived. An edit never moves bytes: it appends to the
# edit area and marks the old field deleted. Rules see fields, never wire bytes. Case is kept, and a run of neighbouring
# untouched fields is one run of bytes in the block, so an HTTP/1 writer copies it whole.
#
# Ownership. A message is taken from the worker's message pool when the first byte of a head arrives and given back when
# nobody needs the head or the bytes behind it any more; an idle connection holds none. One owner at a time.
# What follows the head in the block (first body bytes, pipelined requests) belongs to the codec that reads.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    MESSAGE_BLOCK = 16384       # bytes of a block
    MESSAGE_HEAD_MAX = 15360    # a head must end before this offset, else 431
    MESSAGE_EDIT_MAX = 1024     # bytes for edits, at MESSAGE_HEAD_MAX..MESSAGE_BLOCK
    MESSAGE_TARGET_MAX = 8192   # bytes of a request target, else 414
    MESSAGE_FIELDS_MAX = 101    # fields a peer may send, else 431
    MESSAGE_FIELDS_ALL = 128    # fields with our own additions

cdef enum:                      # message_t.kind
    MESSAGE_REQUEST = 1
    MESSAGE_RESPONSE = 2

cdef enum method_id:            # known methods; a token that is none of them is METHOD_OTHER and keeps its bytes
    METHOD_OTHER = 0
    METHOD_GET
    METHOD_HEAD
    METHOD_POST
    METHOD_PUT
    METHOD_DELETE
    METHOD_CONNECT
    METHOD_OPTIONS
    METHOD_TRACE
    METHOD_PATCH

cdef enum framing_id:           # how the body of a message is delimited
    FRAMING_NONE = 0            # no body
    FRAMING_LENGTH              # exactly message_t.length bytes
    FRAMING_CHUNKED             # until the last chunk
    FRAMING_CLOSE               # responses only: until the peer closes

cdef enum:                      # message_t.flags
    MESSAGE_KEEP_ALIVE = 1 << 0       # the sender lets the connection persist (RFC 9112 9.3)
    MESSAGE_CLOSE = 1 << 1            # `Connection: close` was said
    MESSAGE_UPGRADE = 1 << 2          # Upgrade present and nominated by Connection, and not h2c alone
    MESSAGE_EXPECT_CONTINUE = 1 << 3  # `Expect: 100-continue` on a 1.1 request
    MESSAGE_ABSOLUTE = 1 << 4         # the target came in absolute-form
    MESSAGE_STAR = 1 << 5             # the target is `*` (OPTIONS)
    MESSAGE_HTTP10 = 1 << 6           # the peer speaks 1.0
    MESSAGE_RELENGTH = 1 << 7         # Content-Length was not in normal form: write it anew

cdef enum:                      # field_t.flags
    FIELD_DELETED = 1 << 0      # do not write
    FIELD_EDIT = 1 << 1         # bytes are in the edit area
    FIELD_HOP = 1 << 2          # hop-by-hop: a standard one, or named in Connection
    FIELD_FRAMING = 1 << 3      # Content-Length or Transfer-Encoding: the codec writes these itself

cdef enum:                      # known_name, of field_t.id; 0 = none. New names go at the end, and into h1_tables.h.
    NAME_OTHER = 0
    NAME_HOST                   # Host..Expect: the codec itself reads these, see h1.pyx
    NAME_CONNECTION
    NAME_CONTENT_LENGTH
    NAME_TRANSFER_ENCODING
    NAME_KEEP_ALIVE
    NAME_PROXY_CONNECTION
    NAME_TE
    NAME_TRAILER
    NAME_UPGRADE
    NAME_HTTP2_SETTINGS
    NAME_PROXY_AUTHENTICATE
    NAME_PROXY_AUTHORIZATION
    NAME_EXPECT
    NAME_X_FORWARDED_FOR
    NAME_X_REQUEST_ID
    NAME_ACCEPT
    NAME_USER_AGENT
    NAME_REFERER
    NAME_COOKIE
    NAME_SET_COOKIE
    NAME_CONTENT_TYPE
    NAME_DATE
    NAME_SERVER
    NAME_LOCATION
    NAME_SEC_WEBSOCKET_KEY
    NAME_SEC_WEBSOCKET_ACCEPT
    NAME_COUNT

ctypedef struct span_t:
    uint16_t at                 # offset into the message's block
    uint16_t len                # bytes; 0 = absent

ctypedef struct field_t:
    uint16_t name_at            # offset of the name
    uint16_t value_at           # offset of the value, optional white space stripped
    uint16_t value_len          # bytes of the value
    uint16_t line_end           # offset behind the CRLF of this line as it arrived (0 for edits)
    uint8_t name_len            # bytes of the name (a longer name than 255 is refused with 400)
    uint8_t id                  # known_name
    uint8_t flags               # FIELD_*
    uint8_t pad

ctypedef struct message_t:
    uint8_t kind                # MESSAGE_REQUEST or MESSAGE_RESPONSE
    uint8_t method              # method_id; of a response: that of its request
    uint8_t framing             # framing_id of this message's body
    uint8_t reason_id           # why it was refused: h1_reason; 0 = not refused
    uint16_t status             # of a response; of a refused message: the status to answer
    uint16_t flags              # MESSAGE_*
    uint16_t nfields            # fields in use
    uint16_t nlive              # of these, received from the peer (the first `nlive` entries)
    uint16_t edit_at            # next free byte of the edit area
    uint16_t fill               # bytes of the block that hold received bytes
    uint16_t head_len           # bytes of the head with its closing CRLF; 0 = not complete
    uint16_t scan               # parser: start of the line being read
    uint16_t seek               # parser: no line feed before this offset
    uint16_t line               # parser: lines read so far (0 = start line pending)
    uint64_t length             # FRAMING_LENGTH: bytes of the body
    span_t method_at            # method token
    span_t target               # request target as received
    span_t scheme               # of absolute-form
    span_t authority            # host[:port]: of the target if it has one, else of Host
    span_t path                 # from the first `/` to `?`
    span_t query                # behind `?`, without it
    span_t reason               # reason phrase of a response
    uint16_t by_name[NAME_COUNT]  # index + 1 of the first live field of this id, 0 = none
    field_t fields[MESSAGE_FIELDS_ALL]
    char block[MESSAGE_BLOCK]

# Ready a message for a new head: everything but fields and block to zero (fill too), block untouched.
cdef void message_reset(message_t *m, uint8_t kind) noexcept nogil

# Append a field to the edit area. `id` may be NAME_OTHER. 0 on success; -1 when the edit area or the array is full, the
# name is no token of 1..255 bytes, or the value has a byte that no field may have (CR, LF, NUL, other controls).
cdef int message_add(message_t *m, uint8_t id, const char *name, size_t name_len,
                     const char *value, size_t value_len) noexcept nogil

# Append a field whose name and value need no check: from the configuration, or written by ourselves. Returns where to write
# the value, room for `most` bytes, to be ended by message_end(); NULL when the edit area or the array is full.
cdef char *message_begin(message_t *m, uint8_t id, const char *name, size_t name_len, size_t most) noexcept nogil

# The value of the field that was begun last has this many bytes.
cdef inline void message_end(message_t *m, size_t value_len) noexcept nogil:
    m.fields[m.nfields - 1].value_len = <uint16_t> value_len
    m.edit_at += <uint16_t> value_len

# The same with a value that stands in the block already, outside the edit area. 0 or -1.
cdef int message_refer(message_t *m, uint8_t id, const char *name, size_t name_len, span_t value) noexcept nogil

# Mark field `i` deleted; by_name moves on to the next live field of the same id.
cdef void message_delete(message_t *m, unsigned int i) noexcept nogil

# Mark every hop-by-hop field deleted (FIELD_HOP), but Upgrade of a MESSAGE_UPGRADE: that one is written only with
# H1_WRITE_UPGRADE. Call before adding our own.
cdef void message_strip_hop(message_t *m) noexcept nogil

# Index of the next live field with this name (case-insensitive) at or behind `start`, or -1.
cdef int message_find(const message_t *m, const char *name, size_t len, unsigned int start) noexcept nogil
