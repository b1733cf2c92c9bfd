"""Sets of networks against the standard library's ipaddress, which looks at one network after the other."""

from __future__ import annotations

import ipaddress
import random
import socket
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb._speedups.face.testing_plan import Netset
from lb.config.netset import NETSET_UNIX, merged, netset

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Few bits vary, so that networks meet, nest and overlap.
V4 = st.integers(0, 255).map(lambda n: ipaddress.IPv4Address(0x0A000000 + n))
V6 = st.one_of(
    st.integers(0, 255).map(lambda n: ipaddress.IPv6Address((0x20010DB8 << 96) + n)),
    st.integers(0, 255).map(lambda n: ipaddress.IPv6Address(((1 << 64) - 128 + n) % (1 << 128))),
    st.integers(0, 255).map(lambda n: ipaddress.IPv6Address((0xFFFF << 32) + 0x0A000000 + n)),
    st.sampled_from(["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]).map(ipaddress.IPv6Address),
)
ADDRESSES = st.one_of(V4, V6, st.ip_addresses(v=4), st.ip_addresses(v=6))
NETWORKS = st.builds(
    lambda address, free: ipaddress.ip_network(f"{address}/{max(0, address.max_prefixlen - free)}", strict=False),
    ADDRESSES,
    st.one_of(st.integers(0, 9), st.integers(0, 128)),
)
WORDS = {
    "loopback": ["127.0.0.0/8", "::1/128"],
    "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
    "any": ["0.0.0.0/0", "::/0"],
    "unix": [],
}


def made(entries: list[str]) -> Netset:
    row = netset(entries)
    return Netset(row.v4, row.v6, row.flags)


def ask(found: Netset, address: Address) -> bool:
    return found.has(socket.AF_INET if address.version == 4 else socket.AF_INET6, address.packed)


def plain(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


def is_in(address: Address, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return address in ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return address in network


def truth(networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], address: Address) -> bool:
    return any(is_in(plain(address), each) for each in networks)


@settings(max_examples=400, deadline=None)
@given(st.lists(NETWORKS, max_size=30), st.lists(ADDRESSES, max_size=30))
def test_a_set_holds_what_one_of_its_networks_holds(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], addresses: list[Address]
) -> None:
    found = made([str(each) for each in networks])
    edges: list[Address] = []
    for network in networks:
        for edge in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1):
            if 0 <= edge < 1 << network.max_prefixlen:
                edges.append(type(network[0])(edge))
    for address in (*addresses, *edges):
        assert ask(found, address) == truth(networks, address), address


@pytest.mark.parametrize("word", WORDS)
def test_words_stand_for_their_networks(word: str) -> None:
    found = made([word])
    networks = [ipaddress.ip_network(each) for each in WORDS[word]]
    dice = random.Random(word)
    for _ in range(2000):
        bits = dice.choice((32, 128))
        address: Address = (ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address)(dice.getrandbits(bits))
        assert ask(found, address) == truth(networks, address)
    assert found.has(socket.AF_UNIX, b"") == (word in ("any", "unix"))
    assert not found.has(socket.AF_UNSPEC, b"\0" * 16)


def test_an_empty_set_holds_nothing() -> None:
    found = made([])
    assert not any(found.has(family, bytes(16)) for family in (0, socket.AF_UNIX, socket.AF_INET, socket.AF_INET6))


def test_neighbours_become_one_range() -> None:
    row = netset(["10.0.0.0/9", "10.128.0.0/9", "10.3.0.0/16", "::/1", "8000::/1", "unix"])
    assert array("I", row.v4).tolist() == [0x0A000000, 0x0AFFFFFF]
    assert array("Q", row.v6).tolist() == [0, 0, 2**64 - 1, 2**64 - 1]
    assert row.flags == NETSET_UNIX
    assert merged([(5, 9), (1, 3), (4, 4), (11, 12)]) == [(1, 9), (11, 12)]


def test_ranges_out_of_order_are_refused() -> None:
    def v4(*words: int) -> bytes:
        return array("I", words).tobytes()

    def v6(*words: int) -> bytes:
        return array("Q", words).tobytes()

    Netset(v4(1, 2, 3, 3), v6(0, 1, 0, 2, 0, 3, 1, 0), 1)
    for bad4 in (v4(2, 1), v4(1, 5, 5, 6), v4(5, 6, 1, 2)):
        with pytest.raises(ValueError, match="refuses"):
            Netset(bad4, b"", 0)
    for bad6 in (v6(0, 1, 0, 0), v6(1, 0, 0, 9), v6(0, 0, 0, 5, 0, 5, 0, 6), v6(1, 0, 1, 1, 0, 5, 0, 6)):
        with pytest.raises(ValueError, match="refuses"):
            Netset(b"", bad6, 0)
    with pytest.raises(ValueError, match="refuses"):
        Netset(b"", b"", 2)


def test_the_cost_does_not_follow_the_number_of_entries() -> None:
    dice = random.Random(5)
    row = netset(f"{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}.{dice.randrange(256)}" for n in range(1, 1 << 18))
    many = Netset(row.v4, row.v6, row.flags)
    few = made(["10.0.0.0/8"])
    address = socket.inet_aton("3.77.1.9")
    for found in (many, few):
        found.has_many(socket.AF_INET, address, 1000)
    # 18 steps instead of 1: far from 262,143 times as much.
    assert many.has_many(socket.AF_INET, address, 100_000) < 40 * few.has_many(socket.AF_INET, address, 100_000) + 200
