# Why a message was refused. The number goes into logs and counters, h1_reason_text (h1.pxd) spells it.

cdef enum h1_reason:
    H1_OK = 0
    H1_BAD_START_LINE           # a status line that is none
    H1_BAD_METHOD               # not a token, or longer than 32 bytes
    H1_BAD_TARGET               # a byte or a form that a target may not have
    H1_BAD_VERSION              # other than HTTP/1.0 and HTTP/1.1
    H1_BAD_LINE_END             # bare LF, bare CR
    H1_BAD_FIELD_NAME           # not a token, longer than 255, space before the colon, no colon
    H1_BAD_FIELD_VALUE          # a control in it, or Connection options that are no tokens
    H1_OBS_FOLD                 # a line that begins with white space
    H1_BAD_HOST                 # missing, twice, malformed, or not the target's authority
    H1_BAD_LENGTH               # Content-Length malformed or repeated
    H1_BAD_CODING               # Transfer-Encoding other than exactly `chunked`, once
    H1_LENGTH_AND_CODING        # both
    H1_CODING_IN_10             # Transfer-Encoding in 1.0
    H1_TARGET_TOO_LONG          # more than MESSAGE_TARGET_MAX
    H1_HEAD_TOO_LARGE           # no end before MESSAGE_HEAD_MAX
    H1_TOO_MANY_FIELDS          # more than MESSAGE_FIELDS_MAX
    H1_BAD_STATUS               # not three digits of 100..599
    H1_BAD_CHUNK                # a chunk line or the two bytes behind the data
    H1_CHUNK_EXTENSIONS         # more extension bytes than the budget
    H1_BAD_TRAILER              # a trailer line, or more of them than the budget
    H1_CONNECT_REFUSED          # the method CONNECT (answered 405)
    H1_BAD_EXPECT               # Expect other than 100-continue (417)
    H1_UNASKED_UPGRADE          # 101 nobody asked for (told by the caller)
    H1_REASONS
