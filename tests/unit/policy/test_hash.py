"""Hash functions against published values and slow definitions."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb._speedups.face.testing_base import avalanche_of, hash_of, xxh3_of

SDBM, DJB2, WT6, CRC32, XXH3 = range(1, 6)
WORD = 0xFFFFFFFF

# Of bytes(i * 7 + 3 & 255 for i in range(length)), by the reference implementation (xxHash 0.8).
XXH3_VALUES = {
    0: 0x2D06800538D394C2,
    1: 0x13E608BC156DEFED,
    2: 0x1C9074B93943B86C,
    3: 0xA9088DDA485B481C,
    4: 0x6D9253B16C8B1ED3,
    5: 0x998620E10E3A4B37,
    7: 0x8E8291AD89127E2E,
    8: 0x60539DB630471163,
    9: 0xFEFF668361D723A8,
    12: 0x6829454BE0CC3199,
    16: 0xB8C859B0F030B585,
    17: 0x714A04408E79B80F,
    31: 0xED41AC283D0674B3,
    32: 0x19FF4EE1D6BA1A55,
    33: 0x3E44983AD21679C8,
    64: 0x287EB1FA9E4BE2C1,
    65: 0x829218DE4D798646,
    96: 0xF084E7CFBC624743,
    97: 0x1DAA83271A8E7B7C,
    128: 0x67425A03650261BF,
    129: 0xC664BF3311C6ABC4,
    160: 0xD70DEA8DE694B883,
    192: 0x78BA6E57BE15802F,
    239: 0x1D861931C1F3CAFA,
    240: 0x64556DC6B462A6CF,
    241: 0x8BEADD3A8874FE17,
    255: 0xB67B6637A76E6C39,
    256: 0x3C38817F6D79C0DA,
    512: 0xF58202B8D9019D1D,
    513: 0xB14F40AF8C0A4286,
    1023: 0xD26986A0B85DCC44,
    1024: 0x9B81661C641C72B1,
    1025: 0x806C2072ED713576,
    2048: 0xABE604813BA62ED1,
    2049: 0x55AED42C9F1554B6,
    5000: 0x799AADDD7339581D,
}


def sdbm(key: bytes) -> int:
    value = 0
    for byte in key:
        value = (byte + (value << 6) + (value << 16) - value) & WORD
    return value


def djb2(key: bytes) -> int:
    value = 5381
    for byte in key:
        value = (value * 33 + byte) & WORD
    return value


def rotate(value: int, by: int) -> int:
    return (value << by | value >> (32 - by)) & WORD


def wt6(key: bytes) -> int:
    h0, h1, step0, step1 = 0xA53C965A, 0x5CA6953A, 6, 18
    for byte in key:
        h0 = ~(h0 ^ byte) & WORD
        h1 = ~(h1 + byte) & WORD
        h0, h1 = rotate(h1, step0), rotate(h0, step1)
        steps = ((h0 >> 16) ^ h1) & 0xFFFF
        step0, step1 = steps & 31, steps >> 11
    return h0 ^ h1


@given(st.binary(max_size=300))
def test_haproxys_functions_are_their_definitions(key: bytes) -> None:
    assert hash_of(SDBM, key) == sdbm(key)
    assert hash_of(DJB2, key) == djb2(key)
    assert hash_of(WT6, key) == wt6(key)
    assert hash_of(CRC32, key) == zlib.crc32(key)


@pytest.mark.parametrize("length", XXH3_VALUES)
def test_xxh3_of_every_kind_of_length(length: int) -> None:
    key = bytes((i * 7 + 3) & 255 for i in range(length))
    assert xxh3_of(key) == XXH3_VALUES[length]
    assert hash_of(XXH3, key) == XXH3_VALUES[length] & WORD


def test_the_avalanche_moves_half_of_the_bits() -> None:
    changed = sum((avalanche_of(n) ^ avalanche_of(n ^ 1 << bit)).bit_count() for n in range(500) for bit in range(32))
    assert 14.5 < changed / 500 / 32 < 17.5
