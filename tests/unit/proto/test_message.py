"""Messages: fields found, added and deleted."""

from __future__ import annotations

import pytest
from kit.h1 import DELETED, EDIT, FRAMING, NAME_IDS, REQUEST, UPGRADE, read

from lb._speedups.face.testing_h1 import Head

COOKIE = NAME_IDS["cookie"]


def request(fields: bytes) -> Head:
    got = read(REQUEST, [b"GET / HTTP/1.1\r\nHost: h1.test\r\n" + fields + b"\r\n"])
    assert got.answer > 0
    return got.head


def test_by_name_is_the_first_live_field_of_a_known_name() -> None:
    head = request(b"Cookie: a\r\nX: y\r\ncookie: b\r\nCOOKIE: c\r\n")
    seen = []
    while COOKIE in head.dump()["by_name"]:
        seen.append(head.dump()["by_name"][COOKIE])
        head.delete(seen[-1])
    assert seen == [1, 3, 4]


def test_deleting_a_later_field_leaves_the_first_in_by_name() -> None:
    head = request(b"Cookie: a\r\nCookie: b\r\nCookie: c\r\n")
    head.delete(2)
    assert head.dump()["by_name"][COOKIE] == 1
    head.delete(1)
    assert head.dump()["by_name"][COOKIE] == 3


def test_find_ignores_case_and_skips_deleted_fields() -> None:
    head = request(b"X-One: a\r\nx-ONE: b\r\nX-One-: c\r\nX_One: d\r\n")
    assert head.find(b"x-one") == 1
    assert head.find(b"X-ONE", 2) == 2
    assert head.find(b"X-ONE", 3) == -1
    assert head.find(b"x-on") == -1
    assert head.find(b"x_one") == 4
    head.delete(1)
    assert head.find(b"x-one") == 2
    assert head.find(b"x-one", 99) == -1


def test_only_ascii_letters_have_case() -> None:
    head = request(b"A^: 1\r\nA~: 2\r\n")
    assert head.find(b"a~") == 2
    assert head.find(b"a^") == 1
    assert head.find(b"A\x00") == -1


@pytest.mark.parametrize("front", [b"", b"front-7", b"a-front-of-15xx"])
def test_bytes_are_the_same_as_lower_does_it_for_bytes(front: bytes) -> None:
    for byte in b"!#$%&'*+-.09AMZ^_`amz|~":
        head = request(front + bytes([byte]) + b": v\r\n")
        for other in range(256):
            found = head.find(front.upper() + bytes([other])) == 1
            assert found == (bytes([byte]).lower() == bytes([other]).lower()), (byte, other)


def test_an_added_field_is_found_like_any_other() -> None:
    head = request(b"X: y\r\n")
    assert head.add(COOKIE, b"Cookie", b"a=b") == 0
    assert head.dump()["by_name"][COOKIE] == 2
    assert head.find(b"cookie") == 2
    assert head.fields()[2] == (b"Cookie", b"a=b", COOKIE, EDIT)
    assert head.add(COOKIE, b"Cookie", b"") == 0
    assert head.dump()["by_name"][COOKIE] == 2
    assert (head.dump()["nlive"], head.dump()["nfields"]) == (2, 4)


def test_added_framing_is_marked_for_the_codec() -> None:
    head = request(b"")
    assert head.add(NAME_IDS["content-length"], b"Content-Length", b"5") == 0
    assert head.fields()[1][3] == EDIT | FRAMING


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"", b"x"),
        (b"a b", b"x"),
        (b"a:", b"x"),
        (b"a\r\n", b"x"),
        (b"n" * 256, b"x"),
        (b"a", b"x\r\nb: c"),
        (b"a", b"x\ny"),
        (b"a", b"x\ry"),
        (b"a", b"x\0y"),
        (b"a", b"x\x7fy"),
        (b"a", b"x" * 17 + b"\n" + b"y" * 17),
        (b"a", b"x" * 1024),
        (b"a", b"x" * 100000),
    ],
)
def test_what_would_split_or_not_fit_is_not_added(name: bytes, value: bytes) -> None:
    head = request(b"")
    assert head.add(0, name, value) == -1
    assert head.dump()["nfields"] == 1


def test_edits_end_with_their_kibibyte() -> None:
    head = request(b"")
    assert head.add(0, b"n" * 24, b"x" * 1000) == 0
    assert head.add(0, b"a", b"") == -1
    head = request(b"")
    for _ in range(8):
        assert head.add(0, b"abcd", b"x" * 124) == 0
    assert head.add(0, b"a", b"") == -1
    assert len({head.fields()[i][:2] for i in range(1, 9)}) == 1


def test_there_is_room_for_128_fields_in_all() -> None:
    head = request(b"A: b\r\n" * 100)
    for _ in range(27):
        assert head.add(0, b"a", b"b") == 0
    assert head.add(0, b"a", b"b") == -1
    assert head.write() is not None


def test_strip_hop_keeps_an_upgrade_that_was_offered() -> None:
    head = request(b"Upgrade: websocket\r\nConnection: upgrade\r\nTE: trailers\r\n")
    assert head.dump()["flags"] & UPGRADE
    head.strip_hop()
    assert [flags & DELETED for _, _, _, flags in head.fields()] == [0, 0, DELETED, DELETED]
    head = request(b"Upgrade: h2c\r\nConnection: upgrade\r\n")
    head.strip_hop()
    assert [flags & DELETED for _, _, _, flags in head.fields()] == [0, DELETED, DELETED]
    assert NAME_IDS["upgrade"] not in head.dump()["by_name"]
