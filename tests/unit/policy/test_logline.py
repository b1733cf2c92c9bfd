from __future__ import annotations

import json
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb._speedups.face.testing_log import LINE_CAP, LINE_MIN, Lines

AT = 1795335240_123_456  # 2026-11-22T08:14:00.123456Z
START = "127.0.0.1:44682 [22/Nov/2026:08:14:00.123] "
JSON_KEYS_TCP = [
    "time",
    "client",
    "port",
    "frontend",
    "backend",
    "server",
    "tls",
    "bytes_in",
    "bytes_out",
    "queue_ms",
    "connect_ms",
    "total_ms",
    "termination",
    "retries",
    "redispatched",
    "process_connections",
    "frontend_connections",
    "backend_connections",
    "server_connections",
    "reason",
]
JSON_KEYS_HTTP = [
    *JSON_KEYS_TCP,
    *["request_ms", "response_ms", "status", "server_reused", "limit", "limit_shadow"],
    *["request_id", "method", "version", "host", "target"],
]


@pytest.fixture(autouse=True)
def zone() -> Iterator[None]:
    """Let local time be UTC unless a test says otherwise."""
    yield from in_zone("UTC")


def in_zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def http(**fields: object) -> str:
    return Lines().line("http", accept_us=AT, **fields).decode("ascii")


def tcp(**fields: object) -> str:
    return Lines().line("tcp", mode="tcp", accept_us=AT, **fields).decode("ascii")


def as_json(cap: int = LINE_CAP, **fields: object) -> dict[str, object]:
    line = Lines().line("json", cap, accept_us=AT, **fields)
    assert b"\n" not in line
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def test_an_http_line_is_haproxys() -> None:
    # What HAProxy 2.6 wrote for this request, but for its process' own port and time.
    assert (
        http(status=200, bytes_out=51, actconn=1, feconn=1, target='/a"b{}|\\x[')
        == START + 'web app/a 0/0/0/0/0 200 51 - - ---- 1/1/0/0/0 0/0 "GET /a#22b{}|\\x[ HTTP/1.1"'
    )


def test_a_refused_request_is_badreq() -> None:
    assert http(
        backend="web", server="", has_request=False, status=400, termination="PR", actconn=1, feconn=1,
        request_ms=-1, queue_ms=-1, connect_ms=-1, response_ms=-1,
    ) == START + 'web web/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR-- 1/1/0/0/0 0/0 "<BADREQ>"'  # fmt: skip


def test_every_field_of_an_http_line_is_in_its_place() -> None:
    assert http(
        frontend="f", is_tls=True, backend="b", server="s", request_ms=1, queue_ms=22, connect_ms=333, response_ms=4444,
        active_ms=55555, status=503, bytes_out=18446744073709551615, termination="sH", actconn=6, feconn=77, beconn=888,
        srvconn=4294967295, redispatched=True, retries=3, srvqueue=9, bequeue=10, method="OPTIONS", target="*",
        http10=True,
    ) == START + (
        "f~ b/s 1/22/333/4444/55555 503 18446744073709551615 - - sH-- 6/77/888/4294967295/+3 9/10 "
        '"OPTIONS * HTTP/1.0"'
    )  # fmt: skip


def test_no_status_is_minus_one() -> None:
    assert " -1 0 - - CR-- " in http(status=0, termination="CR")


def test_a_tcp_line_is_haproxys() -> None:
    assert tcp(frontend="tcpf", backend="tapp", queue_ms=1, bytes_out=40, actconn=1, feconn=1) == (
        START + "tcpf tapp/a 1/0/0 40 -- 1/1/0/0/0 0/0"
    )


def test_every_field_of_a_tcp_line_is_in_its_place() -> None:
    assert tcp(
        frontend="f", backend="b", server="", queue_ms=-1, connect_ms=-1, active_ms=100, bytes_out=1000, actconn=2,
        termination="SC", feconn=3, beconn=4, srvconn=5, retries=65535, srvqueue=7, bequeue=8,
    ) == START + "f b/<NOSRV> -1/-1/100 1000 SC 2/3/4/5/65535 7/8"  # fmt: skip


@pytest.mark.parametrize("number", sorted({0, *(10**n + d for n in range(20) for d in (-1, 0, 1)), 2**64 - 1}))
def test_numbers_are_decimal(number: int) -> None:
    if number < 2**64:
        assert f" 200 {number} - - " in http(bytes_out=number)
    if number < 2**63:
        assert f"/{-number} 200 " in http(active_ms=-number)


def test_a_unix_client_is_named_so() -> None:
    # As HAProxy does: with the number of the listener in place of a port.
    assert http(family=socket.AF_UNIX, port=2).startswith("unix:2 [")
    assert as_json(family=socket.AF_UNIX, port=2)["client"] == "unix"


@given(st.binary(min_size=4, max_size=4))
def test_ipv4_is_inet_ntop(address: bytes) -> None:
    text = socket.inet_ntop(socket.AF_INET, address)
    assert http(address=text).startswith(f"{text}:44682 [")


word = st.sampled_from([0, 0, 0, 1, 0xF, 0x10, 0xFF, 0x100, 0xFFF, 0x1000, 0xFFFF, 0x7F00])


@settings(max_examples=500)
@given(st.lists(word, min_size=8, max_size=8))
def test_ipv6_is_inet_ntop(words: list[int]) -> None:
    text = socket.inet_ntop(socket.AF_INET6, b"".join(w.to_bytes(2, "big") for w in words))
    line = http(family=socket.AF_INET6, address=text)
    assert line.startswith(f"{text}:44682 [")


@pytest.mark.parametrize(
    "text", ["::", "::1", "::ffff:1.2.3.4", "::1.2.3.4", "1::", "2001:db8::8:800:200c:417a", "::ffff:0:0"]
)
def test_ipv6_addresses_people_write(text: str) -> None:
    address = socket.inet_ntop(socket.AF_INET6, IPv6Address(text).packed)
    assert http(family=socket.AF_INET6, address=address).startswith(f"{address}:44682 [")


# ---- time -------------------------------------------------------------------------------------------------


ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]


@pytest.mark.parametrize("name", ZONES)
def test_local_time_is_libcs(name: str) -> None:
    for _ in in_zone(name):
        lines = Lines()
        chance = random.Random(name)
        # Far apart, then second by second over a spring and an autumn change and over midnight.
        moments = [chance.randrange(2**31) for _ in range(500)]
        for start in (1774745990, 1793494790, 1795391990, 1775314790):
            moments += range(start, start + 2000, 7)
        for second in moments:
            line = lines.line("http", accept_us=second * 1_000_000 + 7_999).decode()
            expected = time.strftime("%d/%b/%Y:%H:%M:%S", time.localtime(second))
            assert f"[{expected}.007]" in line


def test_an_odd_offset_changes_its_date_at_its_midnight() -> None:
    for _ in in_zone("ODD-00:07:30"):
        lines = Lines()
        for second in (1795391999 - 450, 1795392000 - 450, 1795391999 - 450, 1795392000):
            line = lines.line("tcp", accept_us=second * 1_000_000).decode()
            assert time.strftime("[%d/%b/%Y:%H:%M:%S.000]", time.localtime(second)) in line


def test_json_time_is_rfc_3339_in_utc() -> None:
    assert as_json()["time"] == "2026-11-22T08:14:00.123Z"
    for _ in in_zone("Asia/Kathmandu"):
        lines = Lines()
        for second in (1795391999, 1795392000, 0, 1795391999, 4102444800):
            found = json.loads(lines.line("json", accept_us=second * 1_000_000 + 999_999))
            expected = datetime.fromtimestamp(second, UTC) + timedelta(milliseconds=999)
            assert datetime.fromisoformat(found["time"]) == expected


# ---- escaping ---------------------------------------------------------------------------------------------


def hashed(text: bytes) -> str:
    return "".join(chr(c) if 32 <= c < 127 and c not in b'"#' else f"#{c:02X}" for c in text)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_haproxys_escape(text: bytes) -> None:
    assert http(target=text).endswith(f'"GET {hashed(text)} HTTP/1.1"')


def test_every_byte_is_escaped_right_at_every_place() -> None:
    lines = Lines()
    for byte in range(256):
        for place in range(0, 17, 3):
            text = b"a" * place + bytes([byte]) + b"z" * (17 - place)
            assert lines.line("http", target=text).decode().endswith(f'"GET {hashed(text)} HTTP/1.1"')
            if byte < 128:
                assert json.loads(lines.line("json", target=text))["target"] == text.decode()


def decoded(text: bytes) -> str:
    """Decode as the JSON line does: UTF-8 where it is, one character a byte elsewhere and for C1 controls."""
    out = ""
    while text:
        try:
            good, text, bad = text.decode(), b"", ""
        except UnicodeDecodeError as error:
            good, bad = text[: error.start].decode(), chr(text[error.start])
            text = text[error.start + 1 :]
        out += re.sub("([\x80-\x9f])", "\xc2\\1", good) + bad
    return out


MIXED = st.lists(
    st.one_of(st.binary(max_size=4), st.text(max_size=3).map(lambda t: t.encode("utf-8", "replace"))), max_size=12
).map(b"".join)


@settings(max_examples=500)
@given(MIXED)
def test_json_keeps_utf8_and_escapes_the_rest(text: bytes) -> None:
    line = Lines().line("json", target=text)
    assert json.loads(line)["target"] == decoded(text)
    assert not re.search(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]", line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xff", r"\u00ff"),
        (b"\xc3", r"\u00c3"),
        (b"\xc0\xaf", r"\u00c0\u00af"),  # overlong
        (b"\xe0\x80\x80", r"\u00e0\u0080\u0080"),
        (b"\xed\xa0\x80", r"\u00ed\u00a0\u0080"),  # surrogate
        (b"\xf4\x90\x80\x80", r"\u00f4\u0090\u0080\u0080"),  # above U+10FFFF
        (b"\xf0\x9f\x98", r"\u00f0\u009f\u0098"),  # cut
        (b"\xc2\x9b", r"\u00c2\u009b"),  # a control some terminals obey
        ("é€😀".encode(), "é€😀"),
        (b'"\\\n\x7f', r"\"\\\u000a\u007f"),
    ],
)
def test_json_escapes(text: bytes, expected: str) -> None:
    assert f'"target":"{expected}"}}'.encode() in Lines().line("json", target=text)


# ---- JSON -------------------------------------------------------------------------------------------------


def test_a_json_line_of_an_http_stream() -> None:
    line = Lines().line(
        "json", accept_us=AT, backend="app", server="a", bytes_in=80, bytes_out=51, request_ms=1, queue_ms=2, connect_ms=3,
        response_ms=4, active_ms=15, actconn=5, feconn=6, beconn=7, srvconn=8, retries=1, redispatched=True, reused=True,
        request_id="01a", method="GET", target="/x?y=1", host="example.com", is_tls=True,
    )  # fmt: skip
    assert line.decode() == (
        '{"time":"2026-11-22T08:14:00.123Z","client":"127.0.0.1","port":44682,"frontend":"web","backend":"app",'
        '"server":"a","tls":true,"bytes_in":80,"bytes_out":51,"queue_ms":2,"connect_ms":3,"total_ms":15,'
        '"termination":"--","retries":1,"redispatched":true,"process_connections":5,"frontend_connections":6,'
        '"backend_connections":7,"server_connections":8,"reason":null,"request_ms":1,"response_ms":4,"status":200,'
        '"server_reused":true,"limit":null,"limit_shadow":null,"request_id":"01a","method":"GET","version":"1.1",'
        '"host":"example.com","target":"/x?y=1"}'
    )


def test_the_keys_of_a_mode_are_always_the_same() -> None:
    assert list(as_json()) == JSON_KEYS_HTTP
    assert list(as_json(has_request=False, server="", status=0)) == JSON_KEYS_HTTP
    assert list(as_json(mode="tcp")) == JSON_KEYS_TCP
    assert list(as_json(mode="tcp", server="", connect_ms=-1)) == JSON_KEYS_TCP


def test_what_did_not_happen_is_null() -> None:
    found = as_json(server="", has_request=False, status=0, request_ms=-1, queue_ms=-1, connect_ms=-1, response_ms=-1)
    nulls = {key for key, value in found.items() if value is None}
    assert nulls == {
        "server", "status", "request_ms", "queue_ms", "connect_ms", "response_ms", "method", "version", "host", "target",
        "request_id", "reason", "limit", "limit_shadow",
    }  # fmt: skip


# ---- length -----------------------------------------------------------------------------------------------


def test_a_buffer_below_the_minimum_holds_no_line() -> None:
    for form in ("http", "tcp", "json"):
        assert Lines().line(form, LINE_MIN - 1) == b""  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(
    cap=st.sampled_from([LINE_MIN, LINE_MIN + 1, LINE_MIN + 7, LINE_CAP]),
    unit=st.sampled_from([b"\xff", b"a", b'"', "é".encode(), "😀".encode(), b"#", b"a\x00"]),
    length=st.integers(0, 5000),
)
def test_the_longest_fields_fit_into_the_smallest_buffer(cap: int, unit: bytes, length: int) -> None:
    long = unit * (length // len(unit))
    fields = {
        "family": socket.AF_INET6, "address": "ffff:1:2:3:4:ffff:255.255.255.255", "port": 65535,
        "frontend": long, "backend": long, "server": long, "method": long, "target": long, "host": long,
        "request_id": long, "reason": long, "limit": long, "limit_shadow": long, "bytes_in": 2**64 - 1,
        "bytes_out": 2**64 - 1, "is_tls": True,
        "retries": 65535, "redispatched": True,
    }  # fmt: skip
    for name in ("request_ms", "queue_ms", "connect_ms", "response_ms", "active_ms"):
        fields[name] = 2**63 - 1
    for name in ("actconn", "feconn", "beconn", "srvconn", "srvqueue", "bequeue"):
        fields[name] = 2**32 - 1
    lines = Lines()
    for form, end in (("http", b'HTTP/1.1"'), ("tcp", b"/4294967295")):
        line = lines.line(form, cap, **fields)  # type: ignore[arg-type]
        assert len(line) <= cap
        assert line.endswith(end)
    line = lines.line("json", cap, **fields)
    assert len(line) <= cap
    found = json.loads(line)
    expected = decoded(long)
    target = found["target"]
    assert expected.startswith(target)
    for name in ("frontend", "backend", "server", "method", "host", "request_id", "reason", "limit", "limit_shadow"):
        assert expected.startswith(found[name] or "")
    if target != expected:
        assert found["cut"] is True
        assert len(line) > cap - 40


@pytest.mark.parametrize("length", [100, LINE_CAP, 16384])
def test_a_cut_target_keeps_its_quote_and_says_so_in_json(length: int) -> None:
    target = "/" + "x" * length
    line = http(target=target)
    assert re.fullmatch(r'.* "GET /x+ HTTP/1\.1"', line)
    assert len(line) <= LINE_CAP
    assert ("cut" in as_json(target=target)) is (length > 100)
