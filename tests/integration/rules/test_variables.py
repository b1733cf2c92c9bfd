"""Variables over the requests of a connection, over answers, over workers and reloads; nothing of them is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import reply
from kit.server import Server
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage


def held(stage: Stage, frontend: Settings, app: Settings | None = None, **more: Any) -> Server:
    """Start a frontend with these rules."""
    server = stage.server(reply(b"app", "X-Kind: plain"))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1, **more},
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", **frontend}},
            "backends": {"app": {"servers": [server.text], **(app or {})}},
        }
    )
    return server


def test_values_go_from_the_request_to_the_answer(stage: Stage) -> None:
    server = held(
        stage,
        {
            "rules": [
                {"set_var": ["txn.host", "req.hdr(x-who)"]},
                {"set_var": ["req.only", "str(request)"]},
                {"set_var_fmt": ["txn.both", "%[var(txn.host)]%[path]"]},
                {"set_header": ["x-sent", "%[var(txn.both)]-%[var(req.only)]-%[var(res.late)]"]},
            ],
            "response_rules": [
                {"set_var": ["res.late", "res.hdr(x-kind)"]},
                {"set_header": ["x-seen", "%[var(txn.both)]-%[var(req.only)]-%[var(res.late)]-%[var(txn.back)]"]},
            ],
        },
        {"rules": [{"set_var": ["txn.back", "be_name"]}]},
    )
    client = stage.client()
    for path in ("/a", "/b"):
        host = "me"
        answer = client.get(path, f"X-Who: {host}")
        assert answer.value("x-seen") == f"{host}{path}--plain-app".encode()
    assert server.wait_requests(2)[1].value("x-sent") == b"me/b-request-"


def test_a_session_counts_its_requests(stage: Stage) -> None:
    held(
        stage,
        {
            "rules": [
                {"set_var": ["sess.n,ifnotset", "int(0)"]},
                {"set_var": ["sess.n", "var(sess.n),add(1)"]},
                {"set_var": ["txn.n", "var(txn.n,0),add(1)"]},
            ],
            "response_rules": [{"set_header": ["x-n", "%[var(sess.n)]/%[var(txn.n)]"]}],
        },
    )
    for _ in range(2):
        client = stage.client()
        assert [client.get("/").value("x-n") for _ in range(3)] == [b"1/1", b"2/1", b"3/1"]
        client.close()


def test_values_of_any_length_come_back_and_too_long_ones_do_not(stage: Stage) -> None:
    held(
        stage,
        {
            "rules": [
                {"set_var": ["txn.long", "req.hdr(x-long)"]},
                {"set_var": ["txn.twice", "var(txn.long),concat(,txn.long)"]},
                {"return": {"body": "%[var(txn.long),length] %[var(txn.twice),length] %[var(txn.long)]"}},
            ]
        },
    )
    client = stage.client()
    for n in (0, 1, 128, 129, 2048, 2049, 7000):
        text = "x" * n
        twice = f"{2 * n}" if 2 * n <= 16384 else ""
        assert client.get("/", f"X-Long: {text}").body == f"{n} {twice} {text}".encode()


def test_clients_that_leave_leave_nothing(stage: Stage) -> None:
    # The stage looks at the pools when it ends.
    held(
        stage,
        {
            "rules": [
                {"set_var": ["sess.long", "req.hdr(x-long)"]},
                {"set_var": ["txn.long", "req.hdr(x-long)"]},
                {"tarpit": 500, "if": "{ path /hold }"},
                {"reject": True, "if": "{ path /reject }"},
            ],
            "timeouts": {"tarpit": "300ms"},
        },
    )
    for path in ("/hold", "/reject", "/"):
        client = stage.client()
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Long: {'y' * 3000}\r\n\r\n".encode())
        if path == "/":
            assert client.response().status == 200
        client.close()


@pytest.mark.ours
def test_variables_of_the_process_survive_reload_and_are_one_for_all_workers(daemon: Stage) -> None:
    settings: dict[str, Any] = {
        "version": 1,
        "global": {
            "workers": 2,
            "set_var": {"proc.first": "int(40),add(2)"},
            "set_var_fmt": {"proc.made": "<%[var(proc.first)]>"},
        },
        "frontends": {
            "web": {
                "bind": [{"address": LOOPBACK}],
                "rules": [
                    {"set_var": ["proc.kept", "req.hdr(x-set)"], "if": "{ req.hdr(x-set) -m found }"},
                    {"unset_var": "proc.kept", "if": "{ path /unset }"},
                    {"return": {"body": "%[var(proc.kept,none)]"}},
                ],
                "default_backend": "app",
            }
        },
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }
    lb = daemon.start(settings)
    assert isinstance(lb, Lb)

    def seen() -> set[bytes]:
        found = set()
        for _ in range(12):  # both workers
            client = daemon.client()
            found.add(client.get("/").body)
            client.close()
        return found

    assert seen() == {b"none"}
    client = daemon.client()
    assert client.get("/", "X-Set: one").body == b"one"
    assert seen() == {b"one"}
    lb.expect_stderr("reloaded, generation 2")
    lb.write({**settings, "global": {"workers": 2, "grace": "5s"}})
    assert lb.admin("reload").startswith("Success=1")
    assert seen() == {b"one"}
    assert lb.admin("get var proc.kept") == "proc.kept: type=str value=<one>\n\n"
    assert lb.admin("get var proc.made") == "proc.made: type=str value=<<42>>\n\n"
    assert lb.admin("set var proc.kept int(7),add(1)") == "\n"
    assert lb.admin("get var proc.kept") == "proc.kept: type=sint value=<8>\n\n"
    assert seen() == {b"8"}
    assert client.get("/unset").body == b"none"
    assert lb.admin("get var proc.kept") == "Variable not found.\n\n"


@pytest.mark.ours
def test_sessions_keep_theirs_over_reloads_and_deaths_leave_those_of_the_process(daemon: Stage) -> None:
    settings: Settings = {
        "version": 1,
        "global": {"workers": 1},
        "frontends": {
            "web": {
                "bind": [{"address": LOOPBACK}],
                "rules": [
                    {"set_var": ["sess.n", "var(sess.n,0),add(1)"]},
                    {"set_var": ["proc.seen", "path"]},
                    {"set_var": ["sess.long", "req.hdr(x-long)"], "if": "{ req.hdr(x-long) -m found }"},
                    {"return": {"body": "%[var(sess.n)] %[var(sess.long),length]"}},
                ],
                "default_backend": "app",
            }
        },
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }
    lb = daemon.start(settings)
    assert isinstance(lb, Lb)
    client = daemon.client()
    assert client.get("/a", f"X-Long: {'x' * 5000}").body == b"1 5000"
    # Other names, other places in the plan: the session's are found all the same.
    settings["frontends"]["web"]["rules"].insert(0, {"set_var_fmt": ["sess.before", "%[src]"]})
    lb.expect_stderr("reloaded, generation 2")
    lb.write(settings)
    assert lb.admin("reload").startswith("Success=1")
    assert client.get("/b").body == b"2 5000"
    lb.expect_stderr(r"lb: error: worker \d \(pid \d+\) .*")
    before = lb.workers()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: set(lb.workers()) - set(before), "another worker in its place")
    lb.rest()
    assert lb.admin("get var proc.seen") == "proc.seen: type=str value=</b>\n\n"
    assert daemon.client().get("/c").body == b"1 "
    assert lb.admin("get var proc.seen") == "proc.seen: type=str value=</c>\n\n"


@pytest.mark.ours
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("get var", "Missing process-wide variable identifier.\n\n"),
        ("get var proc.none", "Variable not found.\n\n"),
        ("get var txn.a", "Variable not found.\n\n"),
        ("set var proc.a", "Missing either 'expr', 'fmt' or expression.\n\n"),
        ("set var txn.a int(1)", "'set var': cannot set variable 'txn.a', only scope 'proc' is permitted here.\n\n"),
        ("set var proc.a int(1) int(2)", "'set var': arg type must be either 'expr' or 'fmt' but got 'int(1)'.\n\n"),
        ("set var proc.a var(proc.none)", "\n"),
    ],
)
def test_answers_of_the_admin_socket(asked: Lb, command: str, answer: str) -> None:
    assert asked.admin(command) == answer


@pytest.mark.ours
@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("int(7)", "type=sint value=<7>"),
        ("expr int(7),add(1)", "type=sint value=<8>"),
        ("fmt a%[int(1)]b", "type=str value=<a1b>"),
        (r"str(a\ b)", "type=str value=<a b>"),
        ("bool(1)", "type=bool value=<1>"),
        ("ipv4(1.2.3.4)", "type=ipv4 value=<1.2.3.4>"),
        ("ipv6(::1)", "type=ipv6 value=<::1>"),
        ("meth(GET)", "type=meth value=<GET>"),
        ("meth(BREW)", "type=meth value=<BREW>"),
        ("bin(00ff41)", "type=bin value=<00FF41>"),
        ("var(proc.other)", "type=str value=<o>"),
    ],
)
def test_values_by_the_admin_socket(asked: Lb, what: str, shown: str) -> None:
    assert asked.admin("set var proc.other str(o)") == "\n"
    assert asked.admin(f"set var proc.x {what}") == "\n"
    assert asked.admin("get var proc.x") == f"proc.x: {shown}\n\n"


@pytest.mark.ours
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("src", "it looks at a connection or a request, and here is none"),
        ("fmt %[src]", "it looks at a connection or a request, and here is none"),
        ("blah", "unknown fetch 'blah'"),
    ],
)
def test_mistakes_by_the_admin_socket(asked: Lb, what: str, message: str) -> None:
    assert message in asked.admin(f"set var proc.x {what}")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lb]:
    settings: Settings = {
        "version": 1,
        "global": {"workers": 1},
        "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app"}},
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }
    lb = Lb(settings, tmp_path_factory.mktemp("lb"))
    yield lb
    lb.settle()
    lb.stop()
