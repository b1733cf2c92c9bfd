"""Feed the HTTP/1 codec in every way and insist that the way makes no difference."""

from __future__ import annotations

from typing import Any

from lb._speedups.face.testing_h1 import Chunked, Head

REQUEST, RESPONSE = 1, 2

(
    OTHER_METHOD, GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH,
) = range(10)  # fmt: skip
METHODS = {"GET": GET, "HEAD": HEAD, "POST": POST, "PUT": PUT, "DELETE": DELETE, "CONNECT": CONNECT, "OPTIONS": OPTIONS,
               "TRACE": TRACE, "PATCH": PATCH}  # fmt: skip

NONE, LENGTH, CHUNKED, CLOSE = range(4)  # framing_id

# message_t.flags
KEEP_ALIVE, SAID_CLOSE, UPGRADE, EXPECT, ABSOLUTE, STAR, HTTP10, RELENGTH = (1 << n for n in range(8))

# field_t.flags
DELETED, EDIT, HOP, FRAMING = (1 << n for n in range(4))

# flags of the writers
WRITE_CLOSE, WRITE_UPGRADE, WRITE_CHUNKED, WRITE_KEEP_ALIVE, WRITE_NO_LENGTH = (1 << n for n in range(5))

NAMES = (
    "", "host", "connection", "content-length", "transfer-encoding", "keep-alive", "proxy-connection", "te",
    "trailer", "upgrade", "http2-settings", "proxy-authenticate", "proxy-authorization", "expect",
    "x-forwarded-for", "x-request-id", "accept", "user-agent", "referer", "cookie", "set-cookie",
    "content-type", "date", "server", "location", "sec-websocket-key", "sec-websocket-accept",
)  # fmt: skip
NAME_IDS = {name: number for number, name in enumerate(NAMES)}

REASONS = (
    "OK", "BAD_START_LINE", "BAD_METHOD", "BAD_TARGET", "BAD_VERSION", "BAD_LINE_END", "BAD_FIELD_NAME",
    "BAD_FIELD_VALUE", "OBS_FOLD", "BAD_HOST", "BAD_LENGTH", "BAD_CODING", "LENGTH_AND_CODING", "CODING_IN_10",
    "TARGET_TOO_LONG", "HEAD_TOO_LARGE", "TOO_MANY_FIELDS", "BAD_STATUS", "BAD_CHUNK", "CHUNK_EXTENSIONS",
    "BAD_TRAILER", "CONNECT_REFUSED", "BAD_EXPECT", "UNASKED_UPGRADE",
)  # fmt: skip

HEAD_MAX = 15360
POISONS = (0x00, 0x0A, 0x0D, 0x20, 0x3A, 0x41)


class Verdict:
    """What the reader said in the end: an answer, and the message if it was accepted."""

    def __init__(self, answer: int, head: Head) -> None:
        self.answer = answer
        self.head = head
        self.dump: dict[str, Any] = head.dump()

    @property
    def reason(self) -> str:
        return REASONS[self.dump["reason_id"]]

    @property
    def said(self) -> tuple[int, Any]:
        """All that must not depend on how the bytes were cut."""
        if self.answer < 0:
            return self.answer, self.reason
        if self.answer == 0:
            return 0, None
        return self.answer, self.dump

    def __getattr__(self, name: str) -> Any:
        try:
            return self.dump[name]
        except KeyError:
            raise AttributeError(name) from None

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value, _, _ in self.fields if found.lower() == name.lower()]


def read(kind: int, pieces: list[bytes], method: int = GET, poison: int = 0) -> Verdict:
    """Feed piece after piece until the reader answers."""
    head = Head(kind, method, poison)
    answer = 0
    for piece in pieces:
        if answer := head.feed(piece):
            break
    return Verdict(answer, head)


def cuts(data: bytes) -> list[list[bytes]]:
    """Byte by byte, and in two at every point."""
    ways = [[data[i : i + 1] for i in range(len(data))]]
    ways += [[data[:i], data[i:]] for i in range(1, len(data))]
    return ways


def read_every_way(kind: int, data: bytes, method: int = GET) -> Verdict:
    """Read `data` whole, byte by byte and cut at every point, over all poisons; all must agree."""
    whole = read(kind, [data], method)
    for poison in POISONS[1:]:
        assert read(kind, [data], method, poison).said == whole.said, (data, poison)
    for number, pieces in enumerate(cuts(data)):
        cut = read(kind, pieces, method, POISONS[number % len(POISONS)])
        assert cut.said == whole.said, (pieces, cut.said, whole.said)
    return whole


def unchunk(pieces: list[bytes]) -> tuple[bytes, int, str, int]:
    """Feed a body: (data, bytes not used, last answer, reason)."""
    reader = Chunked()
    found = []
    said = "more"
    left = 0
    for number, piece in enumerate(pieces):
        data, left, said = reader.feed(piece)
        found.append(data)
        if said != "more":
            left += sum(map(len, pieces[number + 1 :]))
            break
    return b"".join(found), left, said, reader.reason


def unchunk_every_way(data: bytes) -> tuple[bytes, int, str, str]:
    whole = unchunk([data])
    for pieces in cuts(data):
        assert unchunk(pieces) == whole, pieces
    return *whole[:3], REASONS[whole[3]]
