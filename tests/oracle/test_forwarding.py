"""The client of a forwarded list, and what is deleted, against slow models."""

from __future__ import annotations

import ipaddress
import re
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from lb._speedups.face.plan import build
from lb._speedups.face.testing_forwarding import Judge
from lb.config import compile  # noqa: A004

PROXIES = ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"]
NETWORKS = [ipaddress.ip_network(each) for each in PROXIES]


@cache
def judge(header: str) -> Judge:
    frontend = {"bind": [":80"], "default_backend": "app", "trusted_proxies": PROXIES, "client_address": header}
    compiled = compile(
        {
            "version": 1,
            "frontends": {"web": {**frontend, "forwarded_for": True, "request_id": {"accept": "any"}}},
            "backends": {"app": {"servers": ["10.0.0.1:80"]}},
        }
    )
    return Judge(build(1, compiled.rows, [1, 2, 3, 4, 5], [64]))


def address(text: str, strict: bool) -> str | None:
    """Return the plain form of an entry's address, None if it is none."""
    port = r"(?::(\d{1,5}))?"
    if strict:
        port = r"(?::(\d{1,5}|_[A-Za-z0-9._!#$%&'*+^`|~-]+))?"
    found = re.fullmatch(rf"\[([0-9A-Fa-f:.]+)\]{port}", text) or re.fullmatch(rf"([0-9.]+){port}", text)
    bracketed = text.startswith("[")
    if found is None:
        if strict or not re.fullmatch(r"[0-9A-Fa-f:.]+", text) or text.count(":") < 2:
            return None
        host, bracketed = text, True
    else:
        host = found[1]
        if found[2] and not found[2].startswith("_") and int(found[2]) > 65535:
            return None
    try:
        if not bracketed:
            return str(ipaddress.IPv4Address(host))
        parsed = ipaddress.IPv6Address(host)
    except ValueError:
        return None
    return str(parsed.ipv4_mapped or parsed)


def is_proxy(text: str) -> bool:
    one = ipaddress.ip_address(text)
    return any(one in network for network in NETWORKS if network.version == one.version)


def client_of(entries: list[str | None]) -> str | None:
    """Return the rightmost entry that is no proxy, the leftmost if all are; None as soon as an entry is no address."""
    last = None
    for entry in reversed(entries):
        if entry is None:
            return None
        last = entry
        if not is_proxy(entry):
            return entry
    return last


def element(text: str) -> str | None:
    """Return the address that an element of Forwarded is for (RFC 7239 4)."""
    pair = r"""([A-Za-z0-9!#$%&'*+.^_`|~-]+)=([A-Za-z0-9!#$%&'*+.^_`|~-]+|"(?:[^"\\]|\\.)*")"""
    if not re.fullmatch(rf"(?:{pair})?(?:;(?:{pair})?)*", text):
        return None
    wanted = [value for name, value in re.findall(pair, text) if name.lower() == "for"]
    if len(wanted) != 1:
        return None
    value = wanted[0]
    return address(re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value, True)


ENTRIES = st.one_of(
    st.sampled_from(["10.0.0.1", "192.0.2.9", "10.1.2.3:80", "2001:db8::1", "[2001:db8::2]:9", "::ffff:10.0.0.9"]),
    st.sampled_from(["198.51.100.7", "203.0.113.9:1", "2001:dead::1", "[2001:dead::2]:65535", "::ffff:198.51.100.8"]),
    st.sampled_from(["", " ", "unknown", "_x", "1.2.3", "10.0.0.256", "10.0.0.1:", "[10.0.0.1]", "10.0.0.01", "a"]),
    st.ip_addresses().map(str),
    st.text("0123456789abcdef.:[]", max_size=12),
)
LISTS = st.lists(st.lists(ENTRIES, max_size=6), max_size=4)


def read(header: str, values: list[str]) -> Judge:
    made = judge(header)
    fields = "".join(f"{header}: {value}\r\n" for value in values)
    made.read(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
    return made


@settings(max_examples=1500, deadline=None)
@given(LISTS, st.sampled_from([",", ", ", " ,\t"]))
def test_the_client_of_x_forwarded_for(lines: list[list[str]], comma: str) -> None:
    entries = [entry.strip() for line in lines for entry in line if entry.strip()]
    found = read("x-forwarded-for", [comma.join(line) for line in lines]).client()
    assert (found and found[0]) == client_of([address(entry, False) for entry in entries])


NODES = st.one_of(
    ENTRIES.filter(lambda text: '"' not in text and "\\" not in text),
    st.sampled_from(["[2001:db8::3]", "[2001:dead::3]:_p", "10.0.0.1:_p", "198.51.100.7:80", "_gazonk", "unknown"]),
)
QUOTED = NODES.map(lambda node: f'"{node}"')
ESCAPED = NODES.map(lambda node: '"' + "".join("\\" + c for c in node) + '"')
PAIRS = st.one_of(
    st.tuples(st.sampled_from(["for", "For", "FOR"]), st.one_of(NODES, QUOTED, ESCAPED)).map("=".join),
    st.sampled_from(["proto=http", 'host="a.test:80"', 'by="[::1]"', 'x=",;\\""', 'x=""', "", "proto", "=", "a =b"]),
)
ELEMENTS = st.lists(PAIRS, min_size=1, max_size=3).map(";".join)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.lists(ELEMENTS, max_size=4), max_size=3), st.sampled_from([",", ", "]))
def test_the_client_of_forwarded(lines: list[list[str]], comma: str) -> None:
    entries = [each.strip() for line in lines for each in line if each.strip()]
    found = read("forwarded", [comma.join(line) for line in lines]).client()
    assert (found and found[0]) == client_of([element(each) for each in entries])


@settings(max_examples=500, deadline=None)
@given(st.text('for=192.0;,"\\_[]: x', max_size=40))
def test_nothing_in_front_of_what_a_proxy_adds_changes_the_client(text: str) -> None:
    """Whatever a client sends: its proxy appends its address, and that is the one."""
    value = text.strip(" ")
    for header, added in (("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7")):
        assert read(header, [value, added]).client() == ("198.51.100.7", 0)
        assert read(header, [f"{value}, {added}"]).client() == ("198.51.100.7", 0)


NAMES = st.sampled_from(
    ["X-Forwarded-For", "x_forwarded_for", "X-FORWARDED_FOR", "Forwarded", "X-Real-IP", "X-Real_IP", "X-Request-ID",
     "x_request_id", "Accept-Encoding", "X-Forwarded-Fo", "X-Forwarded-Form", "Y-Forwarded-For", "X-Forwarded-Ssl", "Via"]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(NAMES, max_size=12), st.booleans())
def test_what_reaches_servers(names: list[str], trusted: bool) -> None:
    made = judge("x-forwarded-for")
    fields = [(name.encode(), b"%d" % i) for i, name in enumerate(names)]
    made.read(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in fields) + b"\r\n")
    ours = {b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-ssl"}
    expected = []
    has_id = False
    for name, value in fields:
        plain = name.lower().replace(b"_", b"-")
        if plain == b"x-request-id":
            if b"_" in name or has_id:
                continue
            has_id = True
        elif plain in ours and (not trusted or b"_" in name):
            continue
        expected.append((name, value))
    left, _, _ = made.sweep(trusted)
    assert left == [(b"Host", b"a"), *expected]
