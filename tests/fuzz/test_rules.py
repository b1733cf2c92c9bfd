"""Texts of the rule language, sets of patterns, programs and damaged images: nothing but LanguageError comes out of a text, and
whatever a program says, evaluating it ends and reads only what it may.

The suite runs a fixed number of rounds from a fixed seed; `make fuzz` (LB_FUZZ_SECONDS) goes on from a seed of its own.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from kit.rules import NAMES, REQUEST, RESPONSE, holds, image_of, judged, look

from lb._speedups.face.regex import Regex, RegexError, RegexLimit, is_available
from lb._speedups.face.testing_rules import Rules
from lb.config.actions.rewrite import NORMALIZERS
from lb.language.catalog import CONVERTERS, FETCHES, Argument
from lb.language.condition import parse_condition, parse_test
from lb.language.error import LanguageError
from lb.language.expression import parse
from lb.language.format import parse_format
from lb.language.program import Program

SECONDS = float(os.environ.get("LB_FUZZ_SECONDS", "0"))
SETTINGS: dict[str, Any] = {
    "version": 1,
    "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app"}},
    "backends": {
        "app": {"servers": [{"name": "s1", "address": "127.0.0.1:1"}]},
        "other": {"servers": [{"name": "s2", "address": "127.0.0.1:2"}]},
    },
}
SIGNS = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    " ",
    "%",
    "!",
    "-",
    "\\",
    "'",
    '"',
    "or",
    "||",
    "-m",
    "-i",
    "-f",
    "--",
    "\\xff",
    "%[",
    "%{+Q}[",
    "9" * 5000,
    "-1",
    "0",
    "1:9",
    ":",
    "é",
    "\udcff",
    "\0",
    "\n",
    "x",
    "eq",
    "gt",
    "sub",
    "10.0.0.0/8",
    "::1",
    "TRUE",
]
WITHOUT_FILES = [name for name in CONVERTERS if not name.startswith("map")]  # these have a test of their own
WORDS = [*FETCHES, *WITHOUT_FILES]
BYTES = b"aAbB./?:-\x00\x7f\x80\xc3\xff"


def rounds(n: int) -> Iterator[random.Random]:
    if not SECONDS:
        dice = random.Random(17)
        for _ in range(n):
            yield dice
        return
    seed = time.time_ns()
    print(f"seed {seed}")
    dice = random.Random(seed)
    end = time.monotonic() + SECONDS / 4
    while time.monotonic() < end:
        yield dice


def argument(dice: random.Random, each: Argument) -> str:
    known = {
        "name": ["x-a", "cookie", "host", "nope"],
        "unit": ["s", "ms", "us"],
        "frontend": ["web"],
        "backend": ["app", "other"],
        "server": ["app/s1", "other/s2"],
        "ipv4": ["10.1.2.3"],
        "ipv6": ["2001:db8::1"],
        "hex": ["", "00ff0d0a", "41"],
        "mask4": ["8", "24"],
        "mask6": ["64"],
        "flag": ["0", "1"],
        "digest": ["md5", "sha1", "sha256", "sha3-512", "blake2b512"],
        "sha2": ["224", "256", "384", "512"],
        "base64": ["", "YQ==", "AAAA" * 50, "AAAAAAAAAAAAAAAAAAAAAA=="],
        "bits": ["128", "256"],
        "jwt_algorithm": ["none", "HS256", "HS512", "RS256", "ES384", "PS512"],
        "jwt_key": ["k", "secret"],
        "time": ["us", "ms"],
        "tlv": ["0xE0", "AUTHORITY", "5"],
        "env": ["PATH", "NOT_SET"],
        "char": ["&", ";", "b"],
        "json_path": ["$", "$.a", "$.a[0].b", "$[1]"],
        "asint": ["int"],
        "input_code": ["ascii", "utf8", "utf8s", "utf8p", "utf8ps"],
        "variable": ["txn.a", "req.b", "sess.c", "res.d", "proc.e"],
        "operand": ["txn.a", "-7", "sess.c", "0"],
        "conditions": ["ifset", "ifnotempty", "ifgt"],
        "when": ["error", "normal", "stopping"],
        "forwarded": ["for", "by", "host", "proto"],
        "regex": ["a", "'(a+)+$'", "'^(.*)b(.*)$'", "[ab]", "", "$", "'(?=a)'", "'(a)|b'", "\\d\\K"],
        "references": ["\\0\\0", "\\1", "x", "", "\\9", "'\\x41'"],
        "regex_flags": ["g", "i", "gi"],
    }
    if each.kind == "int":
        low = -(2**63) if each.low is None else each.low
        high = 2**63 - 1 if each.high is None else each.high
        return str(dice.choice([low, high, min(max(dice.randrange(-20, 20), low), high)]))
    return dice.choice(known.get(each.kind, ["a", "b", "1", "/", "x-a", " ", "%", "12"]))


def call(dice: random.Random, name: str, args: tuple[Argument, ...]) -> str:
    given = []
    for each in args:
        if each.is_optional and dice.random() < 0.5:
            break
        given.append(argument(dice, each))
    return f"{name}({','.join(given)})" if given else name


def expression(dice: random.Random) -> str:
    name = dice.choice(list(FETCHES))
    parts = [call(dice, name, FETCHES[name].args)]
    for _ in range(dice.randrange(0, 5)):
        name = dice.choice(WITHOUT_FILES)
        parts.append(call(dice, name, CONVERTERS[name].args))
    return ",".join(parts)


def test_text(dice: random.Random) -> str:
    flags = dice.choice(
        [
            "",
            "-i ",
            "-m found ",
            "-m bool ",
            "-m int ",
            "-m ip ",
            "-m len ",
            "-m str ",
            "-m beg -i ",
            "-m end ",
            "-m sub ",
            "-m dir ",
            "-m dom -i ",
            "-m bin ",
            "-m reg ",
            "-m reg -i ",
        ]
    )
    many = dice.choices(
        ["a", "1", "A", "/", "(a+)+$", "^a.*b$", "10.0.0.0/8", "::/0", "1:5", "gt", "3", "''", "0d0a", "api", "v1"],
        k=dice.randrange(0, 4),
    )
    return f"{expression(dice)} {flags}{' '.join(many)}"


test_text.__test__ = False  # type: ignore[attr-defined]


def condition(dice: random.Random) -> str:
    return " ".join(
        f"{dice.choice(['', '', 'or '])}{dice.choice(['', '!'])}{{ {test_text(dice)} }}"
        for _ in range(dice.randrange(1, 4))
    ).removeprefix("or ")


def noise(dice: random.Random) -> str:
    if dice.random() < 0.5:
        text = dice.choice([expression, test_text, condition])(dice)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(text) + 1)
            text = text[:at] + dice.choice(SIGNS) + text[at + dice.randrange(0, 3) :]
        return text
    return dice.choice(["", " "]).join(dice.choices(SIGNS + WORDS, k=dice.randrange(0, 12)))


def head(dice: random.Random) -> bytes:
    target = dice.choice(
        [b"/", b"*", b"http://h", b"http://h?q=1", b"/a/../b?a=1&b=2&a=", b"/" + bytes([dice.choice(b"ab/")]) * 3000]
    )
    method = b"OPTIONS" if target == b"*" else dice.choice([b"GET", b"HEAD", b"POST", b"ODD", b"OPTIONS"])
    made = method + b" " + target + b" HTTP/1.1\r\nHost: h\r\n"
    for _ in range(dice.randrange(0, 8)):
        value = bytes(dice.choices(b'ab,"\\; =1-:.\xff/{}[]', k=dice.choice([0, 1, 5, 40, 900])))
        made += dice.choice([b"x-a", b"X-A", b"cookie", b"x-ip", b"Foo"]) + b": " + value + b"\r\n"
    return made + b"\r\n"


def answer(dice: random.Random) -> bytes:
    made = b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n" % dice.choice([200, 204, 304, 404, 599])
    for _ in range(dice.randrange(0, 5)):
        made += (
            dice.choice([b"Set-Cookie", b"X-A"])
            + b": "
            + bytes(dice.choices(b"ab,;= 1", k=dice.randrange(0, 30)))
            + b"\r\n"
        )
    return made + b"\r\n"


def test_only_language_errors_come_out_of_texts() -> None:
    for dice in rounds(6000):
        text = noise(dice)
        for read in (
            lambda text: parse(text, NAMES),
            lambda text: parse_test(text, NAMES),
            lambda text: parse_condition(text, {}, NAMES),
            lambda text: parse_format(text, NAMES),
        ):
            with suppress(LanguageError):
                read(text)


def programmed(dice: random.Random) -> tuple[Program, int]:
    """Make a program of whatever is right among random texts; also how many of its texts were."""
    program, right = Program(), 0
    for _ in range(12):
        with suppress(LanguageError):
            program.expression(parse(expression(dice), NAMES))
            right += 1
        with suppress(LanguageError):
            program.condition(parse_condition(condition(dice), {}, NAMES))
            right += 1
        with suppress(LanguageError):
            program.format(parse_format(f"a%[{expression(dice)}]b%{{+Q}}[{expression(dice)}]", NAMES))
            right += 1
    return program, right


def evaluate(rules: Rules, dice: random.Random) -> None:
    expressions, conditions, formats, _ = rules.counts
    look(rules, head(dice), dice.choice([None, answer(dice)]))
    rules.set_mapping()
    for number in range(min(expressions, 100)):
        rules.sample(number)
    for number in range(min(conditions, 100)):
        before = rules.limits
        told = rules.condition(number)
        assert told in (0, 1) or (told == -1 and rules.limits > before)
    for number in range(min(formats, 100)):
        for cap in (0, 1, 2, 40, 16384):
            rules.format(number, cap)


def test_programs_end_and_stay_in_their_bounds() -> None:
    right = 0
    for dice in rounds(150):
        program, some = programmed(dice)
        right += some
        rules = Rules(image_of(SETTINGS, program))
        for _ in range(3):
            evaluate(rules, dice)
    assert right > 300


RULED: dict[str, Any] = {
    **SETTINGS,
    "frontends": {
        "web": {
            **SETTINGS["frontends"]["web"],
            "rules": [
                {
                    "set_header": ["x-a", "%[path,lower]-%[req.hdr(x-a)]"],
                    "if": "{ path_beg -i /api /v1 } or { src 10.0.0.0/8 }",
                },
                {"set_pathq": "/n%[pathq]", "unless": "{ req.hdr(x-n) 1:5 }"},
                {"replace_path": ["^/(a+)+(.*)$", "/\\1%[src]\\2"], "if": "{ path_reg -i ^/A ^/b }"},
                {"replace_value": ["x-a", "b(.*)", "\\1b"]},
                {"replace_header": ["cookie", "(.*)=(.*)", "\\2=%[path,regsub(a,bb,g)]"]},
                {"normalize_uri": "path-strip-dotdot"},
                {"normalize_uri": "query-sort-by-name"},
                {"set_uri": "http://h%[pathq]", "if": "{ method ODD }"},
                {"set_method": "PUT", "if": "METH_POST"},
                {"deny": 429, "if": "{ req.hdr(x-q) -m sub b } !{ path_len lt 4 }"},
                {"use_backend": "other", "if": "{ urlp(a) 2 }"},
                {"return": {"status": 200, "body": "%[url]", "headers": {"x": "%[src]"}}},
            ],
            "response_rules": [{"set_status": 503, "if": "{ status 404 }"}, {"del_header": "server"}],
        }
    },
}


def test_a_damaged_program_is_refused_or_harmless() -> None:
    whole = image_of(RULED)
    plain = image_of(SETTINGS)
    taken = 0
    for dice in rounds(6000):
        damaged = bytearray(whole)
        for _ in range(dice.choice([1, 1, 2, 4])):
            at = dice.randrange(len(plain) - 600, len(whole))
            damaged[at] = dice.choice((0, 1, 2, 127, 128, 255, dice.randrange(256)))
        try:
            rules = Rules(bytes(damaged))
        except ValueError:
            continue
        taken += 1
        evaluate(rules, dice)
        for number in range(min(rules.counts[3], 4)):
            look(rules, head(dice), answer(dice))
            rules.rules(number, False)
            rules.rules(number, True)
            rules.head(False)
            rules.head(True)
    assert taken > 100


def pattern(dice: random.Random) -> bytes:
    pieces = [
        "a", "b", ".", "[ab]", "(", ")", "(?:", "(?=", "(?<!", "|", "*", "+", "?", "*+", "{2,9}", "^", "$", "\\1",
        "\\b", "\\K", "(?1)", "(*SKIP)", "(*COMMIT)", "\\G", "\\R", "\\d", "\\", "[^", "]", "(?i)", "(*NO_JIT)"
    ]  # fmt: skip
    return "".join(dice.choices(pieces, k=dice.randrange(1, 14))).encode()


@pytest.mark.skipif(not is_available(), reason="lb was built without PCRE2")
def test_no_pattern_holds_whoever_matches() -> None:
    compiled = 0
    for dice in rounds(4000):
        try:
            regex = Regex(pattern(dice), dice.random() < 0.2)
        except RegexError:
            continue
        compiled += 1
        for text in (
            bytes(dice.choices(b"ab", k=dice.choice([0, 1, 30, 300]))),
            b"a" * dice.choice([20, 2000, 16000]) + dice.choice([b"", b"!", b"\xff"]),
        ):
            begin = time.thread_time()
            with suppress(RegexLimit):
                spans = regex.search(text, dice.random() < 0.2)
                assert spans is None or all(span is None or 0 <= span[0] <= span[1] <= len(text) for span in spans), (
                    regex
                )
            assert time.thread_time() - begin < 0.5
            regex.expand(text, bytes(dice.choices(b"\\x0149a", k=dice.randrange(0, 12))))
    assert compiled > 500


def lower(word: bytes) -> bytes:
    return re.sub(rb"[A-Z]", lambda found: found[0].lower(), word)


def matches(method: str, word: bytes, value: bytes) -> bool:
    """Say slowly whether a value matches a pattern."""
    if method == "str":
        return word == value
    if method == "beg":
        return value.startswith(word)
    if method == "end":
        return value.endswith(word)
    if method == "sub":
        return word in value
    ends = b"/?" if method == "dir" else b"/?.:"
    word = word.strip(ends)
    if not word:
        return True
    return any(
        value[at : at + len(word)] == word
        and (at == 0 or value[at - 1] in ends)
        and (at + len(word) == len(value) or value[at + len(word)] in ends)
        for at in range(len(value) - len(word) + 1)
    )


def quoted(word: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"'


def test_sets_against_an_oracle() -> None:
    for dice in rounds(1500):
        method = dice.choice(["str", "beg", "end", "sub", "dir", "dom"])
        fold = dice.random() < 0.5
        words = [
            bytes(
                dice.choices(BYTES, k=dice.choice([0, 1, 1, 2, 3, 254, 255] if dice.random() < 0.1 else [1, 1, 2, 3]))
            )
            for _ in range(dice.randrange(1, 6))
        ]
        value = bytes(dice.choices(BYTES.replace(b"\0", b"").replace(b"\x7f", b""), k=dice.randrange(0, 12)))
        if dice.random() < 0.3:
            value = (
                bytes(dice.choices(b"ab/", k=5))
                + dice.choice(words).translate(None, b"\0\x7f")
                + bytes(dice.choices(b"ab/", k=2))
            )
        value = value.strip(b" \t")
        request = b"GET / HTTP/1.1\r\nHost: h\r\nX-V: " + value + b"\r\n\r\n"
        text = f"{{ req.fhdr(x-v) -m {method} {'-i ' if fold else ''}-- {' '.join(map(quoted, words))} }}"
        expected = any(
            matches(method, lower(word) if fold else word, lower(value) if fold else value) for word in words
        )
        assert holds(text, request) == expected, (text, value)


@pytest.mark.parametrize("method", ["sub", "dir", "dom"])
def test_a_pattern_that_may_stand_anywhere_is_looked_for_in_one_pass(method: str) -> None:
    """A client that knows the pattern cannot make the search costly: twice the pattern's bytes are no more work."""
    program = Program()
    short = program.condition(parse_condition(f"{{ req.fhdr(x-v) -m {method} {'/a' * 4}b }}", {}, NAMES))
    long = program.condition(parse_condition(f"{{ req.fhdr(x-v) -m {method} {'/a' * 120}b }}", {}, NAMES))
    rules = look(Rules(image_of(SETTINGS, program)), b"GET / HTTP/1.1\r\nHost: h\r\nX-V: " + b"/a" * 7000 + b"\r\n\r\n")
    cost = min(rules.condition_ns(long, 5) for _ in range(5)) / min(rules.condition_ns(short, 5) for _ in range(5))
    assert cost < 4


def test_random_edits_leave_a_head_that_reads_as_one() -> None:
    for dice in rounds(400):
        rules = []
        for _ in range(dice.randrange(1, 6)):
            value = dice.choice(
                ["%[path]", "%[req.hdr(x-a)]", "%[url]", "/%[query]", "/a", "%[method]", "%[pathq,url_dec]", "h", ""]
            )
            name = dice.choice(["x-a", "host", "cookie", "x-new"])
            rules.append(
                dice.choice(
                    [
                        {"set_header": [name, value]},
                        {"add_header": [name, value]},
                        {"del_header": name},
                        {"set_path": "%[" + dice.choice(["path", "url", "pathq"]) + "]"},
                        {"set_query": value},
                        {"set_pathq": "/%[url]"},
                        {"set_method": "%[req.hdr(foo)]"},
                        {"set_method": "POST"},
                        {
                            "set_uri": dice.choice(
                                ["http://h2", "http://%[req.hdr(x-a)]/", "/%[url]", "%[url]", "%[path]?"]
                            )
                        },
                        {"replace_header": [name, dice.choice(["(a)|.", "^(.*)$", "$"]), value + "\\1"]},
                        {"replace_value": [name, dice.choice(["a*", "^(.*)$", "b|^$"]), value + "\\0"]},
                        {"replace_path": [".*(b)?", value + "\\0"]},
                        {"replace_pathq": ["(a|q)", "/\\1" + value]},
                        {"replace_uri": ["^(http://h)?(.*)", dice.choice(["\\2", "http://\\0", "/x\\2", "\\0?"])]},
                        {"normalize_uri": dice.choice(list(NORMALIZERS))},
                    ]
                )
            )
        try:
            verdict, written = judged(rules, head(dice))
        except ValueError:
            continue  # a rule was refused before
        if verdict[0] != "done" or written is None:
            continue
        again = look(Rules(image_of(SETTINGS)), REQUEST, RESPONSE)
        again.set_request(written)  # raises when it is none
