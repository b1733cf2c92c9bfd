"""PROXY headers (proto/proxy.pxd) for connections that the data plane does not make."""

from ipaddress import IPv4Address, IPv6Address

def header(
    version: int,
    source: tuple[str | IPv4Address | IPv6Address, int] | None = None,
    target: tuple[str | IPv4Address | IPv6Address, int] | None = None,
    *,
    local: bool = False,
    datagram: bool = False,
    crc32c: bool = False,
    unique_id: bytes = b"",
    tlvs: bytes = b"",
    only_authority: bool = False,
) -> bytes:
    """Return the PROXY header of a client at `source` that connected to `target`.

    `local` says that the connection is the sender's own, as that of a health check is: version 2 has the command LOCAL for it,
    version 1 only `PROXY UNKNOWN`. `tlvs` are raw TLVs to be passed on. Raise ValueError.
    """

def endpoint(given: tuple[str | IPv4Address | IPv6Address, int]) -> tuple[int, bytes, int]:
    """Return family, bytes and port of an address."""
