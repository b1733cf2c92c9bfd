"""Regular expressions: what a pattern finds, what it costs at most, and what rules do when nobody can tell."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.rules import NAMES, REQUEST, holds, image_of, judged, look, sample

from lb._speedups.face.regex import PATTERN_MAX, Regex, RegexError, RegexLimit, is_available, version
from lb._speedups.face.testing_rules import Rules
from lb.language.condition import parse_condition
from lb.language.program import Program

pytestmark = pytest.mark.skipif(not is_available(), reason="lb was built without PCRE2")

CATASTROPHIC = b"(a+)+$"
BOMB = b"a" * 40 + b"!"


def test_pcre2_says_its_version() -> None:
    assert re.match(r"10\.\d+", version())


@pytest.mark.parametrize(
    ("pattern", "subject", "found"),
    [
        (b"b", b"abc", (1, 2)),
        (b"^b", b"abc", None),
        (b"", b"", (0, 0)),
        (b"$", b"abc", (3, 3)),
        (b"a\x00b", b"xa\x00b", (1, 4)),
        (b"\xff", b"\xfe\xff", (1, 2)),
        (b".", b"\n", None),
        (b"(?s).", b"\n", (0, 1)),
        (b"c|b", b"abc", (1, 2)),
    ],
)
def test_a_pattern_finds(pattern: bytes, subject: bytes, found: tuple[int, int] | None) -> None:
    spans = Regex(pattern).search(subject)
    assert (spans and spans[0]) == found


def test_groups_beyond_nine_are_matched_and_not_told() -> None:
    spans = Regex(b"(.)" * 12).search(b"abcdefghijkl")
    assert spans == ((0, 12), *((i, i + 1) for i in range(9)))


def test_a_group_that_took_no_part_is_none() -> None:
    assert Regex(b"(a)|(b)").search(b"b") == ((0, 1), None, (0, 1), *(None,) * 7)


def test_case_is_ignored_when_asked() -> None:
    assert Regex(b"ab", True).search(b"xAB")
    assert not Regex(b"ab").search(b"xAB")


def test_not_the_beginning_of_a_line() -> None:
    assert Regex(b"^a").search(b"a", not_begin=True) is None


@pytest.mark.parametrize(
    ("pattern", "message", "at"),
    [
        (b"(a", "missing closing parenthesis", 2),
        (b"a|+b", "quantifier does not follow", 2),
        (b"(*UTF)a", "using UTF is disabled", 6),
    ],
)
def test_a_wrong_pattern_says_where(pattern: bytes, message: str, at: int) -> None:
    with pytest.raises(RegexError, match=message) as caught:
        Regex(pattern)
    assert caught.value.at == at


def test_patterns_are_bounded() -> None:
    Regex(b"a" * (PATTERN_MAX - 200))
    with pytest.raises(RegexError):
        Regex(b"a" * (PATTERN_MAX + 1))
    with pytest.raises(RegexError, match="parentheses are too deeply nested"):
        Regex(b"(" * 200 + b")" * 200)
    with pytest.raises(RegexError, match="too large"):
        Regex(b"((((a{500}){500}){500}){500})")


@pytest.mark.parametrize("place", [0, 1, 254, 255, 256, 257, 511, 512, 513, 5000, 16383])
def test_slices_leave_no_place_out(place: int) -> None:
    subject = bytearray(b"." * 16384)
    subject[place] = ord("x")
    for pattern in (b"x", b"(?<!y)x", b"[^.]", b"(*NO_JIT)x", b"(*NO_START_OPT)x", b"(*NO_START_OPT)(*COMMIT)x"):
        spans = Regex(pattern).search(subject)
        # (*COMMIT) gives up where the first attempt does.
        wanted = None if b"COMMIT" in pattern and place else (place, place + 1)
        assert (spans and spans[0]) == wanted, pattern


def test_what_looks_at_the_whole_search_is_not_sliced() -> None:
    subject = b"." * 1000 + b"x"
    assert Regex(b"(?:^|y)\\G.|\\Gx").search(subject) == ((0, 1), *(None,) * 9)
    assert Regex(b"[a-z]\\Kx|\\Gx").search(subject) is None


@given(
    st.text(alphabet="ab.*+?|()^$[]\\d{1}", max_size=12),
    st.text(alphabet="ab1\n", max_size=600),
)
@settings(max_examples=300)
def test_the_first_match_is_pythons(pattern: str, subject: str) -> None:
    try:
        ours, theirs = Regex(pattern.encode()), re.compile(pattern.encode())
    except (RegexError, re.error):
        return
    if re.search(r"[*+?}][*+?{]|\(\?|\{|\[[^]]*\[|\[\^?\]|\\", pattern) or "$" in pattern:
        return  # where the two differ in syntax or in what the end of a line is
    try:
        spans = ours.search(subject.encode())
    except RegexLimit:
        return
    found = theirs.search(subject.encode())
    assert (spans and spans[0]) == (found and found.span())


# ---- limits ----


@pytest.mark.parametrize(
    "pattern", [CATASTROPHIC, b"(*NO_JIT)(a+)+$", b"^(([a-z])+.)+[A-Z]([a-z])+$", b"(a|a)*$", b"(a*)*\\d"]
)
def test_a_catastrophe_ends_soon(pattern: bytes) -> None:
    regex = Regex(pattern)
    begin = time.thread_time()
    for length in (40, 400, 16000):
        with pytest.raises(RegexLimit):
            regex.search(b"a" * length + b"!")
    assert time.thread_time() - begin < 0.25


def test_many_cheap_places_are_not_cheap_together() -> None:
    """Quadratic: each place stays below its limit, so only the clock ends it."""
    regex = Regex(b"(*NO_JIT)\\s+$")
    begin = time.thread_time()
    with pytest.raises(RegexLimit):
        regex.search(b" " * 16000 + b"!")
    assert time.thread_time() - begin < 0.25


@pytest.mark.parametrize("pattern", [b"a*a*\\d", b"(?:a+)(?:a+)\\d", b"(.*)(.*)(.*)\\d", b"a*a*a*\\d", b"(a|b|ab)*\\d"])
@pytest.mark.parametrize("how", [b"", b"(*NO_JIT)"])
def test_what_pcre2_does_not_count_is_bounded_too(pattern: bytes, how: bytes) -> None:
    regex = Regex(how + pattern)
    begin = time.thread_time()
    for length in (20, 60, 64, 65, 120, 250, 1000, 4000, 16000):
        with suppress(RegexLimit):
            regex.search(b"a" * length + b"!")
    assert time.thread_time() - begin < 0.4


def test_recursion_has_a_bottom() -> None:
    with pytest.raises(RegexLimit):
        Regex(b"(?:(a)|b)*\\d").search(b"ab" * 8000 + b"!")
    assert Regex(b"^(\\((?1)*\\))$").search(b"(" * 50 + b")" * 50)
    with pytest.raises(RegexLimit):
        Regex(b"^(\\((?1)*\\)x|\\((?1)*\\))$").search(b"(" * 4000)


def test_a_long_value_is_matched_all_the_same() -> None:
    assert Regex(b"^(.*)/end$").search(b"a/" * 8000 + b"/end")
    assert Regex(b"(?:[a-z]+/)+end$").search(b"abc/" * 4000 + b"end")


# ---- references ----


@pytest.mark.parametrize(
    ("format", "made"),
    [
        (rb"\0", b"bc"),
        (rb"<\1|\2|\3>", b"<b|c|>"),
        (rb"\x41\\\.", rb"A\."),
        (b"", b""),
        (rb"\xe4", b"\xe4"),
        (b"\\", None),
        (rb"\x4", None),
    ],
)
def test_references(format: bytes, made: bytes | None) -> None:  # noqa: A002
    assert Regex(b"(b)(c)(d)?").expand(b"abc", format) == made


# ---- in rules ----


def test_patterns_of_a_test_are_tried_in_order() -> None:
    assert holds("{ path -m reg ^/nope v[0-9]+/ }")
    assert not holds("{ path -m reg ^/nope ^/other }")
    assert holds("{ path_reg -i ^/API }")
    assert not holds("{ path_reg ^/API }")


def test_every_value_of_a_header_is_tried() -> None:
    assert holds("{ hdr(x-a) -m reg ^fo }")
    assert not holds("{ hdr(x-a) -m reg ^fox }")


def test_regsub() -> None:
    assert sample("path,regsub(/,-,g)") == b"-api-v1-x"
    assert sample("path,regsub(API,x,i)") == b"/x/v1/x"
    assert sample("req.hdr(nope),regsub(a,b)") is None


def test_what_regsub_makes_is_bounded() -> None:
    request = b"GET /" + b"a" * 4000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    assert sample("path,regsub(a,bbbb,g)", request) == b"/" + b"bbbb" * 4000
    assert sample("path,regsub(a,bbbbb,g)", request) is None


def rules_of(text: str, path: bytes) -> tuple[Rules, int]:
    program = Program()
    number = program.condition(parse_condition(text, {}, NAMES))
    settings: dict[str, Any] = {
        "version": 1,
        "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app"}},
        "backends": {"app": {"servers": [{"name": "s1", "address": "127.0.0.1:1"}]}},
    }
    return look(Rules(image_of(settings, program)), b"GET /" + path + b" HTTP/1.1\r\nHost: a\r\n\r\n"), number


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("{ path_reg (a+)+$ }", -1),
        ("!{ path_reg (a+)+$ }", -1),
        ("{ path_reg (a+)+$ } or TRUE", 1),
        ("TRUE or { path_reg (a+)+$ }", 1),
        ("{ path_reg (a+)+$ } FALSE", 0),
        ("{ path_reg (a+)+$ ! }", -1),
        ("{ path_reg ! (a+)+$ }", 1),
        ("{ 'path,regsub(\"(a+)+$\",x)' -m found }", -1),
    ],
)
def test_a_limit_makes_unknown_only_what_depends_on_it(text: str, answer: int) -> None:
    rules, number = rules_of(text, BOMB)
    assert rules.condition(number) == answer


REQUEST_WITH_BOMB = b"GET /" + BOMB + b" HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("action", [{"deny": True}, {"reject": True}, {"tarpit": True}])
@pytest.mark.parametrize("word", ["if", "unless"])
def test_a_rule_that_refuses_does_when_nobody_can_tell(action: dict[str, Any], word: str) -> None:
    assert judged([{**action, word: "{ path_reg (a+)+$ }"}], REQUEST_WITH_BOMB)[0][0] == "verdict"


@pytest.mark.parametrize("action", [{"allow": True}, {"set_header": ["x-b", "1"]}, {"return": 200}, {"redirect": "/x"}])
@pytest.mark.parametrize("word", ["if", "unless"])
def test_any_other_rule_is_left_out(action: dict[str, Any], word: str) -> None:
    verdict, head = judged([{**action, word: "{ path_reg (a+)+$ }"}, {"deny": True, "if": "FALSE"}], REQUEST_WITH_BOMB)
    assert verdict[0] == "done"
    assert verdict[1] == 2
    assert head is not None
    assert b"x-b" not in head


def test_an_edit_made_of_what_nobody_knows_is_no_edit() -> None:
    verdict, _ = judged([{"set_header": ["x-b", "%[path,regsub('(a+)+$',x)]"]}], REQUEST_WITH_BOMB)
    assert verdict[0] == "error"


def test_a_rule_after_one_that_erred_is_judged_by_itself() -> None:
    verdict, head = judged(
        [
            {"set_header": ["x-b", "1"], "if": "{ path_reg (a+)+$ }"},
            {"set_header": ["x-c", "1"], "if": "{ path_reg aa }"},
        ],
        REQUEST_WITH_BOMB,
    )
    assert verdict[0] == "done"
    assert head is not None
    assert b"x-c" in head
    assert b"x-b" not in head


def test_limits_are_counted() -> None:
    rules, number = rules_of("{ path_reg (a+)+$ }", BOMB)
    for times in (1, 2, 3):
        rules.condition(number)
        assert rules.limits == times


def test_a_hundred_patterns_are_compiled_once_each() -> None:
    many = " ".join(f"^/p{i}$" for i in range(100))
    assert not holds(f"{{ path_reg {many} }} or {{ path_reg {many} }}", REQUEST)
