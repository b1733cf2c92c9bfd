"""Addresses: what is read is written the same way, and the reader fails in no other way than it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.config.plan import resolve, sockaddr
from lb.model import Bind, Server
from lb.model.address import Address, AddressError, Family, is_host_name, parse_bind, parse_server
from lb.model.naming import bind_name, server_name


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", Address(Family.IPV4, "0.0.0.0", 8080)),
        ("*:0", Address(Family.IPV4, "0.0.0.0", 0)),
        ("[::]:80", Address(Family.IPV6, "::", 80)),
        ("[0:0:0:0:0:0:0:1]:80", Address(Family.IPV6, "::1", 80)),
        ("[::ffff:10.0.0.1]:80", Address(Family.IPV6, "::ffff:a00:1", 80)),
        ("unix@/run/x.sock", Address(Family.UNIX, path="/run/x.sock")),
        ("/run/x.sock", Address(Family.UNIX, path="/run/x.sock")),
        ("fd@7", Address(Family.FD, fd=7)),
        ("fd@web", Address(Family.FD, name="web")),
        ("fd@7th", Address(Family.FD, name="7th")),
    ],
)
def test_a_bind_is_read(text: str, address: Address) -> None:
    assert parse_bind(text) == address


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (":80", ":80"),
        ("0.0.0.0:80", ":80"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[::1]:80", "::1:80"),
        ("unix@/run/lb/x.sock", "x.sock"),
        ("unix@/run/\u00fc b.sock", "_b.sock"),
        ("/run/lb/", "unix"),
        ("/" + "x" * 80, "x" * 63),
        ("fd@3", "fd:3"),
        ("fd@web", "fd:web"),
    ],
)
def test_a_name_is_made_from_the_address(text: str, name: str) -> None:
    assert bind_name(Bind(address=text), parse_bind(text)) == name
    assert bind_name(Bind(address=text, name="mine"), parse_bind(text)) == "mine"


def test_a_server_s_name_is_its_own_or_its_address() -> None:
    assert server_name(Server(address="App.internal:80"), parse_server("App.internal:80")) == "app.internal:80"
    assert server_name(Server(address="a:80", name="b"), parse_server("a:80")) == "b"


@given(st.text(st.sampled_from("0123456789abf:.[]*/@%-unixfd \n\0\u00fc"), max_size=24) | st.text(max_size=12))
def test_whatever_is_read_reads_back_the_same(text: str) -> None:
    for parse in (parse_bind, parse_server):
        try:
            address = parse(text)
        except AddressError:
            continue
        assert parse(str(address)) == address
        if address.family not in (Family.NAME, Family.FD):
            family, raw = sockaddr(address)
            assert int.from_bytes(raw[:2], "little") == family
            assert len(raw) <= 110


@pytest.mark.parametrize("text", ["a", "a.b", "A-1.b_c", "xn--bcher-kva.example", "a.b.", "1a", "a" * 63])
def test_host_names(text: str) -> None:
    assert is_host_name(text)


NO_HOSTS = ["", ".", "a..b", "-a", "a-", "a b", "a.1", "\u00fc", "a" * 64, ".".join(["a" * 60] * 5), "a\n"]


@pytest.mark.parametrize("text", NO_HOSTS)
def test_not_host_names(text: str) -> None:
    assert not is_host_name(text)


def test_names_are_resolved_together_and_failures_are_words() -> None:
    found = resolve(["localhost", "no-such-host.invalid", "localhost"])
    assert set(found) == {"localhost", "no-such-host.invalid"}
    localhost = found["localhost"]
    assert isinstance(localhost, Address)
    assert localhost.host in ("127.0.0.1", "::1")
    assert isinstance(found["no-such-host.invalid"], str)
    assert resolve([]) == {}
