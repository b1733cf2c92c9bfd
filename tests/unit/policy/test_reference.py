"""Maps and ACL files: what is found in them, and how they change."""

from __future__ import annotations

import pytest
from kit.references import IGNORE_CASE, Stored, killed

from lb._speedups.face import references as face
from lb.language.catalog import Match


def test_lines_are_read_as_haproxy_reads_them() -> None:
    stored = Stored(b"/a A\r\n/b   B  b \n\n  \t\n# no\n /c\t\n #d e\n/a A2", (Match.STR, 0))
    assert stored.rows() == [(b"/a", b"A"), (b"/b", b"B  b"), (b"/c", b""), (b"#d", b"e"), (b"/a", b"A2")]
    stored = Stored(b"/a A\r\n # no\n#no\n  b c \n", (Match.STR, 0), is_map=False)
    assert stored.rows() == [(b"/a A", None), (b"b c", None)]


@pytest.mark.parametrize(
    ("method", "flags", "content", "found"),
    [
        (Match.STR, 0, "a 1\nA 2\na 3", {"a": "1", "A": "2", "b": None, "": None, "aa": None}),
        (Match.STR, IGNORE_CASE, "a 1\nA 2\nBc 3", {"A": "1", "bC": "3", "b": None}),
        (Match.BEG, 0, "/a 1\n/ab 2\n/ 3\n/abc 4\n/ab 5", {"/abx": "2", "/a": "1", "/x": "3", "x": None, "/abcd": "4"}),
        (Match.BEG, IGNORE_CASE, "/a 1\n/AB 2\n/ 3", {"/abx": "1", "/x": "3", "x": None}),
        (Match.END, 0, ".x 1\n.a.x 2\ny 3", {"b.a.x": "1", "b.y": "3", ".x": "1", "x": None, "": None}),
        (Match.SUB, 0, "b 1\nab 2\nabc 3", {"xabcx": "1", "ab": "1", "b": "1", "xa": None}),
        (Match.DIR, 0, "/b/ 1\na 2", {"/a/b/c": "1", "/a": "2", "/ab": None, "/x?a": "2"}),
        (Match.DOM, 0, "b.c 1\nwww 2", {"www.b.c": "1", "www.b.cd:80": "2", "b.c:80": "1", "xb.c": None}),
        (Match.INT, 0, "1 one\n1:10 ten\n5 five\n20: big\n:0 least", {"1": "one", "5": "ten", "25": "big", "-3": "least"}),
        (Match.INT, 0, "5-7 a\n6 b\n-3 c", {"6": "a", "3": "c", "4": None, "-9": "c"}),
        (Match.LEN, 0, "3 a\n1:9 b", {"xyz": "a", "x": "b", "": None}),
        (
            Match.IP,
            0,
            "10.0.0.0/8 a\n10.1.0.0/255.255.0.0 b\n0.0.0.0/0 c\n10.1.2.3 d\n2001:db8::/32 e\n2001:db8::1 f\n::ffff:9.0.0.0/104 g",
            {"10.1.2.3": "d", "10.1.2.4": "b", "10.2.0.0": "a", "9.1.1.1": "c", "2001:db8::1": "f", "2001:db8::2": "e",
             "::ffff:10.1.2.3": "d", "::10.1.2.3": "d", "2002:0a01:0203::": "d", "::ffff:9.1.2.3": "g", "fe80::1": None},
        ),
        (Match.BIN, 0, "0a1b 1\n0A1C 2", {"\n\x1b": "1", "\n\x1c": "2", "\n": None}),
    ],
)  # fmt: skip
def test_what_is_found(method: Match, flags: int, content: str, found: dict[str, str | None]) -> None:
    stored = Stored(content.encode(), (method, flags))
    assert {text: stored.value(text) for text in found} == found
    # The same if all was added at run time, and after the next fold.
    for lines in (0, 2):
        early, late = content.splitlines()[:lines], content.splitlines()[lines:]
        grown = Stored("\n".join(early).encode(), (method, flags))
        for line in late:
            key, _, value = line.partition(" ")
            assert grown.append(key, value) == face.REFERENCE_DONE
        assert {text: grown.value(text) for text in found} == found
        assert grown.fold() == face.REFERENCE_DONE
        assert {text: grown.value(text) for text in found} == found


@pytest.mark.parametrize(
    ("method", "flags", "content", "wrong"),
    [
        (Match.IP, 0, "1.2.3.4 a\n\n1.2.3.4/33 b", (3, face.REFERENCE_BAD_KEY, b"1.2.3.4/33", b"b")),
        (Match.IP, 0, "10.0.0.0/255.0.255.0 b", (1, face.REFERENCE_BAD_KEY, b"10.0.0.0/255.0.255.0", b"b")),
        (Match.INT, 0, "1:2:3 x", (1, face.REFERENCE_BAD_KEY, b"1:2:3", b"x")),
        (Match.INT, 0, "9:2 x", (1, face.REFERENCE_BAD_KEY, b"9:2", b"x")),
        (Match.INT, 0, "-5:3 x", (1, face.REFERENCE_BAD_KEY, b"-5:3", b"x")),
        (Match.INT, 0, ": x", (1, face.REFERENCE_BAD_KEY, b":", b"x")),
        (Match.INT, 0, "+5 x", (1, face.REFERENCE_BAD_KEY, b"+5", b"x")),
        (Match.INT, 0, "99999999999999999999 x", (1, face.REFERENCE_BAD_KEY, b"99999999999999999999", b"x")),
        (Match.BIN, 0, "0a0 x", (1, face.REFERENCE_BAD_KEY, b"0a0", b"x")),
        (Match.SUB, 0, "a" * 256, (1, face.REFERENCE_BAD_KEY, b"a" * 256, b"")),
        (Match.STR, face.REFERENCE_INTEGERS, "/a 1\n/b 1x", (2, face.REFERENCE_BAD_VALUE, b"/b", b"1x")),
        (Match.STR, face.REFERENCE_INTEGERS, "/a\n/b  -5\n/c 0\n/d +7", None),
        (Match.STR, face.REFERENCE_ADDRESSES, "/a 1.2.3.4\n/b ::1\n/c 1.2.3", (3, face.REFERENCE_BAD_VALUE, b"/c", b"1.2.3")),
    ],
)  # fmt: skip
def test_what_no_use_can_read_is_told(method: Match, flags: int, content: str, wrong: object) -> None:
    assert Stored(content.encode(), (method, 0), flags=flags).wrong == wrong


def test_rules_set_add_and_delete() -> None:
    stored = Stored(b"a 1\na 2\nb 3", (Match.STR, 0))
    assert stored.set("a", "x") == stored.set("c", "y") == stored.delete("b") == face.REFERENCE_DONE
    assert stored.rows() == [(b"a", b"x"), (b"a", b"x"), (b"c", b"y")]
    assert stored.delete("b") == face.REFERENCE_NONE
    assert stored.delete("a") == face.REFERENCE_DONE
    assert stored.value("a") is None
    assert stored.known["entries"] == 1
    banned = Stored(b"10.0.0.1", (Match.IP, 0), is_map=False)
    assert banned.set("10.0.0.1", None) == banned.set("10.0.0.2", None) == face.REFERENCE_DONE
    assert banned.rows() == [(b"10.0.0.1", None), (b"10.0.0.2", None)]
    assert banned.set("nobody", None) == face.REFERENCE_BAD_KEY


def test_a_file_in_two_ways() -> None:
    stored = Stored(b"a.b 1\nb 2", (Match.STR, 0), (Match.END, IGNORE_CASE), (Match.DOM, 0))
    assert [stored.value("x.A.b", use) for use in range(3)] == [None, "1", "2"]
    stored.set("x.A.b", "3")
    assert [stored.value("x.A.b", use) for use in range(3)] == ["3", "1", "2"]


def test_a_full_file_refuses_and_counts_until_it_is_folded() -> None:
    stored = Stored(b"", (Match.STR, 0), slack=4, entries_max=7)
    answers = [stored.set(f"k{each}", "v") for each in range(6)]
    assert answers == [face.REFERENCE_DONE] * 4 + [face.REFERENCE_FULL] * 2
    assert stored.known["refused"] == 2
    assert stored.fold(slack=8) == face.REFERENCE_DONE
    answers = [stored.set(f"k{each}", "w") for each in range(8)]
    assert answers == [face.REFERENCE_DONE] * 7 + [face.REFERENCE_FULL]  # no more than entries_max
    assert stored.value("k3") == "w"


def test_a_version_is_seen_when_it_is_committed() -> None:
    stored = Stored(b"a 1\nb 2", (Match.STR, 0), (Match.BEG, 0))
    version = face.prepare(stored.mapping, stored.place)
    later = face.prepare(stored.mapping, stored.place)
    assert stored.append("b", "3", version) == stored.append("c", "4", later) == face.REFERENCE_DONE
    assert (stored.value("b"), stored.value("c")) == ("2", None)
    assert stored.rows(version) == [(b"b", b"3")]
    assert stored.fold(version) == face.REFERENCE_DONE
    assert (stored.value("a"), stored.value("b"), stored.value("c")) == (None, "3", None)
    assert stored.known["version"] == version
    assert stored.rows(0) == []
    assert stored.rows(later) == [(b"c", b"4")]
    assert stored.fold(keeps=False) == face.REFERENCE_DONE
    assert stored.rows() == []
    assert stored.rows(later) == [(b"c", b"4")]
    assert stored.known["entries"] == 1


KILL_POINTS = ["locked", "taken", "written", "indexed", "noted", "changed", "folding"]


@pytest.mark.parametrize("point", KILL_POINTS)
@pytest.mark.parametrize("method", [Match.STR, Match.BEG, Match.END, Match.IP, Match.INT])
def test_whoever_dies_in_the_middle_leaves_it_right(point: str, method: Match) -> None:
    keys = {Match.IP: ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"], Match.INT: ["1:9", "5", "4:5"]}.get(
        method, ["5", "15", "115"]
    )
    probe = {Match.IP: "10.1.2.3", Match.INT: "5"}.get(method, "115")
    stored = Stored(f"{keys[0]} a\n{keys[1]} b".encode(), (method, 0))

    def work() -> None:
        stored.set(keys[2], "c")
        stored.set(keys[0], "d")
        stored.delete(keys[1])
        stored.fold()

    assert killed(work, f"reference.{point}")
    # Each of the changes has been made or has not; none by half.
    shown = dict(stored.rows())
    assert shown.get(keys[0].encode()) in (b"a", b"d")
    assert shown.get(keys[1].encode()) in (b"b", None)
    assert shown.get(keys[2].encode()) in (b"c", None)
    assert stored.set(keys[2], "e") == stored.set(keys[0], "f") == stored.set(keys[1], "g") == face.REFERENCE_DONE
    expected = {keys[0].encode(): b"f", keys[1].encode(): b"g", keys[2].encode(): b"e"}
    assert dict(stored.rows()) == expected
    assert stored.known["entries"] == 3
    found = stored.value(probe)
    assert stored.fold() == face.REFERENCE_DONE
    assert dict(stored.rows()) == expected
    assert stored.value(probe) == found
    assert stored.known["torn"] == 0
