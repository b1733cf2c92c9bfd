"""Converters of structured text and of moments that Debian's HAProxy does not have yet; the others are compared with it."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from kit.rules import NAMES, sample

from lb.language.error import LanguageError
from lb.language.expression import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("str(a=1&b=2&c),param(a)", b"1"),
        ("str(a=1&b=2&c),param(b)", b"2"),
        ("str(a=1&b=2&c),param(c)", b""),
        ("str(a=1&b=2&c),param(d)", None),
        ("str(a=&b),param(a)", b""),
        ("str(ab=1&a=2),param(a)", b"2"),
        ("str(b&a=2),param(a)", b"2"),
        ("str(a=1;b=2),param(b,;)", b"2"),
        ("str(a=1=2),param(a)", b"1=2"),
        ("str(),param(a)", None),
        ("str(a),param(abc)", None),
        ('str("a\\r\\nb"),cut_crlf', b"a"),
        ('str("\\nb"),cut_crlf', b""),
        ("str(ab),cut_crlf", b"ab"),
        ("bin(610062),length", 1),
        ("bin(0005ff),base2", b"000000000000010111111111"),
        ("str(),base2", b""),
        ("bin(01020304050607),le2dec(:,2)", b"513:1027:1541:7"),
        ("bin(01020304050607),le2dec(-,2,1)", b"513-1027-1541"),
        ("bin(ffffffffffffffff),le2dec(-,8)", b"18446744073709551615"),
        ("bin(0102),le2dec(,1)", b"12"),
    ],
)
def test_pieces(text: str, value: Any) -> None:
    assert sample(text) == value


def test_little_endian_chunks_are_numbers() -> None:
    dice = random.Random(1)
    for _ in range(100):
        raw, size = dice.randbytes(dice.randrange(1, 40)), dice.randrange(1, 9)
        expected = b".".join(
            str(int.from_bytes(raw[i : i + size], "little")).encode() for i in range(0, len(raw), size)
        )
        assert sample(f"bin({raw.hex()}),le2dec(.,{size})") == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("int(1700000000123),ms_utime(%s.%3N %%N %Y)", b"1700000000.123 %N 2023"),
        ("int(1700000000123),ms_utime(%N)", b"123000000"),
        ("int(1700000000123456),us_utime(%6N|%9N|%12N|%1N|%0N)", b"123456|123456000|123456000|1|"),
        ("int(1700000000123456),us_utime(%H:%M:%S.%6N,3600)", b"23:13:20.123456"),
        ("int(-1),us_utime(%Y %6N)", b"1969 999999"),
        ("int(1700000000),utime()", b""),
        ("int(1700000000),http_date", b"Tue, 14 Nov 2023 22:13:20 GMT"),
        ("int(1700000000123),http_date(0,ms)", b"Tue, 14 Nov 2023 22:13:20.123 GMT"),
        ("int(36028797018963967),utime(%Y)", b"1141709097"),
        ("int(36028797018963967),utime(%Y,9223372036854775807)", None),
        ("int(9223372036854775807),us_utime(%Y)", b"294247"),
        ("int(0),utime(%99999d)", b""),
    ],
)
def test_moments(text: str, value: Any) -> None:
    assert sample(text) == value


def test_moments_in_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(2)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Australia/Lord_Howe")
        time.tzset()
        for _ in range(50):
            at = dice.randrange(-(2**31), 2**33)
            expected = time.strftime("%F %T %z", time.localtime(at)).encode()
            assert sample(f"int({at * 1000 + 5}),ms_ltime(%F %T %z %3N)") == expected + b" 005"
            assert sample(f"int({at * 1000000 + 5}),us_ltime(%F %T %z %6N)") == expected + b" 000005"
    time.tzset()


FORWARDED = [
    # value, is_valid, for, by, host, proto
    ("for=1.2.3.4", True, b"1.2.3.4", None, None, None),
    ('for="[2001:db8::1]:80";by=unknown', True, b"[2001:db8::1]:80", b"unknown", None, None),
    ("for=_a.b-c;host=a.b;proto=https", True, b"_a.b-c", None, b"a.b", b"https"),
    ('by="_x:_y";host="a:80";proto=http', True, None, b"_x:_y", b"a:80", b"http"),
    ('host="[::1]:443"', True, None, None, b"[::1]:443", None),
    ("host=", False, None, None, None, None),
    ("for=1.2.3.4:80", False, None, None, None, None),
    ("for=1.2.3.4; by=1.2.3.4", False, None, None, None, None),
    ("For=1.2.3.4", False, None, None, None, None),
    ("for=1.2.3.4;for=1.2.3.4", False, None, None, None, None),
    ("for=1.2.3.4;", False, None, None, None, None),
    ("for=1.2.3.4;;", False, None, None, None, None),
    ('for="1.2.3.4', False, None, None, None, None),
    ('for="[::1"', False, None, None, None, None),
    ("for=300.1.1.1", False, None, None, None, None),
    ("proto=ftp", False, None, None, None, None),
    ('proto="http"', False, None, None, None, None),
    ("secret=1", False, None, None, None, None),
    ("for=_", False, None, None, None, None),
    ("", False, None, None, None, None),
    ("by=unknown;for=unknown;host=a;proto=httpsgarbage", True, b"unknown", b"unknown", b"a", b"https"),
]


@pytest.mark.parametrize(("value", "is_valid", "for_", "by", "host", "proto"), FORWARDED)
def test_forwarded_elements(
    value: str, is_valid: bool, for_: bytes | None, by: bytes | None, host: bytes | None, proto: bytes | None
) -> None:
    request = f"GET / HTTP/1.1\r\nHost: h\r\nForwarded: {value}\r\n\r\n".encode()
    assert sample("req.fhdr(forwarded),rfc7239_is_valid", request) is is_valid
    for name, expected in (("for", for_), ("by", by), ("host", host), ("proto", proto)):
        assert sample(f"req.fhdr(forwarded),rfc7239_field({name})", request) == expected, name


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("1.2.3.4", "1.2.3.4", None),
        ("1.2.3.4:80", "1.2.3.4", 80),
        ("[2001:db8::1]:_p", "2001:db8::1", b"_p"),
        ("unknown", b"unknown", None),
        ("unknown:65535", b"unknown", 65535),
        ("_hidden:1", b"_hidden", 1),
        ("1.2.3.4:65536", None, None),
        ("1.2.3.4:0", None, None),
        ("1.2.3.4:", None, None),
        ("_", None, None),
        ("", None, None),
        ("[::1", None, None),
        ("unknow", None, None),
    ],
)
def test_nodes(text: str, name: Any, port: Any) -> None:
    assert sample(f"str({text}),rfc7239_n2nn") == name
    assert sample(f"str({text}),rfc7239_n2np") == port


def test_arrays_are_text() -> None:
    assert sample("""str('{"a":[1,"x",[2]]}'),json_query($.a)""") == b'[1,"x",[2]]'
    assert sample("""str('{"a":[1,"x",[2]]}'),json_query($.a[2])""") == b"[2]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("str(a),json_query()", "is no path"),
        ("str(a),json_query(a.b)", "'a.b' is no path"),
        ("str(a),json_query($.a[x])", "is no path"),
        ("str(a),json_query($.a[01])", "is no path"),
        ("str(a),json_query($[1)", "is no path"),
        ("str(a),json_query($.a,bool)", "unknown type 'bool'"),
        ("str(a),json(latin1)", "unknown input code 'latin1'"),
        ("str(a),rfc7239_field(form)", "unknown parameter 'form'"),
        ("str(a),param(a,ab)", "needs one character"),
        ("int(1),http_date(1,min)", "unknown unit 'min'"),
        ("bin(61),utime(%s)", "takes an integer"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(LanguageError, match=says.replace("$", r"\$").replace("[", r"\[").replace("(", r"\(")):
        parse(text, NAMES)
