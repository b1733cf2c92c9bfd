# PROXY headers for what the supervisor connects to itself: health checks.
import ipaddress

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from lb._speedups.proto.proxy cimport PROXY_UNIQUE_ID_MAX, PROXY_WRITE_MAX, proxy_say_t, proxy_write


def header(int version, source=None, target=None, *, bint local=False, bint datagram=False, bint crc32c=False,
           bytes unique_id=b"", bytes tlvs=b"", bint only_authority=False):
    cdef proxy_say_t say
    cdef bytes source_bytes = b"", target_bytes = b""
    cdef size_t room = PROXY_WRITE_MAX + len(tlvs)
    cdef char *made
    if version not in (1, 2):
        raise ValueError(f"PROXY version {version}; there are 1 and 2")
    if len(unique_id) > PROXY_UNIQUE_ID_MAX or len(tlvs) > 65000:
        raise ValueError("a unique id has at most 128 bytes, TLVs together 65,000")
    memset(&say, 0, sizeof(say))
    say.version = version
    say.is_local = local
    say.is_datagram = datagram
    say.with_crc32c = crc32c
    say.only_authority = only_authority
    if source is not None and target is not None:
        say.source_family, source_bytes, say.source_port = endpoint(source)
        say.target_family, target_bytes, say.target_port = endpoint(target)
    say.source = <const uint8_t *> <const char *> source_bytes
    say.target = <const uint8_t *> <const char *> target_bytes
    if unique_id:
        say.unique_id = unique_id
        say.unique_id_len = len(unique_id)
    say.tlvs = tlvs
    say.tlvs_len = len(tlvs)
    made = <char *> malloc(room)
    if made == NULL:
        raise MemoryError
    size = proxy_write(&say, made, room)
    text = made[:size] if size >= 0 else None
    free(made)
    if text is None:
        raise ValueError("the header would be too long")
    return text


def endpoint(given):
    """Return the family (AF_INET, AF_INET6), the bytes and the port of an address."""
    host, port = given
    address = ipaddress.ip_address(host)
    return 2 if address.version == 4 else 10, address.packed, port
