"""Nanoseconds that rules and expressions cost a request: `python -m bench.micro.rules`."""

from __future__ import annotations

from typing import Any

from bench.micro.timing import report
from lb._speedups.face.crypto import version
from lb._speedups.face.micro_rules import Judge
from lb._speedups.face.plan import build
from lb._speedups.face.regex import is_available
from lb.config import compile as compile_configuration

HEAD = (
    b"GET /v1/orders/12345?expand=items&limit=20 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\n"
    b"Accept: application/json\r\nX-Request-Id: 01HF3K5V9Q8ZJ4\r\nCookie: session=abcdef0123456789; theme=dark\r\n"
    b'X-Json: {"user":{"id":12345,"roles":["admin","billing"]}}\r\n'
    b"Forwarded: for=192.0.2.43;proto=https\r\nAccept-Language: de-AT, de;q=0.8, en;q=0.5\r\n\r\n"
)
CONDITIONS = [
    "{ path_beg /admin /debug /.git }",
    "{ path_end .php .asp .env }",
    "{ src 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 }",
    "{ method TRACE CONNECT }",
    "{ req.hdr(host) -i www.example.com old.example.com }",
    "{ req.hdr(user-agent) -m sub -i sqlmap nikto }",
    "{ req.hdr_cnt(host) gt 1 }",
    "{ path_len gt 2000 }",
    "{ url_param(debug) -m found }",
    "{ req.cook(banned) 1 }",
    "{ req.hdr(x-forwarded-host) -m found }",
    "{ path_sub ../ %00 }",
    "{ req.hdr_val(content-length) gt 1000000 }",
    "{ req.hdr(accept) -m len 0 }",
    "{ path /health } !{ src 127.0.0.0/8 }",
    "{ req.hdr(range) -m beg bytes=0-0 }",
    "{ query -m sub union+select }",
    "{ req.ver 0.9 }",
    "{ req.hdr(x-real-ip) -m found } { src 192.0.2.0/25 } { path_beg /internal }",
    "{ hdr_dom(host) -i evil.example }",
]
CHAINS = [
    "path",
    "req.hdr(host),lower,field(1,.)",
    "path,word(2,/),upper",
    "req.hdr(cookie),length",
    "url_param(limit),add(1)",
    "src,ipmask(24)",
    "req.fhdr(x-request-id),xxh3",
    "req.fhdr(x-json),json_query($.user.roles[1])",
    "req.fhdr(x-json),json(utf8)",
    "req.fhdr(forwarded),rfc7239_field(for),rfc7239_n2nn",
    "req.fhdr(accept-language),language(en;fr;de)",
    "date,http_date",
    "date,utime(%F %T)",
    "base32",
]
REGEXES = ["{ path_reg ^/v1/orders/[0-9]+$ }", "{ hdr_reg(host) -i ^api\\. }", "{ path_reg -i \\.(php|asp|env)$ }"]
DIGESTS = ["path,sha1", "path,sha2(256)", "path,hmac(sha256,c2VjcmV0)"]


def judge(rules: list[dict[str, Any]]) -> Judge:
    """Return rules before one request."""
    compiled = compile_configuration(
        {
            "version": 1,
            "frontends": {"web": {"bind": [":80"], "default_backend": "app", "rules": rules}},
            "backends": {"app": {"servers": ["10.0.0.1:80"]}},
        }
    )
    return Judge(build(1, compiled.rows, list(range(1, len(compiled.objects) + 1)), [64]), HEAD)


def main() -> None:
    """Print the table."""
    for many in (1, 20):
        report(f"{many} rules, none holds", judge([{"deny": True, "if": text} for text in CONDITIONS[:many]]).rules)
    for text in REGEXES if is_available() else []:
        report(f"one rule {text}", judge([{"set_var": ["req.a", "int(1)"], "if": text}]).rules)
    for text in [*CHAINS, *(["path,regsub(/,-,g)"] if is_available() else []), *(DIGESTS if version() else [])]:
        report(text, judge([{"set_header": ["x-a", f"%[{text}]"]}]).sample)


if __name__ == "__main__":
    main()
