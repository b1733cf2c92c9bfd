# journald's native protocol: what a record adds to a message, and messages that no datagram takes.
#
# The fields of a message are lines KEY=value. A record that is a JSON object gives one for each of its keys, in capitals behind
# LB_, whatever is no letter or digit becoming `_`; null gives none. A value stays as it is in JSON but for `\"` and `\\`: control
# characters are `\u00XX` there, so it holds no line feed. What comes from a ring is not believed: anything that is no flat
# object ends the fields.
#
# See systemd's journal native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).

cdef enum:
    JOURNAL_FIELDS_MAX = 8192    # bytes of these fields; those that do not fit are left out

# Write a line feed, which ends the record's own line, and the fields of the record into out[0:JOURNAL_FIELDS_MAX]. Returns
# their bytes.
cdef size_t journal_fields(char *out, const char *text, size_t len) noexcept nogil

# Send a message as a sealed memfd. 0, or -1 and errno; EMSGSIZE: it cannot be sent at all.
cdef int journal_send_large(int fd, const char *data, size_t size) noexcept nogil
