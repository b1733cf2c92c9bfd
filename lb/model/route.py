"""What routes are made of: hosts and paths.

A host is exact and compared without case and port. A path that ends in ``/*`` matches everything that begins with what stands
before the star (``/static/*`` matches ``/static/`` and ``/static/a/b``, not ``/static``); any other path matches only itself.
Paths are compared byte by byte, as they were sent: ``/a%62`` is not ``/ab``.
"""

import ipaddress
import re

from lb.model.address import is_host_name

# The longest request target the data plane takes: no request could match more.
PATH_MAX = 8192

_PATH = re.compile(r"/[!-~]*")


class RouteError(ValueError):
    """Raise for a host or path that cannot be matched; the argument says what is wrong and the way out."""


def parse_host(text: str) -> str:
    """Return a host in the form that requests are compared with: lower case, IPv6 in brackets. Raise RouteError."""
    if "*" in text:
        raise RouteError("holds a wildcard, which is known but not built yet; name one host, or none for every host")
    if "/" in text:
        raise RouteError("is not a host; write the name alone, such as 'api.example.com'")
    if text.startswith("[") and text.endswith("]"):
        try:
            return f"[{ipaddress.IPv6Address(text[1:-1]).compressed}]"
        except ValueError:
            raise RouteError("has no IPv6 address in its brackets") from None
    if text.count(":") == 1 and text.rpartition(":")[2].isdigit():
        raise RouteError("holds a port; leave it out, since the port of a request is not compared")
    bare = text.lower().removesuffix(".")
    if bare.replace(".", "").isdigit() and bare.isascii():
        try:
            return str(ipaddress.IPv4Address(bare))
        except ValueError:
            raise RouteError("is neither an IPv4 address nor a host name") from None
    if not is_host_name(bare):
        raise RouteError("is not a host name: labels of letters, digits and '-', joined by dots")
    return bare


def parse_path(text: str) -> tuple[str, bool]:
    """Return a path without its star, and whether it is exact. Raise RouteError."""
    if not text.startswith("/"):
        raise RouteError("does not begin with '/'")
    if len(text) > PATH_MAX:
        raise RouteError(f"is {len(text)} bytes; a path takes at most {PATH_MAX}")
    if not _PATH.fullmatch(text):
        raise RouteError("holds a space, control or non-ASCII character; write it percent-encoded, as requests send it")
    if "?" in text or "#" in text:
        raise RouteError("holds a query or fragment; only the path is compared")
    exact = not text.endswith("/*")
    prefix = text if exact else text[:-1]
    if "*" in prefix:
        raise RouteError(
            "has a wildcard inside, which is known but not built yet; a star is possible at the end, behind '/'"
        )
    return prefix, exact
