"""Addresses as configurations spell them: where to listen, whom to connect to.

=====================  ==========================================================
``:8080``, ``*:8080``  every IPv4 address of the machine (binds only)
``10.0.0.1:80``        IPv4
``[::1]:80``           IPv6, always in brackets; ``[::]:80`` does not take IPv4
``app.internal:80``    a host name, resolved when the configuration is loaded (servers only)
``unix@/run/x.sock``   a unix socket; the path alone means the same
``abns@app``           a unix socket without a file (abstract), its name filled up with NULs as HAProxy does it
``abnsz@app``          the same with the name alone, as most programs do it
``fd@3``               an inherited descriptor (binds only)
``fd@web``             the sockets that systemd passes under this name (binds only)
=====================  ==========================================================

Log targets put a transport in front: ``udp:127.0.0.1:514``, ``tcp:[::1]:601``, ``unix:/dev/log``.
"""

import ipaddress
import re
from enum import StrEnum
from typing import NamedTuple

# sun_path holds 108 bytes with its NUL.
UNIX_PATH_MAX = 107

# Spellings of HAProxy that mean something else than an address we can use.
_FOREIGN = (
    "sockpair",
    "udp",
    "udp4",
    "udp6",
    "uxdg",
    "uxst",
    "quic4",
    "quic6",
    "mptcp",
    "mptcp4",
    "mptcp6",
    "rhttp",
    "tcp",
    "tcp4",
    "tcp6",
    "ip",
    "ipv4",
    "ipv6",
)

# systemd takes any printable ASCII but ':' (fdname_is_valid); this is what people write. A number is not a name.
_NAMED = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.@-]{1,255}")

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class Family(StrEnum):
    """How an address is reached."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    UNIX = "unix"
    ABNS = "abns"
    ABNSZ = "abnsz"
    FD = "fd"
    NAME = "name"


class Address(NamedTuple):
    """One parsed address; `host` is empty for unix and fd, `port` is 0 where there is none.

    Of an abstract socket `path` is the name. An inherited descriptor has a number `fd` or a `name`.
    """

    family: Family
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    name: str = ""

    def __str__(self) -> str:
        match self.family:
            case Family.UNIX:
                return f"unix@{self.path}"
            case Family.ABNS | Family.ABNSZ:
                return f"{self.family.value}@{self.path}"
            case Family.FD:
                return f"fd@{self.name or self.fd}"
            case Family.IPV6:
                return f"[{self.host}]:{self.port}"
            case _:
                return f"{self.host}:{self.port}"


class AddressError(ValueError):
    """Raise for a text that is not an address; the argument says what is wrong and the way out."""


class ForeignAddressError(AddressError):
    """Raise for a kind of address that is known but not built yet."""


def parse_bind(text: str) -> Address:
    """Parse where to listen; port 0 lets the kernel choose. Raise AddressError."""
    special = _special(text)
    if special is not None:
        return special
    host, port = _split(text, "':8080'")
    number = _port(port, lowest=0)
    if host in ("", "*"):
        return Address(Family.IPV4, "0.0.0.0", number)
    found = _literal(host, text)
    if found is None:
        raise AddressError(f"names the host '{host}'; a bind takes an IP address, '*' or nothing before the port")
    return Address(found[0], found[1], number)


def parse_server(text: str) -> Address:
    """Parse whom to connect to: an IP address or host name with its port, or a unix socket. Raise AddressError."""
    special = _special(text)
    if special is not None:
        if special.family is Family.FD:
            raise AddressError("is a descriptor; a server needs an address to connect to, such as '10.0.0.1:8080'")
        return special
    host, port = _split(text, "'10.0.0.1:8080'")
    number = _port(port, lowest=1)
    if host in ("", "*"):
        raise AddressError("names no host; write one before the port, such as '10.0.0.1:8080'")
    found = _literal(host, text)
    if found is not None:
        return Address(found[0], found[1], number)
    if not is_host_name(host):
        raise AddressError(
            f"has no usable host name: '{host}' must be an IP address or DNS labels of letters, digits and '-'"
        )
    return Address(Family.NAME, host.lower(), number)


def parse_syslog(text: str) -> tuple[str, Address] | None:
    """Parse a syslog server into its transport (`udp`, `tcp`, `unix`) and address; None if it names no transport.

    Raise AddressError.
    """
    transport, colon, place = text.partition(":")
    if not colon or transport not in ("udp", "tcp", "unix"):
        return None
    if transport == "unix":
        if not place.startswith("/"):
            raise AddressError("has no absolute path behind its colon; write 'unix:/dev/log'")
        return transport, _unix(place)
    if place.startswith("//"):
        raise AddressError(f"is a URL; write '{transport}:{place[2:]}'")
    host, port = _split(place, f"'{transport}:127.0.0.1:514'")
    number = _port(port, lowest=1)
    found = _literal(host, place)
    if found is None:
        raise AddressError(f"needs an IP address, not the host '{host}'; write '{transport}:127.0.0.1:{number}'")
    return transport, Address(found[0], found[1], number)


def parse_host_address(text: str) -> Address:
    """Parse an IP address without a port (which is 0 then), or a unix socket. Raise AddressError."""
    special = _special(text)
    if special is not None:
        if special.family is not Family.UNIX:
            raise AddressError("is no address to connect to; write an IP address or 'unix@/path'")
        return special
    try:
        found = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise AddressError("is no IP address; write one without a port, such as '10.0.0.1' (see 'port')") from None
    return Address(Family.IPV4 if found.version == 4 else Family.IPV6, str(found))


class Source(NamedTuple):
    """Where server connections come from; without ports (0, 0) the kernel chooses them."""

    address: Address
    ports: tuple[int, int] = (0, 0)


def parse_source(text: str) -> Source:
    """Parse an IP address with an optional range of ports: `10.0.0.5`, `10.0.0.5:20000-29999`. Raise AddressError."""
    bare = text.removeprefix("[").removesuffix("]")
    host, colon, port = (text, "", "") if ":" in bare and text == f"[{bare}]" else text.rpartition(":")
    if not colon:
        host = port if not host else text
    found = _literal(host, text) if host not in ("", "*") else None
    if found is None:
        raise AddressError("has no IP address; write '10.0.0.5', '[2001:db8::5]' or '10.0.0.5:20000-29999'")
    if not colon:
        return Source(Address(*found))
    first, dash, last = port.partition("-")
    low = _port(first, lowest=1)
    high = _port(last, lowest=1) if dash else low
    if low > high:
        raise AddressError(f"has a range of ports that ends before it begins: {low}-{high}")
    return Source(Address(*found), (low, high))


def unix_name(family: str, path: str) -> bytes:
    """Return what stands in sun_path: a path with its NUL, or an abstract name behind one."""
    if family == Family.UNIX:
        return path.encode() + b"\0"
    # HAProxy hands the kernel all 108 bytes of sun_path for `abns@`, so the NULs are part of the name.
    name = b"\0" + path.encode()
    return name.ljust(UNIX_PATH_MAX + 1, b"\0") if family == Family.ABNS else name


JOURNALD = "/run/systemd/journal/socket"


def parse_journald(text: str) -> str | None:
    """Return the path of journald's socket if the text names it: `journald`, `journald:/path`. Raise AddressError."""
    name, colon, path = text.partition(":")
    if name != "journald":
        return None
    if colon and not path.startswith("/"):
        raise AddressError("has no absolute path behind its colon; write 'journald' or 'journald:/run/socket'")
    return _unix(path).path if colon else JOURNALD


def is_host_name(text: str) -> bool:
    """Tell whether this is a DNS name: labels of at most 63 bytes, 253 in all, a last one that is no number."""
    bare = text.removesuffix(".")
    labels = bare.split(".")
    return len(bare) <= 253 and all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def _special(text: str) -> Address | None:
    kind, at, rest = text.partition("@")
    if not at:
        if text.startswith("/"):
            return _unix(text)
        return None
    if kind == "unix":
        return _unix(rest)
    if kind in ("abns", "abnsz"):
        return _abstract(Family(kind), rest)
    if kind == "fd":
        if _NAMED.fullmatch(rest):
            return Address(Family.FD, name=rest)
        if not rest.isdecimal() or not rest.isascii() or len(rest) > 6:
            raise AddressError(
                "is not a descriptor; write 'fd@' and its number or the name that systemd gives it, such as 'fd@3', 'fd@web'"
            )
        return Address(Family.FD, fd=int(rest))
    if kind in _FOREIGN:
        raise ForeignAddressError(f"'{kind}@' is known but not built yet; use an IP address and port, 'unix@' or 'fd@'")
    raise AddressError(f"has an unknown prefix '{kind}@'; known are 'unix@' and 'fd@'")


def _unix(path: str) -> Address:
    if not path.startswith("/"):
        raise AddressError("is not an absolute path; write 'unix@/run/app.sock'")
    if "\0" in path:
        raise AddressError("holds a NUL byte")
    size = len(path.encode())
    if size > UNIX_PATH_MAX:
        raise AddressError(f"is {size} bytes; a unix socket's path takes at most {UNIX_PATH_MAX}")
    return Address(Family.UNIX, path=path)


def _abstract(family: Family, name: str) -> Address:
    if not name:
        raise AddressError(f"has no name behind '{family.value}@'; write '{family.value}@app'")
    if "\0" in name:
        raise AddressError("holds a NUL byte")
    size = len(name.encode())
    if size > UNIX_PATH_MAX:
        raise AddressError(f"has a name of {size} bytes; an abstract socket's takes at most {UNIX_PATH_MAX}")
    return Address(family, path=name)


def _split(text: str, example: str) -> tuple[str, str]:
    if "://" in text:
        raise AddressError("is a URL; write host and port alone")
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        if not bracket:
            raise AddressError("opens a bracket and does not close it; write '[::1]:8080'")
        if not rest.startswith(":"):
            raise AddressError(f"has no port; write '{host}]:8080'")
        return host + "]", rest[1:]
    if text.count(":") > 1:
        raise AddressError("looks like IPv6 without brackets; write '[::1]:8080'")
    host, colon, port = text.partition(":")
    if not colon:
        raise AddressError(f"has no port; write it behind a colon, such as {example}")
    return host, port


def _port(text: str, lowest: int) -> int:
    if not text:
        raise AddressError(f"has no port behind the colon; {lowest} to 65535 are possible")
    if "-" in text[1:] or "+" in text:
        raise ForeignAddressError(
            f"port range '{text}' is known but not built yet; write each port as an entry of its own"
        )
    if not (text.isdecimal() and text.isascii()):
        raise AddressError(f"has port '{text}', which is not a number; {lowest} to 65535 are possible")
    number = int(text) if len(text) < 7 else 1 << 20
    if not lowest <= number <= 65535:
        raise AddressError(f"has port {text}; {lowest} to 65535 are possible")
    return number


def _literal(host: str, text: str) -> tuple[Family, str] | None:
    if host.startswith("["):
        bare, scope, zone = host[1:-1].partition("%")
        try:
            parsed = ipaddress.IPv6Address(bare)
        except ValueError:
            raise AddressError(f"has no IPv6 address in its brackets: '{host[1:-1]}'") from None
        if scope:
            raise ForeignAddressError(f"a zone ('%{zone}') is known but not built yet; use an address without one")
        return Family.IPV6, parsed.compressed
    if not host.replace(".", "").isdigit():
        return None
    try:
        return Family.IPV4, str(ipaddress.IPv4Address(host))
    except ValueError:
        raise AddressError(
            f"has no IPv4 address before its port: '{text.rpartition(':')[0]}'; write four numbers from 0 to 255"
        ) from None
