"""Requests that two readers could read differently: refused, closed, and nothing of them reaches a server.

The classes are those of RFC 9110, RFC 9112 and of the CVE records of HTTP proxies; the parser's own tests hold many more.
"""

from __future__ import annotations

import re

import pytest
from kit.message import ask
from kit.stage import Stage
from kit.wire import Reset

pytestmark = pytest.mark.ours

POST = "POST / HTTP/1.1\r\nHost: lb.test\r\n"
GET = "GET / HTTP/1.1\r\nHost: lb.test\r\n"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n"
# A second request that must never be seen behind a refused first one.
SMUGGLED = ask("/smuggled")
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def length(value: str) -> str:
    return POST + f"Content-Length: {value}\r\n\r\nhello"


def coding(value: str) -> str:
    return POST + f"Transfer-Encoding: {value}\r\n\r\n0\r\n\r\n"


def field(line: str) -> str:
    return GET + line + "\r\n\r\n"


def host(*lines: str) -> str:
    return "GET / HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"


def line(text: str) -> str:
    return text + "\r\nHost: lb.test\r\n\r\n"


# name -> (bytes as latin-1, statuses that are right)
REFUSED: dict[str, tuple[str, tuple[int, ...]]] = {
    # --- Content-Length (RFC 9110 8.6, RFC 9112 6.3 rule 5)
    "length plus": (length("+5"), (400,)),
    "length minus": (length("-5"), (400,)),
    "length hex": (length("0x5"), (400,)),
    "length underscore": (length("1_0"), (400,)),
    "length fraction": (length("5.0"), (400,)),
    "length parameter": (length("5;q=1"), (400,)),
    "length quoted": (length('"5"'), (400,)),
    "length two words": (length("4 2"), (400,)),
    "length empty": (length(""), (400,)),
    "length list differs": (length("5, 6"), (400,)),
    "length list of three": (length("5,5,6"), (400,)),
    "length twice differs": (POST + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", (400,)),
    "length empty then valid": (POST + "Content-Length:\r\nContent-Length: 5\r\n\r\nhello", (400,)),
    "length 2^63": (length(str(2**63)), (400, 413)),
    "length 2^64+5": (length(str(2**64 + 5)), (400, 413)),
    "length many digits": (length("9" * 40), (400, 413)),
    "length vertical tab": (length("\x0b5"), (400,)),
    "length form feed": (length("5\x0c"), (400,)),
    "length file separator": (length("\x1c5"), (400,)),
    "length next line": (length("\x855"), (400,)),
    "length no-break space": (length("\xa05"), (400,)),
    "length superscript": (length("\xb9"), (400,)),
    "length full width": (length("\xef\xbc\x95"), (400,)),
    "length behind a name of 256 bytes": (POST + "Content-Length" + "x" * 256 + ": 1\r\n\r\n", (400, 431)),
    # --- Transfer-Encoding (RFC 9112 6.1)
    "length and coding": (CHUNKED + "Content-Length: 5\r\n\r\n0\r\n\r\n", (400,)),
    "coding and length": (POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    "coding xchunked": (coding("xchunked"), (400, 501)),
    "coding identity": (coding("identity"), (400, 501)),
    "coding gzip": (coding("gzip"), (400, 501)),
    "coding chunked gzip": (coding("chunked, gzip"), (400, 501)),
    "coding gzip chunked": (coding("gzip, chunked"), (400, 501)),
    "coding chunked twice": (coding("chunked, chunked"), (400, 501)),
    "coding on two lines": (CHUNKED + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding and identity lines": (CHUNKED + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding leading comma": (coding(",chunked"), (400, 501)),
    "coding trailing comma": (coding("chunked,"), (400, 501)),
    "coding empty": (coding(""), (400, 501)),
    "coding parameter": (coding("chunked;q=1"), (400, 501)),
    "coding quoted": (coding('"chunked"'), (400, 501)),
    "coding vertical tab": (coding("\x0bchunked"), (400, 501)),
    "coding NUL": (coding("chunked\x00"), (400, 501)),
    "coding next line": (coding("\x85chunked"), (400, 501)),
    "coding file separator": (coding("chunked\x1c"), (400, 501)),
    "coding no-break space": (coding("\xa0chunked"), (400, 501)),
    "coding 0xff": (coding("\xffchunked"), (400, 501)),
    "coding Kelvin sign": (coding("chun\xe2\x84\xaaed"), (400, 501)),
    "coding in 1.0": ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    "coding space before colon": (POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", (400,)),
    "coding tab before colon": (POST + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", (400,)),
    "coding folded": (POST + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", (400,)),
    "coding hidden in a fold": (POST + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    # --- lines and fields (RFC 9112 2.2, 5)
    "fold": (field("X-A: b\r\n c"), (400,)),
    "fold with tab": (field("X-A: b\r\n\tc"), (400,)),
    "space on the first field line": ("GET / HTTP/1.1\r\n Host: lb.test\r\n\r\n", (400,)),
    "bare LF in the head": ("GET / HTTP/1.1\nHost: lb.test\n\n", (400,)),
    "bare LF behind one field": ("GET / HTTP/1.1\r\nHost: lb.test\nX: y\r\n\r\n", (400,)),
    "bare LF ends the head": ("GET / HTTP/1.1\r\nHost: lb.test\r\n\n", (400,)),
    "bare CR in a value": (field("X-A: b\rc"), (400,)),
    "bare CR in a name": (field("X\r-A: b"), (400,)),
    "CR CR LF": ("GET / HTTP/1.1\r\r\nHost: lb.test\r\n\r\n", (400,)),
    "NUL in a value": (field("X-A: b\x00c"), (400,)),
    "NUL in a name": (field("X\x00A: b"), (400,)),
    "empty name": (field(": b"), (400,)),
    "no colon": (field("X-A"), (400,)),
    "space in a name": (field("X A: b"), (400,)),
    "8-bit name": (field("X\xc4: b"), (400,)),
    "quote in a name": (field('X"A: b'), (400,)),
    "slash in a name": (field("X/A: b"), (400,)),
    "bracket in a name": (field("X[A]: b"), (400,)),
    "control byte in a name": (field("X\x01A: b"), (400,)),
    # --- the request line (RFC 9112 3)
    "version 2.0": (line("GET / HTTP/2.0"), (400, 505)),
    "version 0.9": (line("GET / HTTP/0.9"), (400, 505)),
    "version 1.10": (line("GET / HTTP/1.10"), (400, 505)),
    "version 1.2": (line("GET / HTTP/1.2"), (400, 505)),
    "version plus": (line("GET / HTTP/+1.1"), (400, 505)),
    "version superscript": (line("GET / HTTP/1.\xb9"), (400, 505)),
    "version lower case": (line("GET / http/1.1"), (400, 505)),
    "version other name": (line("GET / ICAP/1.1"), (400, 505)),
    "no version": ("GET /\r\n\r\n", (400, 505)),
    "no target": (line("GET HTTP/1.1"), (400,)),
    "two spaces": (line("GET  / HTTP/1.1"), (400,)),
    "space behind the version": (line("GET / HTTP/1.1 "), (400,)),
    "space in front": (line(" GET / HTTP/1.1"), (400,)),
    "tab between": (line("GET\t/\tHTTP/1.1"), (400,)),
    "method with a colon": (line("GE:T / HTTP/1.1"), (400,)),
    "method 8-bit": (line("G\xc4T / HTTP/1.1"), (400,)),
    "target with a space": (line("GET /a b HTTP/1.1"), (400,)),
    "target with a tab": (line("GET /a\tb HTTP/1.1"), (400,)),
    "target with NUL": (line("GET /a\x00b HTTP/1.1"), (400,)),
    "target with DEL": (line("GET /a\x7fb HTTP/1.1"), (400,)),
    "target with a fragment": (line("GET /a#b HTTP/1.1"), (400,)),
    "target 8-bit": (line("GET /\xc4 HTTP/1.1"), (400,)),
    "target without slash": (line("GET admin HTTP/1.1"), (400,)),
    "target host and path": (line("GET lb.test/x HTTP/1.1"), (400,)),
    "target star of GET": (line("GET * HTTP/1.1"), (400,)),
    "target authority of GET": (line("GET lb.test:80 HTTP/1.1"), (400,)),
    "absolute-form with another Host": ("GET http://other.test/ HTTP/1.1\r\nHost: lb.test\r\n\r\n", (400,)),
    "absolute-form with userinfo": ("GET http://u@lb.test/ HTTP/1.1\r\nHost: lb.test\r\n\r\n", (400,)),
    "absolute-form without host": ("GET http:///x HTTP/1.1\r\nHost: lb.test\r\n\r\n", (400,)),
    "target too long": (line("GET /" + "a" * 9000 + " HTTP/1.1"), (414,)),
    # --- Host (RFC 9110 7.2, RFC 9112 3.2)
    "host missing": (host(), (400,)),
    "host twice": (host("Host: lb.test", "Host: lb.test"), (400,)),
    "host twice differs": (host("Host: lb.test", "Host: other.test"), (400,)),
    "host list": (host("Host: lb.test, other.test"), (400,)),
    "host with userinfo": (host("Host: user@lb.test"), (400,)),
    "host with a path": (host("Host: lb.test/x"), (400,)),
    "host with a bad port": (host("Host: lb.test:http"), (400,)),
    "host with a large port": (host("Host: lb.test:65536"), (400,)),
    "host open bracket": (host("Host: [::1"), (400,)),
    "host with a space": (host("Host: lb test"), (400,)),
    "host with NUL": (host("Host: lb\x00.test"), (400,)),
    "host with a backslash": (host("Host: lb\\test"), (400,)),
    "host 8-bit": (host("Host: lb\xc4.test"), (400,)),
    # --- limits
    "too many fields": (GET + "".join(f"X-{i}: 1\r\n" for i in range(110)) + "\r\n", (431,)),
    "head too large": (GET + "".join(f"X-{i}: {'v' * 1000}\r\n" for i in range(17)) + "\r\n", (431,)),
    "one field too large": (GET + f"X: {'v' * 17_000}\r\n\r\n", (431,)),
    # --- meaning
    "expect something else": (POST + "Expect: a-miracle\r\nContent-Length: 5\r\n\r\nhello", (417,)),
    "request of TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
    "preface of HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 501, 505)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_nothing_reaches_a_server(stage: Stage, name: str) -> None:
    text, statuses = REFUSED[name]
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(text.encode("latin-1") + SMUGGLED)
    answer = read_all(client)
    found = STATUS_LINE.match(answer)
    assert found, f"no answer but {answer[:100]!r}"
    assert int(found[1]) in statuses
    assert len(STATUS_LINE.findall(answer)) == 1, "a byte behind the refused request was answered"
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert not server.connections
    record = stage.record()
    assert (record.state, record.status) == ("PR", int(found[1]))


@pytest.mark.parametrize(
    "name", ["length plus", "length and coding", "bare LF in the head", "host twice", "NUL in a value"]
)
def test_it_is_refused_behind_a_good_request_too(stage: Stage, name: str) -> None:
    text, statuses = REFUSED[name]
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(ask("/good") + text.encode("latin-1") + SMUGGLED)
    assert client.response().body == b"hello"
    assert client.response().status in statuses
    client.wait_end()
    assert [request.target for request in server.requests] == ["/good"]


@pytest.mark.parametrize("name", ["length plus", "coding in 1.0", "bare CR in a value", "fold", "target too long"])
def test_it_is_refused_byte_by_byte_too(stage: Stage, name: str) -> None:
    text, statuses = REFUSED[name]
    server = stage.server()
    stage.http(server)
    client = stage.client()
    try:
        client.send_bytewise(text.encode("latin-1"))
    except Reset:
        pass  # refused before the last byte
    assert int(read_all(client)[9:12]) in statuses
    assert not server.connections


# Framing faults of chunked bodies: the head is good and may be with the server already, but it sees no end.
CHUNKS: dict[str, str] = {
    "size with 0x": "0x5\r\nhello\r\n0\r\n\r\n",
    "size plus": "+5\r\nhello\r\n0\r\n\r\n",
    "size minus": "-5\r\nhello\r\n0\r\n\r\n",
    "size underscore": "0_5\r\nhello\r\n0\r\n\r\n",
    "size with a letter": "5z\r\nhello\r\n0\r\n\r\n",
    "size empty": "\r\nhello\r\n0\r\n\r\n",
    "size next line": "\x855\r\nhello\r\n0\r\n\r\n",
    "size of 17 digits": "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size of 16 Fs": "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "space in front": " 5\r\nhello\r\n0\r\n\r\n",
    "bare LF behind the size": "5\nhello\r\n0\r\n\r\n",
    "bare CR behind the size": "5\rXhello\r\n0\r\n\r\n",
    "bare LF in an extension": "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "extension quote over lines": '5;a="\r\nhello\r\n0\r\n\r\n"\r\n',
    "NUL in an extension": "5;a\x00\r\nhello\r\n0\r\n\r\n",
    "data not ended": "5\r\nhelloXX0\r\n\r\n",
    "data ended by LF": "5\r\nhello\n0\r\n\r\n",
    "data ended by LF LF": "5\r\nhello\n\n0\r\n\r\n",
    "data too long": "3\r\nhello\r\n0\r\n\r\n",
    "LF behind the last chunk": "5\r\nhello\r\n0\n\r\n",
    "LF ends the trailers": "5\r\nhello\r\n0\r\n\n",
    "trailer without colon": "5\r\nhello\r\n0\r\nX\r\n\r\n",
    "trailer with a space": "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "trailer with NUL": "5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
    "trailer folded": "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
    "extensions without end": "5;" + "a" * 200_000 + "\r\nhello\r\n0\r\n\r\n",
    "extensions in many chunks": "".join(f"1;{'e' * 1000}\r\nx\r\n" for _ in range(10)) + "0\r\n\r\n",
    "trailers without end": "5\r\nhello\r\n0\r\n" + "".join(f"X-{i}: {'v' * 1000}\r\n" for i in range(20)) + "\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_a_bad_chunk_ends_the_request_for_both(stage: Stage, name: str) -> None:
    server = stage.server(lambda c: (c.head(), c.wait_end()))
    stage.http(server)
    client = stage.client()
    try:
        client.send(CHUNKED.encode() + b"\r\n" + CHUNKS[name].encode("latin-1") + SMUGGLED)
    except Reset:
        pass  # it need not read all of it
    answer = read_all(client)
    assert answer == b"" or int(answer[9:12]) in (400, 413, 431)
    assert len(STATUS_LINE.findall(answer)) <= 1
    server.wait_idle()
    for connection in server.connections:
        assert not bytes(connection.received).endswith(b"0\r\n\r\n"), (
            "the server saw an end that the client did not send"
        )
        assert b"smuggled" not in connection.received


# Odd, but with one reading only: passed on in normal form.
ACCEPTED: dict[str, tuple[str, bytes]] = {
    "length with zeros": (POST + "Content-Length: 0005\r\n\r\nhello", b"hello"),
    "length with spaces around": (POST + "Content-Length: \t5 \r\n\r\nhello", b"hello"),
    "length on GET": (GET + "Content-Length: 5\r\n\r\nhello", b"hello"),
    "coding in upper case": (POST + "Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "size in upper case with zeros": (CHUNKED + "\r\n00A\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
    "extensions": (CHUNKED + '\r\n5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    "trailers": (CHUNKED + "\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 99\r\n\r\n", b"hello"),
    "one empty line in front": ("\r\n" + POST + "Content-Length: 5\r\n\r\nhello", b"hello"),
    "host in IPv6": ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_is_passed_on_in_one_form(stage: Stage, name: str) -> None:
    text, body = ACCEPTED[name]
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(text.encode("latin-1") + ask("/second"))
    assert client.response().status == 200
    assert client.response().status == 200
    first, second = server.requests
    assert (first.body, second.target) == (body, "/second")
    if length := first.value("content-length"):
        assert length == str(len(body)).encode()
        assert first.value("transfer-encoding") is None
    # Extensions and trailers are dropped, framing is lb's own.
    assert b"X-Sum" not in server.connections[0].received
    assert b";" not in server.connections[0].received


def read_all(client) -> bytes:
    """Return all that came until the end, by FIN or RST."""
    client.wait_end()
    return bytes(client.received)
