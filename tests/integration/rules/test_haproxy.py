"""Expressions and conditions beside HAProxy's: the same words, the same requests, and byte for byte the same values.

One HAProxy and one lb have the whole table: a request says by `X-Case` which rows it wants to see.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from kit.client import Client
from kit.differential import asked, paired, values

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

MANY = 20  # expressions that one request shows

REQUESTS: list[tuple[str, tuple[str, ...]]] = [
    ("GET / HTTP/1.1", ("Host: lb.test",)),
    ("GET / HTTP/1.0", ()),
    (
        "GET /api/v1/x?a=1&b=hello%20w+x&a=2&e=&n=-7&big=99999999999999999999 HTTP/1.1",
        (
            "Host: Example.COM:8080",
            "X-A: one, two ,three",
            "x-a: four",
            "Cookie: a=1; b=2; a=3",
            "X-Ip: foo, 10.1.2.3:80",
            'X-Q: "a,b",c',
            "X-N: 12, -7,x",
            "X-Empty:",
        ),
    ),
    (
        "POST //a//b/?&&a&=x&;a=7;b=8?c&a=%41%zz HTTP/1.1",
        (
            "Host: [2001:db8::1]:443",
            "Content-Length: 0",
            "X-A: ,,a,, b ,",
            "X-A:",
            "X-A: z",
            'Cookie: a = 1 ;b="q;z" ; =x; c; a= ;A=9',
            "Cookie: a=last",
            "X-Ip: [2001:db8::2]:80",
            "X-Ip: 2001:db8::3, ::ffff:10.0.0.1",
            "X-N: +5, 0x10, 9223372036854775808, -9223372036854775809",
            r'X-Q: "a\",b", c\,d, "open, e',
        ),
    ),
    (
        "OPTIONS * HTTP/1.1",
        ("Host: *", "X-A: " + ",".join(map(str, range(15))), "X-Ip: 10.1.2.3", "Cookie: b=5", "X-N: 7"),
    ),
    (
        "BREW http://Abs.Example:81/Pot?a=%2b&A=b HTTP/1.1",
        ("Host: Abs.Example:81", "X-A:   padded   ", "Cookie: ab=1; a=x=y; ba=2", "X-Ip: 1.2.3", "X-N:   42 "),
    ),
    ("HEAD /x?a=b HTTP/1.1", ("Host: 10.9.8.7", "X-A: b", "Cookie:", "X-Ip: 300.1.1.1", "X-N: -")),
    (
        "GET /x?a HTTP/1.1",
        ("Host: a", "X-A: \xff\xe4, \x80", "Cookie: a=\"1\"; b=' '; c=\xff", "X-Ip: 127.1", "X-N: 1.9"),
    ),
    ("GET /?a=&a=b&=c&d==e&%61=f&a[]=g HTTP/1.1", ("Host: h.a.b.c.", "X-A: a", "X-a: b", "X-A: c,d", "Cookie: a;a=;b")),
    (
        "DELETE /api/v1?a=1?a=2 HTTP/1.1",
        ("Host: www.api.example.com", "X-A: TWO", "X-Ip: 10.1.2.3, 10.1.2.4", "Cookie: A=1;a=2,a=4"),
    ),
]
"""Request lines and fields; `X-Case` is added behind them."""

FETCHES = """
    always_true always_false int(-5) int(9223372036854775807) str(abc) str('a,b)') bool(true) bool(0) bin(0aFF)
    ipv4(1.2.3.4) ipv6(2001:DB8::1) ipv6(::ffff:1.2.3.4) meth(POST) meth(BREW) src dst fe_name
    method path pathq query url base req.ver
    req.hdr(x-a) req.hdr(X-A,1) req.hdr(x-a,2) req.hdr(x-a,5) req.hdr(x-a,-1) req.hdr(x-a,-4) req.hdr(x-a,-10) hdr(x-a)
    req.hdr(x-q) req.hdr(x-q,1) req.hdr(x-q,2) req.hdr(x-q,3) req.hdr(x-empty) req.hdr(nope) req.hdr(host)
    req.fhdr(x-a) req.fhdr(x-a,1) req.fhdr(x-a,2) req.fhdr(x-a,3) req.fhdr(x-a,-2) req.fhdr(x-q) req.fhdr(cookie)
    req.hdr_cnt(x-a) req.hdr_cnt(nope) req.hdr_cnt(x-q) req.hdr_cnt req.fhdr_cnt(x-a) req.fhdr_cnt
    req.hdr_names req.hdr_names(+)
    req.hdr_ip(x-ip) req.hdr_ip(x-ip,1) req.hdr_ip(x-ip,2) req.hdr_ip(x-ip,-1) hdr_ip(host) req.hdr_ip(nope)
    req.hdr_val(x-n) req.hdr_val(x-n,1) req.hdr_val(x-n,2) req.hdr_val(x-n,3) req.hdr_val(x-n,4) hdr_val(x-a,1)
    req.cook(a) req.cook(b) req.cook(c) req.cook(A) req.cook(ab) cook(nope) req.cook_cnt(a) req.cook_cnt(b)
    req.cook_cnt(nope) req.cook_val(a) req.cook_val(b) cook_val(nope)
    urlp(a) urlp(b) urlp(e) urlp(A) urlp(d) urlp(n) urlp(zz) url_param(a) urlp_val(a) urlp_val(n) urlp_val(big) urlp_val(zz)
    req.proto_http
    baseq base32 base32+src,hex url32 url32+src,hex url_ip url_port req.hdrs,hex req.hdrs_bin,hex env(HOME) env(NOT_SET)
    fc_src fc_dst fc_src_is_local fc_dst_is_local src_is_local dst_is_local fc_http_major fc_rcvd_proxy fc_pp_authority
    str(a),add_item(-,,c) str(),add_item(-,,c) str(a),set-var(txn.item) str(b),add_item(-,txn.item) str(),add_item(-,txn.item,c)
    str(b),add_item(-,txn.item,c) str(b),add_item(-,txn.noitem) str(b),add_item(-,txn.noitem,c) int(5),add_item(--,txn.item)
    fc_pp_unique_id fc_lost fc_retrans fc_sacked nbproc
""".split()  # noqa: SIM905

CONVERTERS = """
    path,lower path,upper url,length str(),length src,length int(1234567),length
    url,bytes(1) url,bytes(2,3) url,bytes(0) url,bytes(1000) url,bytes(1,1000) url,bytes(3,0) bin(010203),bytes(1,1)
    str(f1_f2_f3__f5),field(5,_) str(f1_f2_f3__f5),field(2,_,0) str(f1_f2_f3__f5),field(2,_,2)
    str(f1_f2_f3__f5),field(-2,_,3) str(f1_f2_f3__f5),field(-3,_,0) str(f1_f2_f3__f5),field(4,_) str(f1_f2),field(3,_)
    str(_a_),field(1,_) str(_a_),field(3,_) str(_a_),field(4,_) str(_a_),field(-1,_) str(_a_),field(-4,_) str(),field(1,_)
    str(a.b-c),field(2,.-) str(_),field(1,_) str(_),field(2,_) str(_),field(3,_)
    str(a_b_c),field(2,_,9) str(a_b_c),field(-2,_,9) str(__),field(1,_,2) str(__),field(-1,_,2)
    str(w1_w2_w3__w4),word(4,_) str(w1_w2_w3__w4),word(2,_,0) str(w1_w2_w3__w4),word(3,_,2)
    str(w1_w2_w3__w4),word(-2,_,3) str(w1_w2_w3__w4),word(-3,_,0) str(w1_w2),word(3,_) str(_a_),word(1,_)
    str(_a_),word(-1,_) str(_a_),word(2,_) str(_),word(1,_) str(),word(1,_) str(a_b_),word(2,_,0) str(_a_b),word(-2,_,0)
    str(a__b__c),word(1,_,2) str(a__b__c),word(-1,_,2) str(a_b_c),word(2,_,9) str(a_b_c),word(-2,_,9)
    url,field(2,?) url,field(1,?) url,field(2,&) url,field(-1,&) url,word(1,/) url,word(-1,/) url,word(2,/?) url,word(1,/?,0)
    req.fhdr(x-a),field(2,',') req.fhdr(x-a),word(2,',') hdr(host),field(1,:),lower hdr(host),field(-1,.)
    hdr(host),word(-2,.,2) hdr(host),word(1,.:) hdr(host),word(1,.:,0)
    str(--a--),ltrim(-) str(--a--),rtrim(-) str(----),ltrim(-) str(----),rtrim(-) url,ltrim(/a) url,rtrim(=ab)
    bool(1),iif(yes,no) bool(0),iif(yes,no) req.hdr_cnt(x-a),iif(yes,no) req.hdr(x-n,1),iif(a,b) always_true,iif(a,)
    url,url_dec url,url_dec(1) query,url_dec query,url_dec(1) str(a%20b+c),url_dec str(a%20b+c),url_dec(1)
    str(/x?a+b),url_dec str(a%2),url_dec str(a%zz),url_dec str(%41%62),url_dec str(%),url_dec str(%00b),url_dec,length
    int(5),add(3) int(5),sub(8) int(5),mul(-2) int(-7),div(2) int(7),div(0) int(-7),div(0) int(0),div(0) int(-7),mod(3)
    int(7),mod(0) int(7),mod(-3) int(7),div(-3) int(9223372036854775807),add(1) int(9223372036854775807),mul(2)
    int(9223372036854775807),mul(-2) int(-9223372036854775808),neg int(-9223372036854775808),sub(1)
    int(-9223372036854775808),div(-1) int(-5),sub(-9223372036854775808) int(5),sub(-9223372036854775808)
    int(6),and(3) int(6),or(1) int(6),xor(3) int(6),cpl int(-1),cpl int(6),not int(0),not int(6),bool int(0),bool int(6),even
    int(6),odd int(-3),odd int(-3),even int(-3),neg str(12abc),add(1) str(abc),add(1) str(-12),add(1)
    str(+12),add(1) str(),add(1) src,add(1) ipv4(1.2.3.4),add(0) req.hdr(x-n,1),add(1) req.hdr(x-n,2),add(1)
    req.hdr(x-n,3),add(1) req.hdr(x-n,4),add(1) urlp(big),add(1) always_true,add(5) bin(61),lower path,lower,upper,length
    str(10.0.0.1),add(0) method,lower method,length meth(BREW),lower req.hdr_ip(x-ip),add(1) req.hdr_ip(x-ip),lower
    int(258),bytes(6) src,bytes(0,2) ipv6(2001:db8::1),bytes(0,2) ipv6(2001:db8::1),upper req.hdr_cnt(x-a),mul(2),sub(1)
    url,hex path,hex,length bin(00ff1a),hex int(5),hex src,hex str(ff),hex2i str(fg),hex2i str(),hex2i str(FFffFFffFFffFFffF),hex2i
    str(),base64 str(a),base64 str(ab),base64 str(abc),base64 url,base64 bin(fbff),base64 src,base64 req.hdr(x-a,1),base64
    str(YWI=),b64dec str(YWI),b64dec str(YQ==),b64dec str(====),b64dec str(Y===),b64dec str(YW=I),b64dec str(Y-_I),b64dec
    str(),b64dec
    str(YWJj),b64dec,hex str(YWIK),b64dec str(+/+/),b64dec,hex str(a),ub64enc str(ab),ub64enc bin(fbff),ub64enc url,ub64enc
    str(-_8),ub64dec,hex str(YQ),ub64dec str(YWI),ub64dec str(YWJj),ub64dec str(Y),ub64dec str(+/8),ub64dec url,base64,b64dec
    bin(01020304050607),be2dec(:,2) bin(01020304050607),be2dec(:,2,1) bin(010203),be2dec(-,8) bin(ffffffffffffffff),be2dec(-,8)
    bin(01),be2dec(,1) bin(0102),be2dec(,1) url,be2dec(.,1) bin(01020304050607),be2hex bin(01020304050607),be2hex(:,2)
    bin(01020304050607),be2hex(:,2,1) bin(0102),be2hex(,1) bin(010203),be2hex(--,1) str(),be2hex(:,2) str(),be2dec(:,2)
    int(258),htonl,hex int(-1),htonl,hex int(4294967297),htonl,hex src,htonl,hex url,url_enc query,url_enc(query)
    str(a+b&c=~_-.),url_enc
    req.fhdr(x-a),url_enc bin(00ff2041),url_enc bin(2041ff),url_enc
    url,crc32 url,crc32(1) url,crc32c url,crc32c(1) url,djb2 url,djb2(1) url,sdbm url,sdbm(1) url,wt6 url,wt6(1) url,xxh3 str(),xxh3
    str(),crc32 str(),djb2 str(),sdbm str(),wt6 src,crc32 src,xxh3 int(5),crc32 req.fhdr(x-a),xxh3 req.fhdr(x-a),sdbm(0)
    str(abcd),xxh3 str(abcdefghijklmnop),xxh3 str(abcdefghijklmnopqrstuvwxyz0123456789),xxh3 query,djb2(2)
    src,ipmask(24) src,ipmask(255.255.0.0) src,ipmask(0) src,ipmask(32) ipv6(2001:db8::1),ipmask(24,32) ipv6(2001:db8::1),ipmask(24)
    ipv6(2001:db8:ffff::1),ipmask(24,ffff:ffff:f000::) req.hdr_ip(x-ip),ipmask(8,16) str(10.1.2.3),ipmask(8)
    hdr(host),host_only hdr(host),port_only str(A.b:80),host_only str(a.b:),host_only str(a.b:),port_only str(:80),host_only
    str(:80),port_only str([::1]),host_only str([::1]:80),host_only str([::1]:80),port_only str([::1]),port_only str(a:b),host_only
    str(a:b),port_only str(80),host_only str(80),port_only str(),host_only str(),port_only str(a:99999),port_only
    str(a:b:c),host_only str(1:22:333),port_only str(::1),host_only str([::1),host_only str([a]b:80),host_only
    str([a]b:80),port_only
    str(a]),host_only str(:),host_only str(:),port_only ipv6(::ffff:1.2.3.4),ipmask(16) ipv6(2002:102:304::),ipmask(16,8)
    str(a_b_),word(1,_,9) str(_a_b),word(-1,_,9) str(a_b_),field(1,_,9) str(_a_b),field(-1,_,9) str(a__),word(1,_,0)
""".split()  # noqa: SIM905

VARIABLES = """
    str(a),set-var(txn.h1),length var(txn.h1) var(txn.h2) var(txn.h2,dflt) var(txn.h2,12),add(1) str(a),set-var(res.h1),length
    var(res.h1) int(7),set-var(txn.hn) int(1),add(txn.hn) int(9),sub(txn.hn) int(9),mul(txn.hn) int(9),div(txn.hn)
    int(9),mod(txn.hn) int(9),and(txn.hn) int(8),or(txn.hn) int(9),xor(txn.hn) int(9),add(txn.none) str(17),set-var(txn.hs),length
    int(1),add(txn.hs) str(a),add_item(-,txn.hn) str(),add_item(-,txn.hn) str(a),add_item(-,txn.none) str(a),add_item(-,,z)
    str(a),add_item(-,txn.hn,z) str(a),add_item(-,txn.none,z) str(),add_item(-,,z)
    int(0),set-var(txn.hz) int(9),div(txn.hz) int(9),mod(txn.hz) path,set-var(txn.hp),length var(txn.hp) var(txn.hp),upper
    src,set-var(txn.hi) var(txn.hi) var(txn.hi),ipmask(8) str(x),concat(<,txn.hi,>) str(x),concat(<,txn.none,>) str(x),concat(<)
    str(x),concat(<,,>) str(x),concat(,txn.hn) method,set-var(txn.hm),length bin(610062),set-var(txn.hb),hex
    var(txn.hb),hex str(x),concat(<,txn.hb,>) str(abd),strcmp(txn.h1) str(A),strcmp(txn.h1) str(a),strcmp(txn.h1)
    str(ab),strcmp(txn.h1) str(),strcmp(txn.h1) str(x),strcmp(txn.none) int(5),strcmp(txn.hn) str(a),secure_memcmp(txn.h1)
    str(b),secure_memcmp(txn.h1) str(7),secure_memcmp(txn.hn) int(7),secure_memcmp(txn.hn) str(x),secure_memcmp(txn.none)
    bool(1),set-var(txn.ht) var(txn.ht) str(),set-var(txn.he),length var(txn.he),length str(c),unset-var(txn.h1),length var(txn.h1)
    str(u),set-var(txn.h1,ifset),length var(txn.h1) str(u),set-var(txn.h1,ifnotset),length var(txn.h1)
    str(v),set-var(txn.h1,ifempty),length var(txn.h1) str(),set-var(txn.h1,ifempty),length var(txn.h1),length
    int(3),set-var(txn.hn,iflt) var(txn.hn) int(3),set-var(txn.hn,ifgt) var(txn.hn) int(4),set-var(txn.hn,ifexists) var(txn.hn)
    int(5),set-var(txn.hn,ifnotexists) var(txn.hn) str(z),set-var(txn.hn,ifgt) var(txn.hn) str(c),unset-var(txn.none),length
    int(1),set-var(sess.hx) var(sess.hx) int(1),set-var(proc.hx) var(proc.hx) str(c),unset-var(proc.hx) var(proc.hx)
    req.hdr(x-a),set-var(req.hx) var(req.hx) var(req.hx),set-var(req.hx),upper var(req.hx)
""".split()  # noqa: SIM905

REGEXES = r"""
    path,regsub(/,-) path,regsub(/,-,g) path,regsub(/$,) url,regsub('([a-z])=([^&]*)',\2:\1) url,regsub('([a-z])=([^&]*)',\2:\1,g)
    path,regsub(API,x,i) path,regsub(API,x,gi) path,regsub(API,x,) str(),regsub(^$,x) str(),regsub(a*,x,g) str(abc),regsub(x*,-)
    str(abc),regsub(x*,-,g) str(aabcc),regsub('a*|c*',<\0>,g) str(abc),regsub('(b)(x)?',[\1\2\3\9]) str(abab),regsub(^ab,x,g)
    str(abab),regsub('\bab',x,g) str(xaxa),regsub('(?<=x)a',b,g) str(abc),regsub($,!) str(abc),regsub($,!,g)
    str(abc),regsub(b,'\x41\n') str(abc),regsub(b,'\.\a') str(a.b.c),regsub(\.,_,g) str('a,b'),regsub(',',;)
    str(ab),regsub('(a)(b)',\2\1) str(10.1.2.3),regsub('([0-9]+)\.',\1-,g) req.hdr(x-a),regsub('^.*$',\0\0)
    req.fhdr(x-a),regsub('[[:space:]]+','',g) req.hdr(nope),regsub(a,b) src,regsub('\.[0-9]+$',.0) int(1234),regsub(2,x)
    bin(610062),regsub('[^a-z]',_,g),hex url,regsub(\d,#,g) str(abcabc),regsub("b",x,g) str(aXbxc),regsub(x,-,ig)
    path,regsub('^/([^/]*)/?(.*)$',\2/\1),upper
""".split()  # noqa: SIM905

FORMATS = """
    %{-Q}[path] %%[x %[bin(610062)]
    %[bin(0001090a0d1f207f80ff)] %%b%[str(a%%b)] %[str(%41)]
""".split()  # noqa: SIM905

EXPRESSIONS = [
    *FETCHES,
    *CONVERTERS,
    *VARIABLES,
    *REGEXES,
    "str(a b)",
    'str("q\\"x")',
    "str(a]b)",
    "str(a b c),word(2, )",
    r"str(a\b)",
    r"str('a\b')",
    r'str("a\b\n")',
    r"str(a\\b\tc)",
    *FORMATS,
]

CONDITIONS = [
    line.strip()
    for line in r"""
    path_beg /api /b
    path_beg /API
    path -m beg -i /API
    path_beg -i /API
    path_end /x
    path_end -i X
    path_sub v1
    path_sub -i V1
    path_dir v1
    path_dir api/v1
    path_dir /api/
    path_dir v
    path_dir -i API
    url_dir a
    url_dom api
    hdr_dom(host) example
    hdr_dom(host) -i example
    hdr_dom(host) example.com
    hdr_dom(host) -i Example.com:8080
    hdr_dom(host) xample
    hdr_dom(host) .api.
    path_len 1 9
    path_len lt 9
    path_len 2:9
    path -m len gt 1
    path /api/v1/x
    path -i /API/V1/X
    path /
    hdr(x-a) two
    hdr(x-a) -i two
    hdr(x-a) three four
    hdr(x-a,1) two
    hdr(x-a,-2) three
    req.fhdr(x-a) four
    req.fhdr(x-a,1) -m sub two
    hdr(x-a) -m beg f
    hdr(x-a) -m str b
    hdr(x-a) -m found
    hdr(nope) -m found
    hdr(x-empty) -m found
    hdr(x-empty) -m len 0
    hdr(x-a) -m len 0
    hdr(x-a) -m len 3:5
    cook(a) 1
    cook(a) 2
    cook(a) 3
    cook(a) -m found
    cook(c) -m found
    cook_cnt(a) gt 1
    cook_val(a) 1:2
    urlp(a) 1
    urlp(a) 2
    urlp(a) -m found
    urlp(e) -m found
    urlp_val(a) gt 1
    urlp_val(n) lt 0
    hdr_val(x-n) lt 0
    hdr_val(x-n) 42
    hdr_val(x-n) -m int ge 9223372036854775807
    hdr_val(x-n) 1:13
    hdr_cnt(x-a) 2:4
    hdr_cnt(x-a) :3
    hdr_cnt(x-a) eq 1 2 ge 4
    hdr_cnt(x-a) le 0
    src 127.0.0.0/8
    src 10.0.0.0/8
    src ::1
    src ::ffff:127.0.0.0/104
    hdr_ip(x-ip) 10.1.2.3
    hdr_ip(x-ip) 10.0.0.0/8
    hdr_ip(x-ip) 10.1.2.4
    hdr_ip(x-ip) 2001:db8::/32
    hdr_ip(x-ip,1) 10.0.0.0/8
    hdr(x-ip) -m ip 10.0.0.0/8
    hdr(x-ip) -m ip 2001:db8::3
    method GET HEAD
    method POST
    method BREW
    method -m str BREW
    method -m beg -i g
    method -m len 4
    bin(0102) -m bin 0102
    path -m bin 2f
    hdr(x-a) -m bool
    hdr(x-n) -m bool
    hdr_cnt(x-a) -m bool
    always_true
    int(5) -m str 5
    ipv6(2002:102:304::) 1.2.3.4
    ipv6(::ffff:1.2.3.4) 1.2.3.0/24
    ipv6(::1.2.3.4) 1.2.3.4
    ipv4(1.2.3.4) ::ffff:1.2.3.0/120
    ipv4(1.2.3.4) 2002:102:304::/48
    ipv6(2001:db8::1) 2001:db8::/32 10.0.0.0/8
    int(5) -m beg 5
    path,length gt 8
    hdr(x-a),length gt 3
    hdr(x-a),lower two
    url_beg http://
    url_beg -i /API
    url_end 2
    url_sub =
    url_len gt 5
    base_beg -i example.com:8080/
    query -m beg a=
    query -m found
    req.ver 1.0
    str(a) -m str -- -i a
    var(txn.none) -m found
    var(txn.none,a) -m str a
    int(5),set-var(txn.c1),set-var(txn.c2) -m int 5
    int(-5) -- -5
    path -m end x /
    path -m dom x
    hdr_beg(host) -i www. ex
    hdr_end(host) -i .com :8080
    hdr_sub(host) -i example
    hdr_dir(host) a
    hdr_len(host) gt 8
    cook_beg(a) 1
    cook_sub(a) =
    urlp_beg(a) 1
    urlp_sub(b) hello
    path_reg ^/api
    path_reg -i ^/API
    path_reg ^/API
    path -m reg \.$ ^/x$ v[0-9]+/
    path -m reg -i ^/(api|b)/
    path_reg '/v\d+/'
    path_reg "/v\d+/"
    path_reg /v\d+/ \.x
    url_reg [?&]a=2
    url_reg \?
    hdr(x-a) -m reg ^t
    hdr(x-a) -m reg -i ^(TWO|FOUR)$
    hdr(x-a) -m reg ^$
    hdr_reg(host) -i ^.*\.example
    req.fhdr(x-a) -m reg ,
    cook_reg(a) ^[0-9]$
    urlp_reg(b) hello\ w
    req.hdr_cnt(x-a) -m reg ^[2-4]$
    src -m reg ^127\.
    method -m reg ^(GET|POST)$
    path,regsub(^/,) -m reg ^api
    hdr(host) -m reg (?i)EXAMPLE
    path -m reg ^(?!/api)
    query -m reg ^$
    """.strip().splitlines()
]

ACLS = """
    METH_GET METH_HEAD METH_POST METH_OPTIONS METH_DELETE METH_CONNECT METH_TRACE METH_PUT HTTP HTTP_1.0 HTTP_1.1 HTTP_CONTENT
    HTTP_URL_ABS HTTP_URL_SLASH HTTP_URL_STAR LOCALHOST TRUE FALSE
""".split()  # noqa: SIM905


def groups() -> list[list[str]]:
    """Return expressions in the groups that are asked for together."""
    return [EXPRESSIONS[i : i + MANY] for i in range(0, len(EXPRESSIONS), MANY)]


def conditions() -> list[str]:
    """Return every condition as it stands behind `if`."""
    return [*(f"{{ {each} }}" for each in CONDITIONS), *ACLS]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Client]]:
    """A client of lb and one of HAProxy."""
    with paired(groups(), conditions(), tmp_path_factory) as clients:
        yield clients


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda given: given[0].split(" HTTP")[0])
def test_expressions(pair: list[Client], request_: tuple[str, tuple[str, ...]]) -> None:
    line, fields = request_
    line = line.replace("HEAD ", "GET ")  # a body is what is compared
    differ: list[tuple[str, bytes, bytes]] = []
    for i, group in enumerate(groups()):
        (status, ours), (expected, theirs) = [asked(client, line, fields, f"e{i}") for client in pair]
        assert (status, expected) == (200, 200)
        mine, others = values(ours, group), values(theirs, group)
        differ += [(text, mine[text], others[text]) for text in group if mine[text] != others[text]]
    assert not differ


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda given: given[0].split(" HTTP")[0])
def test_conditions(pair: list[Client], request_: tuple[str, tuple[str, ...]]) -> None:
    differ: list[tuple[str, int, int]] = []
    for i, condition in enumerate(conditions()):
        ours, theirs = [asked(client, *request_, f"c{i}")[0] for client in pair]
        assert theirs in (202, 204)
        if ours != theirs:
            differ.append((condition, ours, theirs))
    assert not differ
