"""Networks as configurations spell them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model.network import NetworkError, Span, parse_network, takes_unix


def spans(*texts: str) -> list[Span]:
    networks = [ipaddress.ip_network(text) for text in texts]
    return [Span(each.max_prefixlen, int(each[0]), int(each[-1])) for each in networks]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("10.0.0.0/8", ["10.0.0.0/8"]),
        ("10.1.2.3", ["10.1.2.3/32"]),
        ("0.0.0.0/0", ["0.0.0.0/0"]),
        ("2001:db8::/32", ["2001:db8::/32"]),
        ("::1", ["::1/128"]),
        ("::/0", ["::/0"]),
        ("::ffff:10.0.0.0/104", ["10.0.0.0/8"]),
        ("::ffff:10.0.0.1", ["10.0.0.1/32"]),
        ("::ffff:0:0/96", ["0.0.0.0/0"]),
        ("::fffe:0:0/95", ["::fffe:0:0/95"]),
        ("loopback", ["127.0.0.0/8", "::1/128"]),
        ("private", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
        ("any", ["0.0.0.0/0", "::/0"]),
        ("unix", []),
    ],
)
def test_an_entry_is_a_network_an_address_or_a_word(text: str, same: list[str]) -> None:
    assert list(parse_network(text)) == spans(*same)
    assert takes_unix(text) == (text in ("any", "unix"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.0.0.1/8", "has bits set behind its first 8; write '10.0.0.0/8', or the address alone"),
        ("2001:db8::1/32", "write '2001:db8::/32'"),
        ("10.0.0.0/33", "no prefix length behind '/'; 0 to 32 are possible"),
        ("::/129", "0 to 128 are possible"),
        ("10.0.0.0/", "no prefix length"),
        ("10.0.0.0/+8", "no prefix length"),
        ("10.0.0.0/255.0.0.0", "no prefix length"),
        ("10.0.0.0/\u0663", "no prefix length"),
        ("10.0.0.0/8\n", "no prefix length"),
        ("010.0.0.0/8", "is no address or network"),
        ("10.0.0", "is no address or network"),
        ("10.0.0.1\0", "is no address or network"),
        ("app.internal", "is no address or network"),
        ("", "is no address or network"),
        ("10.0.0.1:80", "has a port"),
        ("[::1]", "has brackets"),
        ("fe80::1%eth0", "is no address or network"),
        ("Private", "is no address or network"),
    ],
)
def test_what_is_none_is_told_why(text: str, says: str) -> None:
    with pytest.raises(NetworkError, match=r"^[a-z]") as error:
        parse_network(text)
    assert says in str(error.value)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 128))
def test_networks_are_those_of_the_standard_library(address: ipaddress.IPv4Address, length: int) -> None:
    network = ipaddress.ip_network(f"{address}/{min(length, address.max_prefixlen)}", strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    assert list(parse_network(str(network))) == spans(str(network))
