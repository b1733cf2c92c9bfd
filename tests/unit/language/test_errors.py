"""A mistake in a text is refused with its place, and with the way out."""

import pytest
from kit.rules import NAMES

from lb.language import regex
from lb.language.condition import parse_condition, parse_test
from lb.language.error import LanguageError
from lb.language.expression import parse
from lb.language.format import parse_format

EXPRESSIONS = [
    ("", 1, "an expression is missing"),
    ("srk", 1, "unknown fetch 'srk'"),
    ("req.hdr", 1, "needs 1 argument"),
    ("req.hdr(", 8, "is not closed"),
    ("req.hdr(a b)", 9, "the name of a header"),
    ("req.hdr(a,x)", 11, "needs a number"),
    ("req.hdr(a,-11)", 11, "out of range"),
    ("req.hdr(a,1,2)", 13, "at most 2"),
    ("src(x)", 5, "takes no argument"),
    ("src,", 5, "a converter is missing"),
    ("src,lowr", 5, "unknown converter 'lowr'"),
    ("ssl_fc_sni", 1, "not built yet"),
    ("src,mqtt_is_valid", 5, "not built yet"),
    ("bin(1)", 5, "hexadecimal"),
    ("bin(01),add(1)", 9, "takes an integer"),
    ("nbsrv(nope)", 7, "unknown backend 'nope'"),
    ("srv_conn(app/s9)", 10, "unknown server"),
    ("int(99999999999999999999)", 5, "out of range"),
    ("src x", 4, "stands behind the expression"),
    ("date(1,weeks)", 8, "unknown unit"),
    ("ipv4(300.1.1.1)", 6, "needs an IPv4 address"),
    ("int(0x" + "f" * 5000 + ")", 5, "needs a number"),
    ("int(1_0)", 5, "needs a number"),
]


@pytest.mark.parametrize(("text", "at", "message"), EXPRESSIONS)
def test_expressions(text: str, at: int, message: str) -> None:
    with pytest.raises(LanguageError) as caught:
        parse(text, NAMES)
    assert message in caught.value.message
    assert caught.value.at == at


CONDITIONS = [
    ("", 1, "is empty"),
    ("{ src 10.0.0.0/8", 1, "not closed"),
    ("{src 10.0.0.0/8 }", 1, "is one word"),
    ("nope", 1, "unknown ACL 'nope'"),
    ("TRUE or", 6, "a term is missing behind"),
    ("or TRUE", 1, "a term is missing before"),
    ("TRUE !", 6, "missing behind '!'"),
    ("{ }", 1, "is empty"),
    ("{ src 10.0.0.0/40 }", 7, "not an address"),
    ("{ src }", 3, "no pattern is given"),
    ("{ path -m what /x }", 11, "unknown matching method"),
    ("{ path -m reg ^/(x }", 15, "'^/(x' is no regular expression: missing closing parenthesis, behind its byte 4"),
    ("{ path_reg ^/x a{2,1} }", 16, "numbers out of order in {} quantifier"),
    ("{ path_reg (*UTF)x }", 12, "using UTF is disabled"),
    ("{ path_reg }", 3, "no pattern is given"),
    ("{ path,regsub([a,b) -m found }", 15, "missing terminating ]"),
    ("{ path,regsub(a) -m found }", 8, "'regsub' needs 2 arguments"),
    ("{ path,regsub(a,b,x) -m found }", 19, "'regsub': unknown flag in 'x'"),
    (r"{ path,regsub(a,'b\\') -m found }", 17, "ends in a backslash"),
    (r"{ path,regsub(a,'\x4') -m found }", 17, "needs two hexadecimal digits"),
    ("{ path -M /x }", 3, "'-M' belongs to a file"),
    ("{ path -f }", 8, "a file is missing"),
    ("{ path -z /x }", 8, "unknown flag"),
    ("{ src_port x }", 12, "is not a number"),
    ("{ src_port 9:1 }", 12, "is empty"),
    ("{ src_port gt }", 12, "missing behind 'gt'"),
    ("{ src_port gt 1:2 }", 15, "takes a number"),
    ("{ bin(00) x }", 3, "need a matching method"),
    ("{ bin(00) -m int 1 }", 3, "compares"),
    ("{ path -m bin 0 }", 15, "hexadecimal"),
    ("{ path -m found x }", 17, "takes no pattern"),
]


@pytest.mark.parametrize(("text", "at", "message"), CONDITIONS)
def test_conditions(text: str, at: int, message: str) -> None:
    with pytest.raises(LanguageError) as caught:
        parse_condition(text, {}, NAMES)
    assert message in caught.value.message
    assert caught.value.at == at


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(LanguageError) as caught:
        parse("req.hrd(x)", NAMES)
    assert caught.value.hint == "did you mean 'req.hdr'?"
    with pytest.raises(LanguageError) as caught:
        parse_condition("internl", {"internal": (parse_test("src 10.0.0.0/8", NAMES),)}, NAMES)
    assert caught.value.hint == "did you mean 'internal'?"


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("%[src", 1, "not closed"),
        ("ab %cix", 4, "is not a variable"),
        ("ab %bi", 4, "known only when a record is written"),
        ("ab %hr", 4, "belongs into log formats"),
        ("ab %{+X}f", 4, "hexadecimal"),
        ("%{+Q[src]", 1, "not closed"),
        ("%{+Z}[src]", 2, "unknown flag"),
        ("100%", 4, "is not a variable"),
        ("%[srk]", 3, "unknown fetch"),
    ],
)
def test_formats(text: str, at: int, message: str) -> None:
    with pytest.raises(LanguageError) as caught:
        parse_format(text, NAMES)
    assert message in caught.value.message
    assert caught.value.at == at


def test_without_pcre2_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb._speedups.face.regex.is_available", lambda: False)
    regex._problem.cache_clear()
    with pytest.raises(LanguageError) as caught:
        parse_condition("{ path_reg ^/x }", {}, NAMES)
    assert str(caught.value) == f"{regex.WITHOUT} (at character 12)"
    assert "libpcre2-dev" in caught.value.hint
    regex._problem.cache_clear()
