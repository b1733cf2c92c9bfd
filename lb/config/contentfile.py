"""Files whose bytes are answered: bodies, and whole answers as HAProxy's `errorfile` has them."""

import os
import re
from typing import NamedTuple

from lb.config.diagnostic import line_text
from lb.language.expression import TOKEN
from lb.model.routing import BODY_MAX

_START = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?")
_FIELD = re.compile(rb"([^:\s]+):[ \t]*([^\r\n]*?)[ \t]*")
# What the codec says itself, for each connection anew.
_HOP = frozenset(["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"])
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".htm": "text/html; charset=utf-8",
    ".json": "application/json",
    ".xml": "application/xml",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".gif": "image/gif",
    ".ico": "image/x-icon",
}


class ContentFileError(ValueError):
    """What is wrong with a file, with a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Whole(NamedTuple):
    """A whole answer from a file."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


def read_content(folder: str, given: str, most: int = BODY_MAX) -> bytes:
    """Return the bytes of a file of at most `most`; relative paths begin at `folder`. Raise ContentFileError."""
    path = os.path.join(folder, given)
    if path == "/dev/null":
        return b""
    try:
        # A pipe or device would have no end, or none in time.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not os.path.isfile(path):
                raise IsADirectoryError(0, "not a regular file")
            found = stream.read(most + 1)
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        message = f"file '{line_text(path)}' cannot be read: {reason}"
        raise ContentFileError(message, "give the path of a readable file") from None
    if len(found) > most:
        raise ContentFileError(f"file '{line_text(path)}' is larger than {most} bytes", "have a server send it")
    return found


def type_of(path: str) -> str:
    """Return the content type that a file's name tells."""
    return _TYPES.get(os.path.splitext(path)[1].lower(), "text/plain; charset=utf-8")


def is_whole(content: bytes) -> bool:
    """Return whether a file holds a whole answer, not just a body."""
    return content.startswith(b"HTTP/")


def parse_whole(content: bytes) -> Whole:
    """Return the answer that a file holds, as HAProxy reads one: lines end with CR LF or LF. Raise ContentFileError."""
    head, separator, body = _split(content)
    if not separator:
        raise ContentFileError("has no empty line behind its head", "an answer is a status line, fields, an empty line")
    start, *lines = head
    found = _START.fullmatch(start)
    if found is None:
        shown = line_text(start.decode("latin-1"))
        raise ContentFileError(f"begins with '{shown}'", "a status line is such as 'HTTP/1.1 503 Service Unavailable'")
    if found[1] < b"200":
        raise ContentFileError(f"has the status {found[1].decode()}, which ends no request")
    fields: list[tuple[bytes, bytes]] = []
    for number, line in enumerate(lines, 2):
        field = _FIELD.fullmatch(line)
        if field is None or not TOKEN.fullmatch(field[1].decode("latin-1")) or len(field[1]) > 255:
            raise ContentFileError(f"line {number} is no header: '{line_text(line.decode('latin-1'))}'")
        if any((each < 32 and each != 9) or each == 127 for each in field[2]):
            raise ContentFileError(f"line {number} holds a control character")
        name = field[1].decode().lower()
        if name == "transfer-encoding":
            raise ContentFileError(f"line {number}: 'Transfer-Encoding' cannot be used", "write the body as it is")
        if name == "content-length" and field[2] != str(len(body)).encode():
            said = field[2].decode("latin-1")
            raise ContentFileError(f"says 'Content-Length: {line_text(said)}' and has a body of {len(body)} bytes")
        if name not in _HOP:
            fields.append((field[1], field[2]))
    return Whole(int(found[1]), found[2] or b"", tuple(fields), body)


def _split(content: bytes) -> tuple[list[bytes], bool, bytes]:
    """Return the lines of the head, whether an empty line ends it, and what follows."""
    lines: list[bytes] = []
    at = 0
    while at < len(content):
        end = content.find(b"\n", at)
        if end < 0:
            lines.append(content[at:])
            break
        line = content[at:end].removesuffix(b"\r")
        at = end + 1
        if not line:
            return lines or [b""], True, content[at:]
        lines.append(line)
    return lines or [b""], False, b""
