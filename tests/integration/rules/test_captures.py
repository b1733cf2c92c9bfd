"""Captures, expressions in log formats, variables of log formats in rules, and what fetches say of a stream."""

from __future__ import annotations

import re

import pytest
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import reply
from kit.server import Server
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage


def logged(stage: Stage, frontend: Settings, app: Settings | None = None) -> Server:
    """Start a frontend with these settings."""
    server = stage.server(reply(b"app", "X-Kind: plain"))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", **frontend}},
            "backends": {"app": {"servers": [{"name": "s", "address": server.text}], **(app or {})}},
        }
    )
    return server


def lines(stage: Stage, count: int) -> list[str]:
    """Wait for so many records."""
    eventually(lambda: len(stage.proxy.log_lines()) >= count, f"{count} records")
    found = stage.proxy.log_lines()
    assert len(found) == count, found
    return found


def test_a_record_shows_what_was_captured(stage: Stage) -> None:
    logged(
        stage,
        {
            "captures": {
                "request": [{"header": "x-a", "len": 3}, {"len": 10}],
                "response": [{"header": "x-kind", "len": 20}, {"len": 4}],
            },
            "rules": [
                {"del_header": "x-a"},
                {"capture": {"expression": "path", "id": 1}},
                {"capture": {"expression": "method", "len": 2}},
            ],
            "response_rules": [{"set_header": ["x-seen", "%[capture.req.hdr(0)]-%[capture.req.hdr(2)]"]}],
        },
        {"response_rules": [{"del_header": "x-kind"}, {"capture": {"expression": "status", "id": 1}}]},
    )
    client = stage.client()
    assert client.get("/path", "X-A: abcdef").value("x-seen") == b"abc-GE"
    client.get("/")
    first, second = lines(stage, 2)
    assert " {abc|/path|GE} {plain|200} " in first
    assert " {|/|GE} {plain|200} " in second


def test_expressions_see_the_whole_stream_when_a_record_is_written(stage: Stage) -> None:
    logged(
        stage,
        {
            "rules": [
                {"set_var": ["txn.who", "req.hdr(x-who)"]},
                {"set_var": ["sess.n", "var(sess.n,0),add(1)"]},
                {"set_var": ["req.gone", "int(1)"]},
            ],
            "response_rules": [{"set_var": ["res.kind", "res.hdr(x-kind),upper"]}],
            "log_format": "%[var(txn.who)] %[var(sess.n)] %[var(req.gone)] %[var(res.kind)] %[req.hdr(x-who),length] "
            "%[res.hdr(x-kind)] %{+Q}[status] %[txn.status] %[src] %[txn.sess_term_state] %[path] %[be_name]/%[srv_name]",
        },
    )
    client = stage.client()
    client.get("/a", "X-Who: me")
    client.get("/b")
    assert lines(stage, 2) == [
        'me 1 - PLAIN 2 plain "200" 200 127.0.0.1 -- /a app/s',
        '- 2 - PLAIN - plain "200" 200 127.0.0.1 -- /b app/s',
    ]


def test_a_client_that_leaves_is_recorded_with_its_variables(stage: Stage) -> None:
    logged(
        stage,
        {
            "rules": [
                {"set_var": ["txn.who", "path"]},
                {"set_var": ["sess.who", "path"]},
                {"reject": True, "if": "{ path /reject }"},
            ],
            "log_format": "%[var(txn.who)] %ts %[req.hdr(host)] %[dst_port] %[so_id,bool]",
        },
    )
    client = stage.client()
    client.send(b"GET /reject HTTP/1.1\r\nHost: here\r\n\r\n")
    (line,) = lines(stage, 1)
    assert re.fullmatch(r"/reject PR here (\d+|-) (1|-)", line)


def test_what_nobody_sent_cannot_forge_a_record(stage: Stage) -> None:
    logged(stage, {"log_format": "%[urlp(a),url_dec] %{+Q}[urlp(a),url_dec] %HM"})
    stage.client().get("/?a=x%0a%22y%ff")
    (line,) = lines(stage, 1)
    assert line == 'x#0A#22y#FF "x#0A#22y#FF" GET'


def test_variables_of_log_formats_in_rules(stage: Stage) -> None:
    logged(
        stage,
        {
            "rules": [
                {
                    "return": {
                        "body": '%HM|%HU|%HP|%HQ|%HV|%f|%b|%s|%ci|%{+X}ci|%{+Q}f|%ST|%{+Q}o%H|%f%{-Q}o|%{+E}[str("a]b")]'
                    }
                }
            ]
        },
    )
    parts = stage.client().get("/a/b?c=d").body.decode().split("|")
    assert parts[:12] == [
        "GET",
        "/a/b?c=d",
        "/a/b",
        "?c=d",
        "HTTP/1.1",
        "web",
        "web",
        "<NOSRV>",
        "127.0.0.1",
        "7F000001",
        '"web"',
        "-1",
    ]
    assert re.fullmatch(r'"[^"]+"', parts[12])
    assert parts[13:] == ['"web"', r"a\]b"]


def test_what_fetches_say_of_a_stream(stage: Stage) -> None:
    logged(
        stage,
        {
            "rules": [{"set_header": ["x-before", "%[txn.status] %[bc.timer.connect] %[txn.sess_term_state]"]}],
            "response_rules": [
                {
                    "set_header": [
                        "x-after",
                        " ".join(
                            f"%[{each}]"
                            for each in (
                                *("txn.conn_retries", "txn.redispatched", "bytes_in,bool", "req.timer.hdr,add(1),bool"),
                                *("bc.timer.connect,add(1),bool", "fc.timer.handshake", "txn.timer.total,add(1),bool"),
                                *("req.timer.idle,add(1),bool", "req.timer.queue", "res.timer.data", "last_rule_line"),
                            )
                        ),
                    ]
                }
            ],
            "log_format": "%[bytes_in] %U %[bytes_out] %B %[txn.id32] %{+X}rt %[fc.timer.total] %Tt %[txn.timer.user] %Tu",
        },
    )
    answer = stage.client().get("/")
    assert answer.value("x-after") == b"0 0 1 1 1 0 1 1 0"
    (line,) = lines(stage, 1)
    values = line.split(" ")
    assert values[0] == values[1]
    assert values[2] == values[3]
    assert int(values[4]) == int(values[5], 16)
    assert (values[6], values[8]) == (values[7], values[9])


@pytest.mark.ours
def test_a_record_says_which_rule_decided(daemon: Stage) -> None:
    logged(
        daemon,
        {
            "rules": [
                {"allow": True, "if": "{ path /a }"},
                {"return": 200, "if": "{ path /b }"},
                {"set_var": ["txn.x", "src"]},
            ],
            "log_format": "%[last_rule_line] %[last_rule_file] %[path]",
        },
    )
    client = daemon.client()
    for path in ("/a", "/b", "/c"):
        client.get(path)
    found = [line.split(" ") for line in lines(daemon, 3)]
    numbers = [each[0] for each in found]
    assert int(numbers[0]) < int(numbers[1])
    assert [each[1].rpartition("/")[2] for each in found] == ["lb.yaml", "lb.yaml", "-"]
    assert (numbers[2], found[2][2]) == ("-", "/c")


def test_when(stage: Stage) -> None:
    logged(
        stage,
        {
            "acls": {"a": "path /a", "b": "path_beg /", "both": "acl(a,b)"},
            "rules": [
                {"return": {"status": 503}, "if": "{ path /e }"},
                {"set_header": ["x", "%[acl(a,!b)]%[acl(both)]"]},
            ],
            "log_format": "%[path] %[str(e),when(error)] %[str(n),when(normal)] %[str(f),when(forwarded)] "
            "%[str(p),when(processed)] %[str(t),when(toapplet)] %[str(s),when(stopping)] %ts",
        },
    )
    client = stage.client()
    client.get("/a")
    client.get("/e")
    assert lines(stage, 2) == ["/a - n f p - - --", "/e e - - p t - LR"]


@pytest.mark.ours
def test_a_record_sees_what_its_stream_tracks(daemon: Stage) -> None:
    server = daemon.server(reply(b"app"))
    lb = daemon.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "tables": {"t": {"key": "ip", "size": 100, "store": ["http_req_cnt", "http_err_cnt", "conn_cur"]}},
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK}],
                    "default_backend": "app",
                    "rules": [{"track": "src", "table": "t"}, {"return": 404, "if": "{ path /gone }"}],
                    "log_format": "%[sc_http_req_cnt(0)] %[sc_http_err_cnt(0)] %[sc_conn_cur(0)] %ST",
                }
            },
            "backends": {"app": {"servers": [server.text]}},
        }
    )
    client = daemon.client()
    client.get("/")
    client.get("/gone")
    assert lines(daemon, 2) == ["1 0 1 200", "2 1 1 404"]
    assert isinstance(lb, Lb)
    eventually(lambda: " use=0 " in lb.admin("show table t"), "nobody to hold the entry")
