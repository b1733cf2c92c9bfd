"""h11 as oracle, both ways: what one reads the other must read the same, or the difference is written down here.

Messages come from kit.h1_messages with fixed seeds. What we take and h11 refuses: one empty line in front of a
request (RFC 9112 2.2), white space in front of a chunk extension (7.1.1 says it must be read), 101 without an offer
(our caller's question), nothing else. What h11 takes and we refuse is
DELIBERATE: by reason, with a test on the bytes that the reason is true.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable

import h11
import pytest
from kit import h1_messages
from kit.h1 import (
    CHUNKED,
    CLOSE,
    GET,
    HOP,
    LENGTH,
    METHODS,
    NAME_IDS,
    POST,
    REASONS,
    REQUEST,
    RESPONSE,
    WRITE_CHUNKED,
    WRITE_CLOSE,
    Verdict,
    cuts,
    read,
    unchunk,
)

MESSAGES = 6000
VALUE_LENGTHS = 2**63


def head_of(data: bytes) -> bytes:
    """The head as h11 sees it: to the first empty line, whatever ends lines."""
    return re.split(rb"\n\r?\n", data, maxsplit=1)[0]


def values(data: bytes, name: bytes) -> list[bytes]:
    return [value.strip(b" \t\r") for value in re.findall(rb"(?mi)^" + name + rb":(.*)$", head_of(data))]


def request_line(data: bytes) -> list[bytes]:
    return data.split(b"\n")[0].rstrip(b"\r").split(b" ")


def has_doubtful_host(data: bytes) -> bool:
    (host,) = values(data, b"host")
    authority = re.match(rb"https?://([^/?]*)", request_line(data)[1])
    is_plain = re.fullmatch(rb"[A-Za-z0-9.\-]+(:[0-9]{1,5})?", host)
    return not is_plain or bool(authority and authority[1].lower() != host.lower())


def has_doubtful_target(data: bytes) -> bool:
    target = request_line(data)[1]
    return b"#" in target or not re.match(rb"/|(?i:https?)://[A-Za-z0-9.\-]+(:[0-9]+)?([/?]|$)", target)


def has_control(data: bytes) -> bool:
    return any(re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", line.rstrip(b"\r\n")) for line in head_of(data).split(b"\n"))


def has_bad_option(data: bytes) -> bool:
    options = b",".join(values(data, b"connection")).split(b",")
    return any(not re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*", option.strip(b" \t")) for option in options)


def has_doubtful_length(data: bytes) -> bool:
    found = values(data, b"content-length")
    return len(found) > 1 or b"," in found[0] or int(found[0]) >= VALUE_LENGTHS


DELIBERATE: dict[str, Callable[[bytes], object]] = {
    "BAD_HOST": has_doubtful_host,  # h11 does not look into Host
    "BAD_TARGET": has_doubtful_target,  # nor into targets
    "BAD_METHOD": lambda data: len(request_line(data)[0]) > 32,
    "BAD_VERSION": lambda data: (
        re.fullmatch(rb"HTTP/[0-9]\.[0-9]", (data.split(b"\n")[0].rstrip(b"\r").split(b" "))[-1])
        or re.match(rb"HTTP/[02-9]\.[0-9] |HTTP/1\.[2-9] ", data)
    ),
    "BAD_FIELD_NAME": lambda data: re.search(rb"(?m)^[^:\n]{256,}:", head_of(data)),
    "BAD_FIELD_VALUE": lambda data: has_control(data) or has_bad_option(data),
    "BAD_START_LINE": has_control,  # in the reason phrase
    "BAD_LENGTH": has_doubtful_length,  # h11 folds equal ones together and has no limit
    "LENGTH_AND_CODING": lambda data: values(data, b"content-length") and values(data, b"transfer-encoding"),
    "CODING_IN_10": lambda data: b"HTTP/1.0" in data.split(b"\n")[0],
    "OBS_FOLD": lambda data: re.search(rb"(?m)^[ \t]", head_of(data)),
    "BAD_LINE_END": lambda data: re.search(rb"(?<!\r)\n|\r(?!\n)", data),
    "CONNECT_REFUSED": lambda data: data.startswith(b"CONNECT "),
    "BAD_EXPECT": lambda data: values(data, b"expect") != [b"100-continue"],
    "BAD_STATUS": lambda data: re.match(rb"HTTP/1.. [06-9]", data),
}

BODY_DELIBERATE: dict[str, Callable[[bytes], object]] = {
    # the grammar of extensions; sizes of 2^63 and more
    "BAD_CHUNK": lambda data: re.search(rb"(?m)[0-9A-Fa-f]+[ \t]*(;.*|[ \t])\r$|[0-9A-Fa-f]{16,}\r$", data),
    "BAD_TRAILER": lambda data: re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", data),  # controls in values
    "OBS_FOLD": lambda data: re.search(rb"(?m)^[ \t]", data),
    "BAD_LINE_END": lambda data: re.search(rb"(?<!\r)\n|\r(?!\n)", data),
}


class Theirs:
    """What h11 makes of the same bytes."""

    def __init__(self, data: bytes, asked: bytes | None = None) -> None:
        """`asked`: method of the request that a response answers; None reads a request."""
        self.connection = h11.Connection(h11.SERVER if asked is None else h11.CLIENT, max_incomplete_event_size=1 << 20)
        if asked is not None:
            self.connection.send(h11.Request(method=asked, target="/", headers=[("Host", "h1.test")]))
            self.connection.send(h11.EndOfMessage())
        self.connection.receive_data(data)
        self.error = ""
        self.event: h11.Request | h11.Response | h11.InformationalResponse | None = None
        event = self._next()
        if isinstance(event, h11.Request | h11.Response | h11.InformationalResponse):
            self.event = event

    def _next(self) -> object:
        try:
            return self.connection.next_event()
        except h11.RemoteProtocolError as error:
            self.error = str(error)
            return None

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        assert self.event is not None
        return [(bytes(name), bytes(value)) for name, value in self.event.headers.raw_items()]

    def body(self) -> tuple[bytes, str]:
        """Data, and how it went: end, more, bad."""
        found = []
        while True:
            event = self._next()
            if isinstance(event, h11.Data):
                found.append(bytes(event.data))
            elif event is h11.NEED_DATA:
                return b"".join(found), "more"
            elif event is None:
                return b"".join(found), "bad"
            elif isinstance(event, h11.EndOfMessage):
                return b"".join(found), "end"


def our_fields(got: Verdict) -> list[tuple[bytes, bytes]]:
    """As h11 gives them: the name as it came, chunked in lower case."""
    coding = NAME_IDS["transfer-encoding"]
    return [(name, value.lower() if id_ == coding else value) for name, value, id_, _ in got.fields]


def compare_bodies(got: Verdict, theirs: Theirs, data: bytes, seen: Counter[str]) -> None:
    rest = data[got.answer :]
    their_data, their_end = theirs.body()
    if got.framing == LENGTH:
        assert their_data == rest[: got.length]
        assert their_end == ("end" if len(rest) >= got.length else "more")
    elif got.framing == CHUNKED:
        our_data, _, our_end, reason = unchunk([rest])
        if our_end != "bad" and their_end == "bad":
            assert re.search(rb"(?m)^[0-9A-Fa-f]+[ \t]+;", rest), rest
            seen["BWS"] += 1
            return
        if our_end == "bad" and their_end != "bad":
            name = REASONS[reason]
            assert BODY_DELIBERATE[name](rest), (name, rest)
            seen[name] += 1
            return
        assert (our_end, our_data) == (their_end, their_data) or our_end == their_end == "bad", rest
    elif got.framing == CLOSE:
        assert (their_data, their_end) == (rest, "more")
    else:
        assert (their_data, their_end) == (b"", "end")


def judge(got: Verdict, theirs: Theirs, data: bytes, seen: Counter[str]) -> bool:
    """True if both accept. Otherwise insist that the difference is a known one."""
    if got.answer == 0:
        assert theirs.event is None
        assert not theirs.error
        return False
    if got.answer > 0:
        if theirs.event is None:
            assert data.startswith(b"\r\n") or got.status == 101, (data, theirs.error)
            seen["EMPTY_LINE"] += 1
            return False
        return True
    if theirs.event is not None:
        assert DELIBERATE[got.reason](data), (got.reason, data)
        seen[got.reason] += 1
    return False


@pytest.mark.parametrize(("odd", "least"), [(0.0, 0.8), (0.3, 0.5), (1.0, 0.1)])
def test_requests_are_read_as_h11_reads_them(odd: float, least: float) -> None:
    rng = random.Random(f"requests {odd}")
    seen: Counter[str] = Counter()
    both = 0
    for _ in range(MESSAGES):
        data = h1_messages.request(rng, odd)
        got = read(REQUEST, [data])
        theirs = Theirs(data)
        if not judge(got, theirs, data, seen):
            continue
        both += 1
        assert isinstance(theirs.event, h11.Request)
        assert (got.method, got.target) == (theirs.event.method, theirs.event.target)
        assert our_fields(got) == theirs.fields
        compare_bodies(got, theirs, data, seen)
    assert both > MESSAGES * least
    if odd == 0:
        assert set(seen) <= {"CODING_IN_10", "BWS"}


@pytest.mark.parametrize(("odd", "least"), [(0.0, 0.8), (0.3, 0.5), (1.0, 0.1)])
def test_responses_are_read_as_h11_reads_them(odd: float, least: float) -> None:
    rng = random.Random(f"responses {odd}")
    seen: Counter[str] = Counter()
    both = 0
    for _ in range(MESSAGES):
        data = h1_messages.response(rng, odd)
        asked = rng.choice([b"GET", b"GET", b"POST", b"HEAD"])
        got = read(RESPONSE, [data], METHODS[asked.decode()])
        theirs = Theirs(data, asked)
        if not judge(got, theirs, data, seen):
            continue
        both += 1
        assert theirs.event is not None
        assert not isinstance(theirs.event, h11.Request)
        assert (got.status, got.reason_phrase) == (theirs.event.status_code, theirs.event.reason)
        assert our_fields(got) == theirs.fields
        if isinstance(theirs.event, h11.Response):
            compare_bodies(got, theirs, data, seen)
    assert both > MESSAGES * least
    if odd == 0:
        assert set(seen) <= {"CODING_IN_10", "BWS"}


def meaning(got: Verdict) -> dict[str, object]:
    """What must survive a hop: all but where the bytes stand, hop-by-hop fields, and the form of the target."""
    whole = got.dump
    is_star = got.target == b"*" or (got.method == b"OPTIONS" and got.target.endswith(got.authority))
    framing = (NAME_IDS["content-length"], NAME_IDS["transfer-encoding"])
    return {
        **{key: whole[key] for key in ("method", "method_id", "framing", "length", "status", "reason_phrase", "query")},
        "path": b"" if is_star else whole["path"] or b"/",
        "authority": whole["authority"],
        "fields": [(n, v) for n, v, id_, flags in whole["fields"] if not flags & HOP and id_ not in framing],
    }


def test_what_we_write_is_the_request_we_read() -> None:
    """For us and for h11; and written once more it is the same bytes."""
    rng = random.Random("write requests")
    written = 0
    while written < MESSAGES:
        data = h1_messages.request(rng, 0.3)
        got = read(REQUEST, [data])
        if got.answer <= 0:
            continue
        written += 1
        flags = rng.choice([0, WRITE_CLOSE])
        wrote = got.head.write(flags)
        assert wrote is not None
        if not got.authority:
            # 1.0 without Host: RFC 9112 3.2 wants an empty one sent, which is refused where it arrives
            assert b"\r\nHost: \r\n" in wrote
            continue
        again = read(REQUEST, [wrote])
        assert again.answer == len(wrote), wrote
        expected = meaning(got)
        if not got.values(b"host"):
            fields = expected["fields"]
            assert isinstance(fields, list)
            fields.insert(0, (b"Host", got.authority))
        assert meaning(again) == expected
        assert again.head.write(flags) == wrote
        theirs = Theirs(wrote)
        assert isinstance(theirs.event, h11.Request), (wrote, theirs.error)
        assert (theirs.event.method, theirs.event.target) == (got.method, again.target)
        assert theirs.fields == our_fields(again)
        assert again.flags & 2 == (2 if flags else 0)


def test_what_we_write_is_the_response_we_read() -> None:
    rng = random.Random("write responses")
    written = 0
    while written < MESSAGES:
        data = h1_messages.response(rng, 0.3)
        asked = rng.choice([b"GET", b"POST", b"HEAD"])
        method = METHODS[asked.decode()]
        got = read(RESPONSE, [data], method)
        if got.answer <= 0:
            continue
        written += 1
        flags = WRITE_CHUNKED if got.framing == CLOSE and rng.random() < 0.5 else 0
        wrote = got.head.write(flags)
        assert wrote is not None
        again = read(RESPONSE, [wrote], method)
        assert again.answer == len(wrote), wrote
        expected = meaning(got)
        if flags:
            expected["framing"] = CHUNKED
        if got.status < 200 or got.status == 204:
            expected["length"] = 0
        assert meaning(again) == expected
        assert again.head.write(flags) == wrote
        theirs = Theirs(wrote, asked)
        assert theirs.event is not None, (wrote, theirs.error)
        assert theirs.fields == our_fields(again)


def test_what_h11_writes_we_read_the_same() -> None:
    rng = random.Random("from h11")
    for _ in range(MESSAGES // 4):
        fields = [(h1_messages.token(rng), h1_messages.token(rng)) for _ in range(rng.randrange(8))]
        names = {name.lower() for name, _ in fields}
        fields = [] if names & {b"te", b"host", b"connection", b"upgrade", b"expect", b"trailer"} else fields
        pieces = [rng.randbytes(rng.randrange(1, 50)) for _ in range(rng.randrange(4))]
        framing = rng.choice(
            [[(b"Transfer-Encoding", b"chunked")], [(b"Content-Length", b"%d" % sum(map(len, pieces)))]]
        )
        client = h11.Connection(h11.CLIENT)
        server = h11.Connection(h11.SERVER)
        request = h11.Request(method="POST", target="/a?b", headers=[(b"Host", b"h1.test"), *fields, *framing])
        wrote = client.send(request) or b""
        server.receive_data(wrote)
        server.next_event()
        answer = server.send(h11.Response(status_code=200, reason=b"OK", headers=[*fields, *framing])) or b""
        bodies = []
        for side in (client, server):
            body = b"".join(side.send(h11.Data(data=piece)) or b"" for piece in pieces)
            bodies.append(body + (side.send(h11.EndOfMessage()) or b""))
        for kind, head, body in ((REQUEST, wrote, bodies[0]), (RESPONSE, answer, bodies[1])):
            got = read(kind, rng.choice(cuts(head)), POST if kind == RESPONSE else GET)
            assert got.answer == len(head)
            sent = [*([(b"Host", b"h1.test")] if kind == REQUEST else []), *fields, *framing]
            assert [(name, value) for name, value, _, _ in got.fields] == sent
            if got.framing == CHUNKED:
                assert unchunk(rng.choice(cuts(body))) == (b"".join(pieces), 0, "end", 0)
            else:
                assert (got.framing, got.length, body) == (LENGTH, len(body), b"".join(pieces))
