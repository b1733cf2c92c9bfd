# The multiplexing debug codec: several streams on one connection, so that the relay is shown to know a side only through
# its codec's table. It is what HTTP/2 needs of the relay and nothing else: heads as pairs, credits for each stream and
# for the connection, resets, an orderly end. Debug builds only: in a release the table stays empty, and a plan that asks
# for it is refused.
#
# Protocol. Frames of type (1 byte), stream id (1 byte), payload length (2 bytes, big endian), payload; both directions.
#
#     HEAD    1  flags (1 byte, 1 = it ends the message), then pairs: name length (1), name, value length (2), value
#     DATA    2  body bytes
#     END     3  the message is complete
#     RESET   4  code (1 byte): the sender gives the stream up, and ignores what still comes for it
#     WINDOW  5  n (2 bytes): the receiver may send n more bytes of DATA on this stream; id 0: on the connection
#     GOAWAY  6  last id (1 byte), code (1): no stream above the last id was or will be served; the sender closes the
#                connection when the others have ended
#
# There is no greeting. Who connected opens streams: a HEAD with an id above all before it, 1..255, so a connection
# carries at most 255 streams; no more than 3 at a time, or the fourth is reset with REFUSED. Each stream begins with a
# credit of 100 bytes each way, each connection with 250. Credit of the connection is given back with that of the stream
# when the reader consumes, for ended streams at once: two streams that nobody reads leave 50 bytes to the third.
# A peer that breaks these rules gets GOAWAY with PROTOCOL or CREDIT and is cut off; one whose message is wrong in itself
# gets its stream refused (a request head: an answer; anything else: RESET with MESSAGE).
#
# How it works here. The link's state (mux_t) lives in one buffer of the engine's pool for the whole connection. What a
# stream writes becomes frames at once, in its own buffer, as far as credit goes; the link takes whole frames from its
# streams in turn into link.out. A frame that arrives wakes its stream right away, a frame for the connection all.
# Unread DATA is bounded by the credit and kept in the stream's place. A wake may end any stream: mux_t.busy keeps the
# link until the loop that wakes is through.
from lb._speedups.relay.relay cimport codec_t

# The table. Written once per engine, by value; all NULL in a release.
cdef void muxlink_codec(codec_t *out) noexcept nogil
