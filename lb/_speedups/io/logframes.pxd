# Targets that take messages: syslog servers and journald. What log targets are: logtarget.pxd.
#
# A server (udp, unix datagrams, tcp) has a non-blocking socket of its own. The log thread connects it, and connects it
# again when it was lost: after 100 ms, then twice as long each time, up to 5 s. Only tcp can be lost without an error of
# a write; so it is read before it is written to, and an end of the stream is seen before records go into it.
#
# What waits is kept as it goes over tcp, whatever the transport: octet counting of RFC 6587, which is the length of a
# message in digits, a blank, the message. A datagram is a message without its length. `first` is where the first
# message begins that was not written to its end; a new connection begins there, so it begins with a whole one.
# The header (RFC 3164 or 5424) is made when a record comes from its ring, with the time of that pass: one that waits for
# a server keeps it.
#
# journald gets its native protocol: a line KEY=value for each field. MESSAGE is the record; the keys of a JSON record
# become fields of their own, LB_STATUS=200, so that journalctl can choose by them. A message that no datagram takes goes
# as a sealed memfd.
from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.io.logtarget cimport stamp_t, target_t

# Buffer a message with this priority (8 * facility + severity), or drop it.
cdef void frames_put(target_t *t, const stamp_t *now, uint32_t priority, const char *text, size_t len) noexcept nogil

# Begin a pass: whatever a server needs before it can be written to.
cdef void frames_begin(target_t *t) noexcept nogil

# Write what is buffered until nothing is left or the server does not take more.
cdef void frames_flush(target_t *t) noexcept nogil

# Messages that are buffered, one whose beginning was written included.
cdef uint64_t frames_waiting(const target_t *t) noexcept nogil
