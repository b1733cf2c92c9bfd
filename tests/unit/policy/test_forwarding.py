"""What heads say about clients: addresses as lists have them, what is believed, what is deleted, what an image may hold."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lb._speedups.face.plan import build
from lb._speedups.face.testing_forwarding import Judge, is_id, parse
from lb._speedups.face.testing_plan import Plan
from lb.config import compile  # noqa: A004
from lb.config.forwarding import FieldRow, MonitorRow

FULL: dict[str, Any] = {
    "trusted_proxies": ["10.0.0.0/8", "2001:db8:1::/48", "unix"],
    "client_address": "x-forwarded-for",
    "forwarded_for": {"except": ["10.9.0.0/16"]},
    "forwarded": {"host": True, "by": "_edge"},
    "x_forwarded": ["proto", "host", "port", "real_ip"],
    "via": {"name": "edge", "refuse_loops": True},
    "request_id": {"format": "uuid7", "response": True},
    "monitor": {"path": "/alive", "fail_below": {"app": 2, "api": 1}},
}


def image_of(frontend: dict[str, Any], **changes: Any) -> bytes:
    """Build an image with this frontend; `changes` to the row of its forwarding."""
    compiled = compile(
        {
            "version": 1,
            "frontends": {"web": {"bind": [":80"], "default_backend": "app", **frontend}},
            "backends": {"app": {"servers": ["10.0.0.1:80"]}, "api": {"servers": ["10.0.0.1:80"]}},
        }
    )
    rows = compiled.rows
    row = rows.frontends[0]
    if changes:
        assert row.forwarding is not None
        row = row._replace(forwarding=row.forwarding._replace(**changes))
    return build(1, rows._replace(frontends=[row]), list(range(1, 20)), [64, 128])


def judge(frontend: dict[str, Any], *fields: str) -> Judge:
    made = Judge(image_of(frontend))
    made.read("\r\n".join(["GET / HTTP/1.1", "Host: a", *fields, "", ""]).encode("latin-1"))
    return made


GOOD = {
    "192.0.2.1": ("192.0.2.1", 0),
    "0.0.0.0": ("0.0.0.0", 0),
    "255.255.255.255": ("255.255.255.255", 0),
    "192.0.2.1:80": ("192.0.2.1", 80),
    "192.0.2.1:0": ("192.0.2.1", 0),
    "192.0.2.1:65535": ("192.0.2.1", 65535),
    "[2001:db8::1]": ("2001:db8::1", 0),
    "[2001:DB8::1]:4711": ("2001:db8::1", 4711),
    "[::]": ("::", 0),
    "[::ffff:192.0.2.1]": ("192.0.2.1", 0),
    "[::ffff:192.0.2.1]:9": ("192.0.2.1", 9),
    "[1:2:3:4:5:6:7:8]": ("1:2:3:4:5:6:7:8", 0),
    "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]": ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0),
}
LOOSE = {"2001:db8::1": ("2001:db8::1", 0), "::1": ("::1", 0), "::ffff:192.0.2.1": ("192.0.2.1", 0)}
STRICT = {"192.0.2.1:_x": ("192.0.2.1", 0), "[::1]:_a.b-c": ("::1", 0)}
BAD = [
    "", " ", "unknown", "_hidden", "a.b.c.d", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04", "1.2.3.4 ",
    " 1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:123456", "1.2.3.4:-1", "1.2.3.4:8a", "1.2.3.4/8", "0x1.2.3.4",
    "1..2.3", ".1.2.3.4", "[1.2.3.4]", "[::1", "::1]", "[]", "[", "[::1]x", "[::1]:", "[::1]80", "[::1%eth0]", "fe80::1%1",
    "[:::]", "[1:2:3]", "1.2.3.4:80:80", "[::1]:99999", '"1.2.3.4"', "1.2.3.4:_", "[::1]:_ ", "2130706433", "localhost",
    "1:2:3:4:5:6:7:8:9", "[" + "0" * 60 + "::1]", "1.2.3.4\0", "[::1\0]",
]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
def test_an_address_in_a_list(strict: bool) -> None:
    for text, found in GOOD.items():
        assert parse(text.encode(), strict) == found, text
    for text, found in (STRICT if strict else LOOSE).items():
        assert parse(text.encode(), strict) == found, text
    for text in [*BAD, *(LOOSE if strict else STRICT)]:
        assert parse(text.encode(), strict) is None, text


# (fields, the client), from a peer that is trusted. RFC 7239 4, 5.2, 6: its examples are among them.
LISTS: list[tuple[list[str], str | None]] = [
    ([], None),
    ([""], None),
    ([" , ,"], None),
    (["192.0.2.7"], "192.0.2.7"),
    (["192.0.2.7, 10.0.0.1"], "192.0.2.7"),
    (["192.0.2.6, 192.0.2.7, 10.0.0.1"], "192.0.2.7"),
    (["192.0.2.6", "192.0.2.7", "10.0.0.1"], "192.0.2.7"),
    (["192.0.2.6,192.0.2.7,,", "10.0.0.1 ,\t10.0.0.2 ,"], "192.0.2.7"),
    (["10.0.0.3, 10.0.0.2, 10.0.0.1"], "10.0.0.3"),
    (["garbage, 192.0.2.7, 10.0.0.1"], "192.0.2.7"),
    (["192.0.2.7, garbage, 10.0.0.1"], None),
    (["192.0.2.7, unknown"], None),
    (["garbage"], None),
    (["192.0.2.7, 10.0.0.1", "garbage"], None),
    (["2001:db8::7, 2001:db8:1::1"], "2001:db8::7"),
    (["192.0.2.7:4711, [2001:db8:1::1]:80"], "192.0.2.7"),
    (["192.0.2.7, ::ffff:10.0.0.1"], "192.0.2.7"),
    (['"192.0.2.7"'], None),
    (["192.0.2.7 10.0.0.1"], None),
]
ELEMENTS: list[tuple[list[str], str | None]] = [
    (["for=192.0.2.7"], "192.0.2.7"),
    (["For=192.0.2.7;proto=http;by=203.0.113.43"], "192.0.2.7"),
    (['for="_gazonk"'], None),
    (['For="[2001:db8:cafe::17]:4711"'], "2001:db8:cafe::17"),
    (["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17"),
    (["for=192.0.2.43", "for=10.0.0.17"], "192.0.2.43"),
    (["for=192.0.2.43", "for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com"], "198.51.100.17"),
    (['for=_hidden, for=_SEVKISEK, for="10.0.0.1:_x"'], None),
    (["for=unknown"], None),
    (['for=192.0.2.7;x="a, for=192.0.2.8", for=10.0.0.1'], "192.0.2.7"),
    ([r'x="\",";for=192.0.2.7, for=10.0.0.1'], "192.0.2.7"),
    ([r'x="a\\";for=192.0.2.7, for=10.0.0.1'], "192.0.2.7"),
    (['for="192.0.2.7, for=198.51.100.17'], "198.51.100.17"),
    (['for=192.0.2.7;x=", for="198.51.100.17"'], "198.51.100.17"),
    (['for="192.0.2.7', "for=10.0.0.1"], None),
    ([r'for="\1\9\2.0.2.7"'], "192.0.2.7"),
    (["for=192.0.2.7;"], "192.0.2.7"),
    ([";;for=192.0.2.7"], "192.0.2.7"),
    (["for=192.0.2.7; proto=http"], None),
    (["for =192.0.2.7"], None),
    (["for= 192.0.2.7"], None),
    (["for=192.0.2.7:80"], None),
    (['for="192.0.2.7:80"'], "192.0.2.7"),
    (["for=[2001:db8::7]"], None),
    (['for="2001:db8::7"'], None),
    (["for=192.0.2.7;for=192.0.2.8"], None),
    (["proto=http"], None),
    (["proto"], None),
    (["=x"], None),
    (["for="], None),
    (['for="192.0.2.7"x'], None),
    (["192.0.2.7"], None),
    (["forward=192.0.2.7"], None),
    (["for=192.0.2.7;proto=http, ,"], "192.0.2.7"),
    (['for="' + "1" * 500 + '"'], None),
]


@pytest.mark.parametrize(("values", "client"), LISTS)
def test_the_client_of_a_list(values: list[str], client: str | None) -> None:
    found = judge(FULL, *(f"X-Forwarded-For: {value}" for value in values)).client()
    assert (found and found[0]) == client


@pytest.mark.parametrize(("values", "client"), ELEMENTS)
def test_the_client_of_forwarded(values: list[str], client: str | None) -> None:
    frontend = {**FULL, "client_address": "Forwarded"}
    found = judge(frontend, *(f"forwarded: {value}" for value in values)).client()
    assert (found and found[0]) == client


def test_a_header_of_another_name_says_who_the_client_is() -> None:
    frontend = {**FULL, "client_address": "CF-Connecting-IP"}
    assert judge(frontend, "cf-connecting-ip: 192.0.2.7", "X-Forwarded-For: 192.0.2.8").client() == ("192.0.2.7", 0)
    assert judge(frontend, "cf_connecting_ip: 192.0.2.7").client() is None


def test_nothing_of_a_very_long_list_is_read_twice() -> None:
    """Linear: trusted entries only, quotes and backslashes only."""
    for header, entry in (("x-forwarded-for", "10.0.0.1,"), ("forwarded", "for=10.0.0.1,"), ("forwarded", '"\\'),
                          ("forwarded", '\\"'), ("forwarded", 'a="",'), ("forwarded", '"')):  # fmt: skip
        times = []
        for total in (1000, 14000):
            long = judge({**FULL, "client_address": header}, f"{header}: {entry * (total // len(entry))}")
            times.append(min(long.client_many(20) for _ in range(5)))
        assert times[1] < 14 * 20 * max(times[0], 100), (header, entry, times)


@pytest.mark.parametrize("text", ["a", "A-b_c.d~e:f@g+h/i=j", "0" * 64, "550e8400-e29b-41d4-a716-446655440000"])
def test_what_may_be_a_request_id(text: str) -> None:
    assert is_id(text.encode())


@pytest.mark.parametrize(
    "text", ["", "0" * 65, "a b", 'a"', "a,b", "a;b", "a\\b", "a\tb", "é", "<a>", "a{", "a%", "a'", "`"]
)
def test_what_may_not(text: str) -> None:
    assert not is_id(text.encode("latin-1"))


@pytest.mark.parametrize(
    ("via", "loops"),
    [("", False), ("1.1 edge", True), ("HTTP/1.1 Edge", True), ("1.1 edges, 1.0 an edge", True), ("1.1 edge-2", False)],
)
def test_a_loop(via: str, loops: bool) -> None:
    assert judge(FULL, f"Via: {via}").loops() is loops
    assert judge(FULL, "Via: 1.1 a", f"via: {via}").loops() is loops


def test_the_first_of_several_ids_is_kept() -> None:
    left, _seen, at = judge(FULL, "X-Request-ID: a", "X-REQUEST-ID: b").sweep(True)
    assert [each for each in left if each[0] != b"Host"] == [(b"X-Request-ID", b"a")]
    assert at == 2


def test_an_image_holds_only_what_fits_together() -> None:
    name = b"x" * 65
    field = FieldRow(b"a-b", b"a-b", 1, 0)
    assert Plan.is_sound(image_of(FULL))
    bad: list[dict[str, Any]] = [
        {"via": name},
        {"client": name},
        {"id_name": name},
        {"by_text": name},
        {"for_text": name},
        {"by": 4},
        {"for_": 9},
        {"id_format": 3},
        {"written": 99},
        {"fields": [field, field], "written": 2},
        {"fields": [field._replace(kind=0)], "written": 1},
        {"fields": [field._replace(kind=8)], "written": 0},
        {"fields": [field._replace(name=name, key=name)], "written": 1},
        {"fields": [field._replace(key=b"a")], "written": 1},
        {"fields": [field._replace(name=b"", key=b"")], "written": 1},
        {"fields": [field._replace(id=200)], "written": 1},
    ]
    for change in bad:
        with pytest.raises(ValueError, match="do not fit together"):
            image_of(FULL, **change)
    rows = compile({"version": 1, "frontends": {"web": {"bind": [":80"], "default_backend": "app"}},
                    "backends": {"app": {"servers": ["10.0.0.1:80"]}}}).rows  # fmt: skip
    monitored = rows.frontends[0]._replace(flags=1 << 9, monitor=MonitorRow(b"/x", [(1, 1)]))
    with pytest.raises(ValueError, match="do not fit together"):
        build(1, rows._replace(frontends=[monitored]), list(range(1, 9)), [64])


def test_a_damaged_image_is_refused_or_harmless() -> None:
    """Under the sanitizers this shows that whatever plan_check lets pass can be looked through."""
    image = image_of(FULL)
    dice = random.Random(5)
    head = "\r\n".join(
        ["GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 192.0.2.1, 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Request-ID: 1",
         "Via: 1.1 x", "X-Real-IP: 1", "X_Forwarded_Proto: x", "X-Forwarded-Ssl: on", "", ""]
    ).encode()  # fmt: skip
    sound = 0
    for _ in range(4000):
        damaged = bytearray(image)
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.randrange(8, len(image))] = dice.choice((0, 1, 2, 127, 128, 255, dice.randrange(256)))
        try:
            made = Judge(bytes(damaged))
        except (ValueError, LookupError):
            continue
        sound += 1
        made.read(head)
        made.client()
        made.loops()
        made.sweep(bool(dice.randrange(2)))
    assert sound > 500
