"""Log formats that configurations make, against the lines that are written without one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb._speedups.face.plan import build
from lb._speedups.face.testing_log import LINE_CAP, Lines, width
from lb.config import compile  # noqa: A004
from lb.config.logformat import FIELDS, OPEN_MIN, OPS, FormatError, json_program, program
from lb.config.logformat import width as expected_width
from lb.config.sampling import parse_sample

AT = 1795335240_123_456  # 2026-11-22T08:14:00.123456Z


@pytest.fixture(autouse=True, scope="module")
def zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Kolkata"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def image_of(*logs: dict[str, Any], mode: str = "http") -> bytes:
    compiled = compile(
        {
            "version": 1,
            "global": {"log": [{"to": "stdout", **log} for log in logs]},
            "frontends": {"web": {"mode": mode, "bind": [":80"], "default_backend": "app"}},
            "backends": {"app": {"servers": ["10.0.0.1:80"]}},
        }
    )
    return build(1, compiled.rows, list(range(1, len(compiled.objects) + 1)), [64])


def line(text: str, **fields: Any) -> str:
    return Lines().program(image_of({"log_format": text}), accept_us=AT, **fields).decode()


IMAGES = {
    "http": image_of({"log_format": "http"}),
    "tcp": image_of({"log_format": "tcp"}, mode="tcp"),
    "json": image_of({"fields": list(FIELDS)}),
}

number = st.integers(0, 2**32 - 1)
ms = st.integers(-1, 10**9)
text = st.binary(min_size=1, max_size=120)
letters = st.text("CSPRILDU-", min_size=2, max_size=2)
views = st.fixed_dictionaries(
    {
        "status": st.integers(0, 999),
        "retries": st.integers(0, 65535),
        "family": st.sampled_from([socket.AF_INET, socket.AF_UNIX]),
        "port": st.integers(0, 65535),
        "accept_us": st.integers(0, 4_000_000_000_000_000),
        "request_ms": ms,
        "queue_ms": ms,
        "connect_ms": ms,
        "response_ms": ms,
        "active_ms": st.integers(0, 10**12),
        "bytes_out": st.integers(0, 2**64 - 1),
        "bytes_in": st.integers(0, 2**64 - 1),
        "frontend": st.text("abc.:-_", min_size=1, max_size=63),
        "backend": st.text("abc.:-_", min_size=1, max_size=63),
        "server": st.text("abc.:-_", max_size=63),
        "method": text,
        "target": text | st.binary(min_size=8000, max_size=8192),
        "host": text,
        "request_id": st.text("0123456789abcdef", min_size=32, max_size=32),
        "reason": st.text("abc ", max_size=40),
        "limit": st.text("abc.:-_", max_size=63),
        "limit_shadow": st.text("abc.:-_", max_size=63),
        "termination": letters,
        **dict.fromkeys(("actconn", "feconn", "beconn", "srvconn", "srvqueue", "bequeue", "number", "logged"), number),
        **dict.fromkeys(("http10", "is_tls", "redispatched", "has_request", "reused"), st.booleans()),
    }
)


@settings(max_examples=300)
@given(views)
def test_haproxys_format_is_the_line_without_a_format(view: dict[str, Any]) -> None:
    lines = Lines()
    ours, built_in = lines.program(IMAGES["http"], **view), lines.line("http", **view)
    # A target that is too long is cut at another place: the format keeps room for the widest values.
    if len(built_in) < 2000:
        assert ours == built_in
    assert len(ours) <= LINE_CAP


@settings(max_examples=200)
@given(views)
def test_haproxys_tcp_format_is_the_line_without_a_format(view: dict[str, Any]) -> None:
    view |= {"mode": "tcp", "queue_ms": abs(view["queue_ms"]), "status": 0}
    lines = Lines()
    assert lines.program(IMAGES["tcp"], **view) == lines.line("tcp", **view)


@settings(max_examples=300)
@given(views)
def test_all_fields_are_the_record_without_fields(view: dict[str, Any]) -> None:
    lines = Lines()
    view |= {} if view["has_request"] else {"host": ""}
    ours = json.loads(lines.program(IMAGES["json"], **view))
    built_in = json.loads(lines.line("json", **view))
    if "cut" in ours:
        # The shorter target is the beginning of the longer one, up to a character that was cut.
        assert len(lines.program(IMAGES["json"], **view)) <= LINE_CAP
        ours["target"] = built_in["target"]
        ours["cut"] = built_in.get("cut", True)
    assert ours == built_in | ({"cut": True} if "cut" in ours else {})
    assert [each for each in ours if each != "cut"] == list(FIELDS)


@pytest.mark.parametrize("name", sorted(OPS))
def test_the_reader_and_the_writer_agree_on_widths(name: str) -> None:
    wide, is_open = width(OPS[name])
    assert wide == expected_width(name)
    text = "%[src]" if name == "[]" else "%" + name
    assert is_open == (name in ("r", "HP", "HPO", "HQ", "HU", "[]", "hr", "hrl", "hs", "hsl"))
    assert not is_open or program(text, slots=(1, 1)).room > 0


@pytest.mark.parametrize("flags", ["", "{+Q}", "{+X}", "{+E}", "{+Q,+X,+E,+M}"])
@pytest.mark.parametrize(
    "name",
    [name for name in OPS if name and name not in ("cut", "time", "tls", "host", "reason", "limit", "limit_shadow")],
)
def test_no_variable_passes_its_width(name: str, flags: str) -> None:
    if name in ("server_reused", "redispatched", "retries", "version", "[]", "hr", "hrl", "hs", "hsl"):
        return  # no variables, or none without a stream
    image = image_of({"log_format": f"%{flags}{name}"})
    worst = {
        **dict.fromkeys(
            ("actconn", "feconn", "beconn", "srvconn", "srvqueue", "bequeue", "number", "logged"), 2**32 - 1
        ),
        **dict.fromkeys(("request_ms", "queue_ms", "connect_ms", "response_ms", "active_ms", "idle_ms"), -(2**62)),
        **dict.fromkeys(("bytes_in", "bytes_out"), 2**64 - 1),
        **dict.fromkeys(
            ("frontend", "backend", "server", "method", "target", "path", "host", "request_id"), b"\xff]" * 5000
        ),
        "is_tls": True,
        "redispatched": True,
        "retries": 65535,
        "family": socket.AF_INET6,
        "address": "1111:2222:3333:4444:5555:6666:7777:8888",
        "local": ("1111:2222:3333:4444:5555:6666:7777:8888", 65535),
        "source": ("1111:2222:3333:4444:5555:6666:7777:8888", 65535),
        "peer": ("1111:2222:3333:4444:5555:6666:7777:8888", 65535),
    }
    made = program(f"%{flags}{name}")
    assert len(Lines().program(image, **worst)) <= expected_width(name) + made.room


def test_dates_have_their_zone() -> None:
    assert line("%T|%Tl|%t|%Ts|%ms") == (
        "22/Nov/2026:08:14:00 +0000|22/Nov/2026:13:44:00 +0530|22/Nov/2026:13:44:00.123|1795335240|123"
    )
    # The connection came, or its last request ended, before the first byte of this one.
    assert line("%T|%trg|%ms", idle_ms=2123) == "22/Nov/2026:08:13:58 +0000|22/Nov/2026:08:14:00 +0000|000"


def test_times_add_up() -> None:
    times = {"idle_ms": 50, "request_ms": 1, "queue_ms": 2, "connect_ms": 4, "response_ms": 8, "active_ms": 31}
    assert line("%Th/%Ti/%TR/%Tq/%Tw/%Tc/%Tr/%Td/%Ta/%Tu/%Tt", **times) == "0/50/1/51/2/4/8/16/31/31/81"
    times |= {"request_ms": -1, "queue_ms": -1, "connect_ms": -1, "response_ms": -1}
    assert line("%Th/%Ti/%TR/%Tq/%Tw/%Tc/%Tr/%Td/%Ta/%Tu/%Tt", **times) == "0/50/-1/-1/-1/-1/-1/-1/31/31/81"


def test_ends_are_shown_where_they_are_known() -> None:
    ends = {"local": ("10.0.0.1", 80), "source": ("::1", 81), "peer": ("", 0)}
    assert line("%fi:%fp %bi:%bp %si", **ends) == "10.0.0.1:80 ::1:81 unix"
    assert line("%{+X}o%fi:%fp %ci:%cp", **ends) == "0A000001:0050 7F000001:AE8A"
    assert line("%fi:%fp|%{+Q}fi|%{-M}fi|") == '-:-|""||'


def test_text_is_kept_and_blanks_are_merged() -> None:
    assert line("  a   %hr  b%%  %HM ") == "a b% GET "
    assert line("%{+Q}o%f%{-Q}f") == '"web"web'
    assert line('a\\ \\ b\\"%HM\\#\\\\') == 'a  b"GET#\\'


def test_json_fields_may_be_formats() -> None:
    image = image_of({"fields": ["status", {"who": "%ci:%cp"}, {"bytes": "%B"}, {"q": 'a"%HM"'}, {"none": "%si"}]})
    assert json.loads(Lines().program(image, status=0, bytes_out=5)) == {
        "status": None,
        "who": "127.0.0.1:44682",
        "bytes": 5,
        "q": 'a"GET"',
        "none": None,
    }


def test_what_does_not_fit_into_a_record_is_refused() -> None:
    assert program("%r" * 10).room >= OPEN_MIN
    with pytest.raises(FormatError, match="at most 4095"):
        program("%r" * 14)
    with pytest.raises(FormatError, match="at most 4095"):
        program("x" * 4096)
    with pytest.raises(FormatError, match="twice"):
        json_program(["status", {"status": "time"}])


@given(st.text("%{}[]+-QXEMo\\ abcirtsTHMPU'\"#,", max_size=30))
def test_any_text_is_read_or_refused(given_text: str) -> None:
    with contextlib.suppress(FormatError):
        ops = program(given_text).ops
        assert len(ops) <= given_text.count("%") + 1


@pytest.mark.parametrize(
    ("sample", "chosen"),
    [
        ("10%", [0]),
        ("50%", [0]),
        ("100%", [0]),
        ("40%", [0, 3]),
        ("1-3,5:10", [0, 1, 2, 4]),
        ("10:10", [9]),
    ],
)
def test_a_sample_is_a_bit_for_each_record(sample: str, chosen: list[int]) -> None:
    size, bits = parse_sample(sample)
    assert [at for at in range(size) if bits[at >> 3] >> (at & 7) & 1] == chosen


@given(st.integers(1, 1000))
def test_a_share_is_exact_over_a_period(thousandths: int) -> None:
    size, bits = parse_sample(f"{thousandths / 10:.1f}%")
    assert int.from_bytes(bits).bit_count() * 1000 == thousandths * size
