"""Fetches, converters, conditions and formats: what each gives for one request and one response."""

from typing import Any

import pytest
from kit.rules import formatted, holds, sample

FETCHES: list[tuple[str, Any]] = [
    ("always_true", True),
    ("always_false", False),
    ("int(-5)", -5),
    ("str(a b)", b"a b"),
    ("str('a,b)')", b"a,b)"),
    ("bool(true)", True),
    ("bin(0aff)", b"\x0a\xff"),
    ("ipv4(1.2.3.4)", "1.2.3.4"),
    ("ipv6(2001:DB8::1)", "2001:db8::1"),
    ("meth(POST)", b"POST"),
    ("meth(BREW)", b"BREW"),
    ("date", 1_700_000_000),
    ("date(10)", 1_700_000_010),
    ("date(-1,ms)", 1_700_000_000_122),
    ("date(0,us)", 1_700_000_000_123_456),
    ("date_us", 123_456),
    ("rand(1)", 0),
    ("fe_name", b"web"),
    ("be_name", None),
    ("srv_name", None),
    ("stopping", False),
    ("src", "10.1.2.3"),
    ("src_port", 5555),
    ("dst", None),
    ("method", b"GET"),
    ("path", b"/api/v1/x"),
    ("pathq", b"/api/v1/x?a=1&b=hello%20w&a=2&e="),
    ("query", b"a=1&b=hello%20w&a=2&e="),
    ("url", b"/api/v1/x?a=1&b=hello%20w&a=2&e="),
    ("base", b"Example.com:80/api/v1/x"),
    ("req.ver", b"1.1"),
    ("req.hdr(x-a)", b"four"),
    ("req.hdr(X-A,1)", b"one"),
    ("req.hdr(x-a,2)", b"two"),
    ("req.hdr(x-a,5)", None),
    ("req.hdr(x-a,-4)", b"one"),
    ("req.hdr(x-a,-5)", None),
    ("hdr(x-q)", b"c"),
    ("hdr(x-q,1)", b'"a,b"'),
    ("req.fhdr(x-a)", b"four"),
    ("req.fhdr(x-a,1)", b"one, two ,three"),
    ("req.hdr(x-empty)", b""),
    ("req.hdr(nope)", None),
    ("req.hdr_cnt(x-a)", 4),
    ("req.fhdr_cnt(x-a)", 2),
    ("req.hdr_cnt(nope)", 0),
    ("req.hdr_names", b"host,x-a,x-a,cookie,x-ip,x-q,x-n,x-empty"),
    ("req.hdr_names(+)", b"host+x-a+x-a+cookie+x-ip+x-q+x-n+x-empty"),
    ("hdr_ip(x-ip)", "10.1.2.3"),
    ("hdr_ip(x-a)", None),
    ("hdr_val(x-n,1)", 12),
    ("hdr_val(x-n,2)", -7),
    ("hdr_val(x-n,3)", 0),
    ("req.hdr_cnt", 14),
    ("req.fhdr_cnt", 8),
    ("cook(a)", b"3"),
    ("cook(b)", b"2"),
    ("cook(c)", None),
    ("cook_cnt(a)", 2),
    ("cook_val(b)", 2),
    ("urlp(a)", b"1"),
    ("urlp(e)", b""),
    ("urlp(zz)", None),
    ("url_param(b)", b"hello%20w"),
    ("urlp_val(a)", 1),
    ("http_first_req", True),
    ("status", 404),
    ("res.ver", b"1.1"),
    ("res.hdr(server)", b"s1"),
    ("res.hdr_cnt(set-cookie)", 2),
    ("res.cook(id)", b"7"),
    ("scook(t)", b"a"),
    ("res.hdr_names", b"content-length,server,set-cookie,set-cookie"),
]


@pytest.mark.parametrize(("text", "value"), FETCHES)
def test_fetches(text: str, value: object) -> None:
    assert sample(text) == value


def test_uuid_rand_and_hostname() -> None:
    import re
    import socket

    made = sample("uuid")
    assert re.fullmatch(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made)
    assert made != sample("uuid")
    assert 0 <= sample("rand") < 2**32
    assert sample("hostname").decode() == socket.gethostname()


CONVERTERS: list[tuple[str, Any]] = [
    ("str(aB),lower", b"ab"),
    ("str(aB),upper", b"AB"),
    ("path,length", 9),
    ("src,length", 8),
    ("str(abcdef),bytes(2)", b"cdef"),
    ("str(abcdef),bytes(2,3)", b"cde"),
    ("str(abcdef),bytes(6)", b""),
    ("str(abc),bytes(1,99)", b"bc"),
    ("bin(010203),bytes(1,1)", b"\x02"),
    ("str(f1_f2_f3__f5),field(5,_)", b"f5"),
    ("str(f1_f2_f3__f5),field(2,_,0)", b"f2_f3__f5"),
    ("str(f1_f2_f3__f5),field(2,_,2)", b"f2_f3"),
    ("str(f1_f2_f3__f5),field(-2,_,3)", b"f2_f3_"),
    ("str(f1_f2_f3__f5),field(-3,_,0)", b"f1_f2_f3"),
    ("str(f1_f2_f3__f5),field(4,_)", b""),
    ("str(f1_f2_f3__f5),field(9,_)", None),
    ("str(w1_w2_w3__w4),word(4,_)", b"w4"),
    ("str(w1_w2_w3__w4),word(2,_,0)", b"w2_w3__w4"),
    ("str(w1_w2_w3__w4),word(3,_,2)", b"w3__w4"),
    ("str(w1_w2_w3__w4),word(-2,_,3)", b"w1_w2_w3"),
    ("str(w1_w2_w3__w4),word(-3,_,0)", b"w1_w2"),
    ("str(w1_w2),word(3,_)", None),
    ("str(_w1_w2_),word(2,_,0)", b"w2_"),
    ("str(_w1_w2_),word(2,_,9)", b"w2_"),
    ("str(_w1_w2_),word(-2,_,0)", b"_w1"),
    ("bin(6142),lower", b"ab"),
    (r"str(a\b)", rb"a\b"),
    ("str(),length", 0),
    ("str(10.1.2.3:80),add(0)", 10),
    ("str(aXb:c),field(2,:X)", b"b"),
    ("str(--a--),ltrim(-)", b"a--"),
    ("str(--a--),rtrim(-)", b"--a"),
    ("str(abc),reverse", b"cba"),
    ("bool(1),iif(yes,no)", b"yes"),
    ("bool(0),iif(yes,no)", b"no"),
    ("str(a%20b+c),url_dec", b"a b+c"),
    ("str(a%20b+c),url_dec(1)", b"a b c"),
    ("str(/x?a+b),url_dec", b"/x?a b"),
    ("str(a%2),url_dec", None),
    ("str(a%zz),url_dec", None),
    ("int(5),add(3)", 8),
    ("int(5),sub(8)", -3),
    ("int(5),mul(-2)", -10),
    ("int(-7),div(2)", -3),
    ("int(7),div(0)", 2**63 - 1),
    ("int(-7),div(0)", 2**63 - 1),
    ("int(-7),mod(3)", -1),
    ("int(7),mod(0)", 0),
    ("int(9223372036854775807),add(1)", 2**63 - 1),
    ("int(-9223372036854775808),neg", 2**63 - 1),
    ("int(6),and(3)", 2),
    ("int(6),or(1)", 7),
    ("int(6),xor(3)", 5),
    ("int(6),cpl", -7),
    ("int(6),not", False),
    ("int(6),bool", True),
    ("int(6),even", True),
    ("int(6),odd", False),
    ("str(12abc),add(1)", 13),
    ("bin(00ff1a),hex", b"00FF1A"),
    ("str(ff),hex2i", 255),
    ("str(fg),hex2i", None),
    ("str(ab),base64", b"YWI="),
    ("str(YWI=),b64dec", b"ab"),
    ("str(YWI),b64dec", None),
    ("str(Y=I=),b64dec", None),
    ("bin(fbff),ub64enc", b"-_8"),
    ("str(-_8),ub64dec", b"\xfb\xff"),
    ("str(-_8aa),ub64dec", None),
    ("bin(01020304050607),be2dec(:,2)", b"258:772:1286:7"),
    ("bin(01020304050607),be2dec(:,2,1)", b"258:772:1286"),
    ("bin(01020304050607),be2hex(:,2)", b"0102:0304:0506:07"),
    ("bin(01020304050607),be2hex(:,2,1)", b"0102:0304:0506"),
    ("int(258),htonl", b"\0\0\1\2"),
    ("str(a b/~),url_enc", b"a%20b%2F~"),
    ("str(123456789),crc32", 0xCBF43926),
    ("str(123456789),crc32c", 0xE3069283),
    ("str(abc),djb2", 193485963),
    ("str(abc),sdbm", 807794786),
    ("str(),xxh3", 0x2D06800538D394C2),
    ("src,ipmask(24)", "10.1.2.0"),
    ("src,ipmask(255.0.0.0)", "10.0.0.0"),
    ("ipv6(2001:db8::1),ipmask(24,32)", "2001:db8::"),
    ("ipv6(2001:db8::1),ipmask(24)", None),
    ("str(A.b:80),host_only", b"a.b"),
    ("str([::1]:80),host_only", b"[::1]"),
    ("str(a.b:80),port_only", 80),
    ("str(a.b),port_only", 0),
    ("src,add(1)", 10 << 24 | 1 << 16 | 2 << 8 | 4),
]


@pytest.mark.parametrize(("text", "value"), CONVERTERS)
def test_converters(text: str, value: object) -> None:
    assert sample(text) == value


CONDITIONS = [
    ("{ path_beg /api /b }", True),
    ("{ path_beg /apis }", False),
    ("{ path -m beg -i /API }", True),
    ("{ path_end /x }", True),
    ("{ path_end y }", False),
    ("{ path_sub v1 }", True),
    ("{ path_sub v2 }", False),
    ("{ path_dir v1 }", True),
    ("{ path_dir api/v1 }", True),
    ("{ path_dir v }", False),
    ("{ hdr_dom(host) -i example }", True),
    ("{ hdr_dom(host) xample }", False),
    ("{ hdr_dom(host) -i example.com }", True),
    ("{ path_len 9 }", True),
    ("{ path_len lt 9 }", False),
    ("{ path /api/v1/x }", True),
    ("{ path /api/v1 }", False),
    ("{ hdr(x-a) two }", True),
    ("{ hdr(x-a) three four }", True),
    ("{ req.hdr(x-a,1) two }", False),
    ("{ fhdr(x-a) two }", False),
    ("{ cook(a) 1 }", True),
    ("{ urlp(a) 2 }", True),
    ("{ urlp_val(a) gt 1 }", True),
    ("{ hdr_val(x-n) lt 0 }", True),
    ("{ hdr_cnt(x-a) 2:4 }", True),
    ("{ hdr_cnt(x-a) :3 }", False),
    ("{ hdr_cnt(x-a) eq 1 2 ge 4 }", True),
    ("{ src 10.0.0.0/8 }", True),
    ("{ src 11.0.0.0/8 10.1.2.3 }", True),
    ("{ src ::ffff:10.0.0.0/104 }", True),
    ("{ src ::1 }", False),
    ("{ hdr_ip(x-ip) 10.1.2.3 }", True),
    ("{ method GET HEAD }", True),
    ("{ method POST }", False),
    ("{ bin(0102) -m bin 0102 }", True),
    ("{ hdr(nope) -m found }", False),
    ("{ hdr(x-empty) -m found }", True),
    ("{ hdr(x-empty) '' }", True),
    ("{ hdr(x-a) '' }", False),
    ("{ always_true }", True),
    ("{ int(0),bool }", False),
    ("{ path,length gt 8 }", True),
    ("METH_GET HTTP_1.1", True),
    ("METH_POST || HTTP_1.1", True),
    ("METH_POST or HTTP_1.0", False),
    ("!METH_POST HTTP_1.1", True),
    ("! METH_POST", True),
    ("!{ method GET }", False),
    ("METH_POST HTTP_1.1 || METH_GET !HTTP_1.0", True),
    ("internal", True),
    ("!internal", False),
    ("{ str(a) -m str -- -i a }", True),
    ("{ int(-5) -5 }", True),
]


@pytest.mark.parametrize(("text", "is_true"), CONDITIONS)
def test_conditions(text: str, is_true: bool) -> None:
    assert holds(text, acls={"internal": ["src 192.168.0.0/16", "src 10.0.0.0/8"]}) is is_true


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", b"plain"),
        ("", b""),
        ("100%%", b"100%"),
        ("%[src]:%[src_port]", b"10.1.2.3:5555"),
        ("<%[hdr(nope)]>", b"<>"),
        ("%{+Q}[path]", b'"/api/v1/x"'),
        ("%{+Q}[hdr(x-q,1)]", b'"\\"a,b\\""'),
        ("%{+Q}[hdr(nope)]", b'""'),
        ("%[bin(0aff)]", b"%0A\xff"),
        ("%[bin(610062)]", b"a"),
        ("%[always_true]", b"1"),
        ("%[str(a]b)]", b"a]b"),
        ("%[method,lower]", b"get"),
    ],
)
def test_formats(text: str, value: bytes) -> None:
    assert formatted(text) == value


def test_the_cost_of_a_set_does_not_grow_with_it() -> None:
    from kit.rules import _SETTINGS, NAMES, image_of, look

    from lb._speedups.face.testing_rules import Rules
    from lb.language.condition import parse_condition
    from lb.language.program import Program

    program = Program()
    few = program.condition(parse_condition("{ path_beg " + " ".join(f"/p{n}/" for n in range(10)) + " }", {}, NAMES))
    many = program.condition(
        parse_condition("{ path_beg " + " ".join(f"/p{n}/" for n in range(50_000)) + " }", {}, NAMES)
    )
    rules = look(Rules(image_of(_SETTINGS, program)))
    best = [min(rules.condition_ns(each, 2000) for _ in range(5)) for each in (few, many)]
    assert best[1] < 4 * best[0] + 200
