"""Networks as configurations spell them: whose PROXY headers, whose forwarded headers to believe.

==================  =====================================================================
``10.0.0.0/8``      an IPv4 network
``2001:db8::/32``   an IPv6 network, without brackets
``10.0.0.1``        one address
``loopback``        127.0.0.0/8 and ::1
``private``         10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918) and fc00::/7 (RFC 4193)
``unix``            whoever comes over a unix socket
``any``             everyone, unix sockets too
==================  =====================================================================

An IPv4 address that arrives in its IPv6 form (``::ffff:10.0.0.1``) is the IPv4 address, here and in the data plane; so
``::/0`` is every IPv6 address and no IPv4 one.
"""

import socket
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from msgspec import Meta

from lb.model.kinds import Text

Networks = tuple[Annotated[Text, Meta(extra={"kind": "network"})], ...]
"""The type of a field that holds a set of networks; describe it with NETWORKS, and let `meaning` check its entries."""

NETWORKS = (
    "Addresses and networks such as `10.0.0.0/8` and `2001:db8::1`, or the words `loopback`, `private`, `unix`, `any`."
)

_WORDS = {
    "loopback": ("127.0.0.0/8", "::1"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "any": ("0.0.0.0/0", "::/0"),
}

WORDS = (*_WORDS, "unix")

_MAPPED = 0xFFFF << 32


class NetworkError(ValueError):
    """Raise for a text that is no network; the argument says what is wrong and the way out."""


class Span(NamedTuple):
    """Addresses from `first` to `last`; `bits` is 32 or 128."""

    bits: int
    first: int
    last: int


def takes_unix(text: str) -> bool:
    """Tell whether an entry stands for unix sockets too."""
    return text in ("unix", "any")


def parse_network(text: str) -> Sequence[Span]:
    """Return the addresses that an entry stands for. Raise NetworkError."""
    if text in _WORDS:
        return [_span(each) for each in _WORDS[text]]
    if text == "unix":
        return ()
    return (_span(text),)


def _span(text: str) -> Span:
    # Not the ipaddress module: a list may hold a million entries, and this is ten times as fast.
    host, slash, prefix = text.partition("/")
    try:
        first, bits = int.from_bytes(socket.inet_pton(socket.AF_INET, host)), 32
    except (OSError, ValueError):
        first, bits = _ipv6(host), 128
    length = bits
    if slash:
        if not (prefix.isascii() and prefix.isdecimal() and len(prefix) <= 3 and int(prefix) <= bits):
            raise NetworkError(f"has no prefix length behind '/'; 0 to {bits} are possible")
        length = int(prefix)
    free = (1 << (bits - length)) - 1
    if first & free:
        raise NetworkError(
            f"has bits set behind its first {length}; write '{_text(first & ~free, bits)}/{length}', or the address alone"
        )
    if bits == 128 and length >= 96 and first >> 32 == _MAPPED >> 32:
        bits, first = 32, first - _MAPPED
    return Span(bits, first, first + free)


def _ipv6(host: str) -> int:
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, host))
    except (OSError, ValueError):
        pass
    if host.startswith("["):
        raise NetworkError("has brackets; write the address without them")
    if host.count(":") == 1:
        raise NetworkError("has a port; write the address alone")
    raise NetworkError(
        "is no address or network; write '10.0.0.0/8', '2001:db8::/32', 'loopback', 'private', 'unix' or 'any'"
    )


def _text(address: int, bits: int) -> str:
    family = socket.AF_INET if bits == 32 else socket.AF_INET6
    return socket.inet_ntop(family, address.to_bytes(bits // 8))
