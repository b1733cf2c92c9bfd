"""What routes are made of: hosts, paths, methods, conditions, the places where a redirect puts parameters.

A host is exact, or a wildcard (``*.example.com``: one or more labels in front), or ``*``, any; it is compared without case
and port. A path is a row of segments; ``{name}`` is one that may be anything but empty. One that ends in ``/*`` matches
everything that begins with what stands before the star (``/static/*`` matches ``/static/`` and ``/static/a/b``, not
``/static``); any other path matches only itself. Literals are compared byte by byte, as they were sent.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from lb.model.address import is_host_name
from lb.model.hashkey import TOKEN

# The longest request target the data plane takes: no request could match more.
PATH_MAX = 8192

# Stands for a parameter where a path is kept as text: no path can hold it.
PARAMETER = "\0"

PARAMETERS_MAX = 32

# Of a redirect; with the request's own path and query it must fit a head.
URL_MAX = 2048

# Wildcards are told apart by their number of labels, one bit each.
LABELS_MAX = 63

# Numbers of method_id in proto/message.pxd, bits of plan_route_t.methods; other methods get the bits behind them.
METHODS = {
    "GET": 1,
    "HEAD": 2,
    "POST": 3,
    "PUT": 4,
    "DELETE": 5,
    "OPTIONS": 7,
    "TRACE": 8,
    "PATCH": 9,
}
METHOD_MAX = 32

_PATH = re.compile(r"/[!-~]*")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_PIECES = re.compile(r"\{([^{}]*)\}|([^{}]+)|(.)", re.DOTALL)
# What a URL may hold (RFC 3986), as Location is one; braces stand for parameters before this is asked.
_URL = re.compile(r"[!#-;=?-\[\]_a-z~]*")


class RouteError(ValueError):
    """Raise for what cannot be matched or sent; the argument says what is wrong and the way out."""


class Pattern(NamedTuple):
    """A path that requests are compared with."""

    path: str  # without its star; PARAMETER for each parameter
    is_exact: bool
    parameters: dict[str, int]  # name: its segment, from 0


def parse_host(text: str) -> str:
    """Return a host in the form that requests are compared with; raise RouteError.

    Lower case, IPv6 in brackets; a wildcard without its star (``.example.com``), nothing for any host.
    """
    if text == "*":
        return ""
    if text.startswith("*."):
        bare = text[2:].lower().removesuffix(".")
        if "*" not in bare and is_host_name(bare) and not bare.replace(".", "").isdigit():
            if bare.count(".") >= LABELS_MAX:
                raise RouteError(f"has {bare.count('.') + 1} labels; at most {LABELS_MAX} are possible in a wildcard")
            return f".{bare}"
    if "*" in text:
        raise RouteError("holds a star; '*.example.com' is possible, and '*' for every host")
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


def parse_path(text: str) -> Pattern:
    """Return what a path matches; raise RouteError."""
    if not text.startswith("/"):
        raise RouteError("does not begin with '/'")
    if len(text) > PATH_MAX:
        raise RouteError(f"is {len(text)} bytes; a path takes at most {PATH_MAX}")
    if not _PATH.fullmatch(text):
        raise RouteError("holds a space, control or non-ASCII character; write it percent-encoded, as requests send it")
    if "?" in text or "#" in text:
        raise RouteError("holds a query or fragment; 'query' compares parameters")
    is_exact = not text.endswith("/*")
    path = text if is_exact else text[:-1]
    if "*" in path:
        raise RouteError(
            "has a star that is not its last segment; '{name}' is one segment, and '/*' at the end is everything below"
        )
    if "{" not in path and "}" not in path:
        return Pattern(path, is_exact, {})
    parameters: dict[str, int] = {}
    segments = path[1:].split("/")
    for index, segment in enumerate(segments):
        if "{" not in segment and "}" not in segment:
            continue
        found = _PARAMETER.fullmatch(segment)
        if found is None:
            raise RouteError(
                "has braces that are not a whole segment; '{name}' stands for one (a real brace is written %7B, %7D)"
            )
        if found[1] in parameters:
            raise RouteError(f"has two parameters '{found[1]}'")
        parameters[found[1]] = index
        segments[index] = PARAMETER
    if len(parameters) > PARAMETERS_MAX:
        raise RouteError(f"has {len(parameters)} parameters; at most {PARAMETERS_MAX} are possible")
    return Pattern("/" + "/".join(segments), is_exact, parameters)


def parse_method(text: str) -> str:
    """Return a method; raise RouteError."""
    if TOKEN.fullmatch(text) is None or len(text) > METHOD_MAX:
        raise RouteError("is not a method: letters, digits and '-', at most 32")
    if text == "CONNECT":
        raise RouteError("never reaches a route: lb is no forward proxy")
    if text.upper() in METHODS and text not in METHODS:
        raise RouteError(f"is not a method of HTTP; did you mean '{text.upper()}'?")
    return text


def parse_location(text: str, parameters: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pieces of a location: (literal, "") or ("", parameter); raise RouteError."""
    pieces: list[tuple[str, str]] = []
    known = list(parameters)
    for found in _PIECES.finditer(text):
        name, literal, brace = found.groups()
        if brace is not None:
            raise RouteError("has a single brace; '{name}' stands for a parameter")
        if literal is not None:
            pieces.append((literal, ""))
        elif name in known:
            pieces.append(("", name))
        else:
            raise RouteError(f"names the parameter '{name}', which not every path of the route has")
    check_url("".join(literal for literal, _ in pieces))
    if not pieces or not pieces[0][0].startswith("/"):
        check_absolute(pieces[0][0] if pieces else "", bool(pieces[1:]))
    elif pieces[0][0].startswith("//"):
        raise RouteError("begins with '//', which names another host; write its scheme too")
    return pieces


def check_url(text: str) -> None:
    """Raise RouteError for bytes that no URL holds."""
    if not _URL.fullmatch(text):
        raise RouteError("holds a character that no URL has; write it percent-encoded")
    if len(text) > URL_MAX:
        raise RouteError(f"is {len(text)} bytes; at most {URL_MAX} are possible")


def check_absolute(text: str, goes_on: bool) -> None:
    """Raise RouteError unless this begins a URL, with its whole host where something follows."""
    found = re.match(r"https?://[^/?#@\\]+(.?)", text)
    if found is None:
        raise RouteError("begins neither with '/' nor with 'http://' or 'https://' and a host")
    if goes_on and not found[1]:
        raise RouteError("has a parameter in its host; put '/' behind the host")
