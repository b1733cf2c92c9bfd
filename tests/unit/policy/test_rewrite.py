"""Actions that rewrite a head by regular expressions, and normalizers of its target."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.rules import RESPONSE, judged

from lb._speedups.face.regex import is_available

pytestmark = pytest.mark.skipif(not is_available(), reason="lb was built without PCRE2")

PLAIN = b"GET /a/b?q=1&p=2 HTTP/1.1\r\nHost: h\r\nX-A: one, two ,three\r\nX-B: 1\r\nx-a: four\r\nUser-Agent: u\r\n\r\n"


def lines(head: bytes | None) -> list[bytes]:
    assert head is not None
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        ({"replace_header": ["x-a", "o(.*)", r"<\1>"]}, {2: b"X-A: <ne, two ,three>", 4: b"x-a: <ur>"}),
        ({"replace_header": ["x-b", "1", "%[req.hdr(x-a,1)]\\0"]}, {3: b"X-B: one1"}),
        ({"replace_header": ["x-b", "1", ""]}, {3: b"X-B: "}),
        ({"replace_header": ["nope", ".*", "x"]}, {}),
        ({"replace_header": ["x-b", "2", "x"]}, {}),
        ({"replace_header": ["host", "h", "other:81"]}, {1: b"Host: other:81"}),
        ({"replace_value": ["x-a", "^t(.*)", r"T\1"]}, {2: b"X-A: one,Two,Three"}),
        ({"replace_value": ["x-a", "four|one", "1"]}, {2: b"X-A: 1, two ,three", 4: b"x-a: 1"}),
        ({"replace_path": ["/a/(.*)", r"/\1"]}, {0: b"GET /b?q=1&p=2 HTTP/1.1"}),
        ({"replace_path": ["q=1", "/x"]}, {}),
        ({"replace_pathq": [r"(.*)\?(.*)", r"\1/end?\2"]}, {0: b"GET /a/b/end?q=1&p=2 HTTP/1.1"}),
        ({"replace_uri": ["/a(.*)", r"\1"]}, {0: b"GET /b?q=1&p=2 HTTP/1.1"}),
        ({"set_uri": "/x?%[query]"}, {0: b"GET /x?q=1&p=2 HTTP/1.1"}),
        ({"normalize_uri": "query-sort-by-name"}, {0: b"GET /a/b?p=2&q=1 HTTP/1.1"}),
        ({"normalize_uri": "path-strip-dot"}, {}),
    ],
)
def test_request_rewrites(rule: dict[str, Any], changed: dict[int, bytes]) -> None:
    verdict, head = judged([rule], PLAIN)
    assert verdict[0] == "done"
    assert lines(head) == [changed.get(i, line) for i, line in enumerate(lines(PLAIN))]


@pytest.mark.parametrize(
    ("uri", "first", "host"),
    [
        ("http://new.example:81/x?y", b"GET /x?y HTTP/1.1", b"Host: new.example:81"),
        ("https://new.example", b"GET / HTTP/1.1", b"Host: new.example"),
        ("http://new.example?y=/", b"GET /?y=/ HTTP/1.1", b"Host: new.example"),
    ],
)
def test_an_absolute_target_names_the_host(uri: str, first: bytes, host: bytes) -> None:
    for rule in ({"set_uri": uri}, {"replace_uri": [".*", uri]}):
        verdict, head = judged([rule], PLAIN)
        assert verdict[0] == "done"
        assert lines(head)[0] == first
        assert [each for each in lines(head) if each.lower().startswith(b"host:")] == [host]


def test_what_was_rewritten_is_what_later_rules_see() -> None:
    verdict, head = judged(
        [
            {"replace_path": ["^/a", "/v1"]},
            {"replace_header": ["x-b", "1", "2"]},
            {"replace_header": ["x-b", "2", "3"], "if": "{ path /v1 } { req.hdr(x-b) 2 }"},
            {"set_uri": "http://z.example/", "if": "{ req.hdr(x-b) 3 }"},
            {"set_header": ["x-c", "%[req.hdr(host)]%[base]"]},
        ],
        PLAIN,
    )
    assert verdict[0] == "done"
    assert b"x-c: z.examplez.example/" in lines(head)


@pytest.mark.parametrize(
    "rule",
    [
        {"replace_path": [".*", "x"]},  # begins with no slash
        {"replace_path": [".*", "/x?y"]},
        {"replace_path": [".*", "/%[str('a b')]"]},
        {"replace_uri": [".*", "*"]},
        {"replace_uri": [".*", "ftp:/x"]},
        {"replace_uri": [".*", "http://a b/"]},
        {"set_uri": "%[str('http://user@host/')]"},
        {"set_uri": "%[str(x)]"},
        {"replace_header": ["host", ".*", "a b"]},
        {"replace_header": ["x-b", ".*", "%[str(" + "a" * 600 + ")]%[str(" + "b" * 600 + ")]"]},
        {"replace_value": ["x-a", ".*", "%[str(" + "a" * 600 + ")]"]},
        {"replace_header": ["x-b", "1", r"a\x0ab"]},
        {"replace_header": ["x-b", "1", "%[bin(5c)]"]},  # a reference that was made now, and does not end
    ],
)
def test_a_rewrite_that_cannot_be_made_is_an_error(rule: dict[str, Any]) -> None:
    verdict, _ = judged([rule, {"set_header": ["never", "1"]}], PLAIN)
    assert verdict[:2] == ("error", 0)


@pytest.mark.parametrize("name", ["percent-decode-unreserved strict", "percent-to-uppercase strict"])
@pytest.mark.parametrize("target", [b"/%", b"/%4", b"/%zz", b"/x?%g1"])
def test_a_strict_normalizer_finds_the_request_bad(name: str, target: bytes) -> None:
    request = b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    assert judged([{"normalize_uri": name}], request)[0][0] == "bad"
    assert judged([{"normalize_uri": name.split(maxsplit=1)[0]}], request)[0][0] == "done"


def test_response_rewrites() -> None:
    rules = [
        {"replace_header": ["set-cookie", "^(id=.*)", r"\1; Secure"]},
        {"replace_value": ["server", "s(.)", r"\1"]},
    ]
    verdict, head = judged(rules, response=RESPONSE)
    assert verdict[0] == "done"
    assert lines(head)[1:5] == [
        b"Content-Length: 0", b"Server: 1", b"Set-Cookie: id=7; Path=/; Secure", b"Set-Cookie: t=a; id=8",
    ]  # fmt: skip


# ---- normalizers, beside slow ones ----

TARGETS = st.text(alphabet="/.%aZ2e~&=?", max_size=40).map(lambda text: "/" + text)


def merge(path: str) -> str:
    return re.sub("/+", "/", path)


def strip_dot(path: str) -> str:
    pieces = path.split("/")
    kept = [piece + "/" for piece in pieces[:-1] if piece != "."]
    return "".join(kept) + ("" if pieces[-1] == "." else pieces[-1])


def strip_dotdot(path: str) -> str:
    made: list[str] = []
    *before, last = path.split("/")[1:]
    for piece in [*before, last]:
        if piece == "..":
            if made:
                made.pop()
        else:
            made.append(piece)
    return "/" + "/".join(made) + ("/" if last == ".." and made else "")


def sort(query: str) -> str:
    params = query.split("&")
    if params[-1] == "":
        params.pop()
    return "&".join(sorted(params, key=lambda each: each.split("=")[0]))


def decode(text: str) -> str:
    return re.sub(
        "%([0-9a-fA-F]{2})",
        lambda found: c if re.fullmatch(r"[A-Za-z0-9._~-]", c := chr(int(found[1], 16))) else found[0],
        text,
    )


def upper(text: str) -> str:
    return re.sub("%[0-9a-fA-F]{2}", lambda found: found[0].upper(), text)


@given(TARGETS)
@settings(max_examples=200, deadline=None)
def test_normalizers_are_the_slow_ones(target: str) -> None:
    path, mark, query = target.partition("?")
    wanted = {
        "path-merge-slashes": merge(path) + mark + query,
        "path-strip-dot": strip_dot(path) + mark + query,
        "path-strip-dotdot full": strip_dotdot(path) + mark + query,
        "percent-decode-unreserved": decode(path) + mark + decode(query),
        "percent-to-uppercase": upper(target),
        "query-sort-by-name": path + (mark + sort(query) if sort(query) else "" if query else mark),
    }
    request = f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    for name, made in wanted.items():
        verdict, head = judged([{"normalize_uri": name}], request)
        assert verdict[0] == "done"
        assert lines(head)[0].decode().split()[1] == made, name


def test_many_parameters_are_sorted_too() -> None:
    names = [f"{(i * 7919) % 1000:03d}" for i in range(300)]
    request = f"GET /?{'&'.join(names)} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    verdict, head = judged([{"normalize_uri": "query-sort-by-name"}], request)
    assert verdict[0] == "error"  # more than edits have room for
    names = names[:200]
    request = f"GET /?{'&'.join(names)} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    verdict, head = judged([{"normalize_uri": "query-sort-by-name"}], request)
    assert lines(head)[0].split()[1] == b"/?" + "&".join(sorted(names)).encode()
