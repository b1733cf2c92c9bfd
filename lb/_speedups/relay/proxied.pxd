# PROXY headers on connections (the format: proto/proxy.pxd): read from clients, written to servers.
#
# In. A listener may name proxies (plan_listener_t.proxies). A connection from one of these begins with a header: until that
# is whole, the link waits (LINK_PROXY) without codec and stream and holds no memory, because the bytes stay in the socket and
# are only looked at. Then exactly the header is taken, the link's address becomes the one it tells, and the session begins as
# if it had been accepted now. What the header says beyond that is in link.proxied: the address that the client connected to, and
# the TLVs where a server gets them.
#
# Nobody else's header is read. Who is not listed is refused, or (LISTENER_OTHERS, mode http) served as a plain client, whose
# header, if it sends one, is no HTTP. Only a byte that was sent can be wrong: a connection that closes without one is not logged.
#
# Out. A connection to a server with `send_proxy` begins with a header about one client. It is written before the codec opens
# and leaves with the first bytes; a long one leaves before them, and the stream connects until it has. The connection is that
# client's own (link.owner, relay/idle.pxd): it carries streams of this client only and ends with it at the latest.
from libc.stdint cimport uint8_t
from lb._speedups.relay.relay cimport link_t, stream_t

cdef enum:                       # answers of proxied_read
    PROXIED_DONE = 1             # the header was taken
    PROXIED_WAIT = 0
    PROXIED_GONE = -1            # the connection ended or failed without a byte
    # less: minus a proxy_reason

# The link waits for its header: look whether it is there.
cdef int proxied_read(link_t *l) noexcept nogil

# Write a record, count it, close the link. `cause` is the first letter of the termination state.
cdef void proxied_refuse(link_t *l, uint8_t reason, char cause) noexcept nogil

# Give link.proxied back.
cdef void proxied_free(link_t *l) noexcept nogil

# Put the header for st.server_at on the new connection of st, before anything else. 1, 0 when it must leave first and
# has not yet: call again when the server takes more, or -1: no memory, or the connection broke.
cdef int proxied_greet(stream_t *st) noexcept nogil
