"""Regular expressions on the way through: what they cost at most, and what becomes of them over reloads."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import eventually
from kit.inprocess import InProcess
from kit.settings import LOOPBACK

import lb
from lb._speedups.face.engine import Engine
from lb._speedups.face.mapping import Mapping
from lb._speedups.face.regex import is_available
from lb.config import compile as compile_configuration

pytestmark = pytest.mark.skipif(not is_available(), reason="lb was built without PCRE2")

BOMB = "/" + "a" * 60 + "!"
PR_SET_MDWE = 65
MDWE_REFUSE_EXEC_GAIN = 1


def settings(rules: list[dict[str, Any]], workers: int = 1) -> dict[str, Any]:
    return {
        "version": 1,
        "global": {"workers": workers},
        "frontends": {
            "web": {"bind": [{"address": LOOPBACK}], "rules": [*rules, {"return": 200}], "default_backend": "app"}
        },
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }


def many(names: list[str]) -> list[dict[str, Any]]:
    return [{"deny": 403, "if": "{ path_reg " + " ".join(f"^/{name}/[0-9]+$" for name in names) + " }"}]


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.ours
def test_a_catastrophic_pattern_holds_no_worker(tmp_path: Path) -> None:
    running = Lb(settings([{"deny": 403, "if": "{ path_reg ^/(a+)+$ }"}]), tmp_path)
    running.expect_stderr(r"worker \d+: regular expressions reached a limit \(\d+ times, '\^/\(a\+\)\+\$' last\)")
    (worker,) = running.workers()
    host, port = running.addresses["web"][0]
    client, other = Client((host, port)), Client((host, port))
    before = cpu_s(worker)
    for _ in range(200):
        assert client.get(BOMB).status == 403  # nobody knows whether it matches
        assert client.get("/aaaa").status == 403
        assert other.get("/b").status == 200
    assert cpu_s(worker) - before < 3
    client.close()
    other.close()
    running.settle()
    running.stop()


@pytest.mark.ours
def test_a_reload_changes_patterns_in_every_worker(tmp_path: Path) -> None:
    running = Lb(settings(many([f"a{i}" for i in range(300)]), workers=2), tmp_path)
    running.expect_stderr("lb: reloaded, generation 2")
    running.expect_stderr(r"missing closing parenthesis, behind its byte 11|lb: error: reload")
    address = running.addresses["web"][0]

    def statuses(path: str) -> set[int]:
        found = set()
        for _ in range(12):  # of either worker
            client = Client(address)
            found.add(client.get(path).status)
            client.close()
        return found

    assert statuses("/a299/7") == {403}
    running.write(settings(many(["("]), workers=2))
    running.send_signal(signal.SIGHUP)
    eventually(lambda: "missing closing parenthesis" in running.stderr(), "the refusal")
    assert statuses("/a299/7") == {403}
    running.write(settings(many([f"b{i}" for i in range(300)]), workers=2))
    running.send_signal(signal.SIGHUP)
    eventually(lambda: "generation 2" in running.stderr(), "the reload")
    assert statuses("/a299/7") == {200}
    assert statuses("/b299/7") == {403}
    running.settle()
    running.stop()


@pytest.mark.ours
def test_a_reload_compiles_only_what_is_new(tmp_path: Path) -> None:
    ours = InProcess(settings(many(["a", "b", "c"])), tmp_path)
    assert ours.ask(ours.engine.regexes)["compiled"] == 3
    ours.reload(settings(many(["c", "b", "d"])))
    seen = ours.ask(ours.engine.regexes)
    assert (seen["compiled"], seen["patterns"]) == (4, 3)
    client = Client(ours.addresses["web"][0])
    assert [client.get(path).status for path in ("/a/1", "/b/1", "/d/1")] == [200, 403, 403]
    ours.reload(settings([]))
    assert client.get("/b/1").status == 200
    assert ours.ask(ours.engine.regexes)["patterns"] == 0
    client.close()
    ours.settle()
    ours.stop()


def test_another_plan_is_compiled_a_little_at_a_time() -> None:
    mapping = Mapping.create()
    engine = Engine(mapping, 1)

    def image(generation: int, rules: list[dict[str, Any]]) -> int:
        compiled = compile_configuration(settings(rules))
        return compiled.image(generation, list(range(1, len(compiled.objects) + 1)), [0] * len(compiled.balances))

    engine.prepare(image(1, many(["x"])))
    assert engine.compile(1)
    engine.prepare(image(2, many([f"very/long/path/(of|no|importance){i}" for i in range(2000)])))
    turns = 1
    while not engine.compile(2):
        turns += 1
    assert turns > 5
    assert engine.regexes()["patterns"] == 2001
    engine.discard(2)
    assert engine.regexes()["patterns"] == 1
    with pytest.raises(ValueError, match="cannot be compiled"):
        engine.compile(2)
    # What is committed before it is ready is finished then.
    engine.prepare(image(3, many([f"y{i}" for i in range(2000)])))
    mapping.generation = 3
    engine.step()
    assert engine.generation == 3
    assert engine.regexes()["patterns"] == 2000
    engine.close()
    mapping.close()


def test_lb_inside_another_loop_has_them_too() -> None:
    async def status(running: Any, path: str) -> bytes:
        host, _, port = running.addresses["web"][0].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer.split()[1]

    def given(names: list[str]) -> dict[str, Any]:
        made = settings(many(names))
        made["global"] = {"workers": 0, "log": []}
        made["frontends"]["web"]["bind"] = ["127.0.0.1:0"]
        return made

    async def main() -> None:
        async with lb.running(given(["a"])) as running:
            assert await status(running, "/a/1") == b"403"
            await running.reload(given([f"b{i}" for i in range(1000)]))
            assert await status(running, "/a/1") == b"200"
            assert await status(running, "/b999/1") == b"403"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_without_jit_it_only_takes_longer() -> None:
    """As under systemd's MemoryDenyWriteExecute."""
    if ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0:  # PR_GET_MDWE
        pytest.skip("the kernel cannot forbid it")
    script = f"""
import ctypes
assert ctypes.CDLL(None).prctl({PR_SET_MDWE}, {MDWE_REFUSE_EXEC_GAIN}, 0, 0, 0) == 0
from lb._speedups.face.regex import Regex, RegexLimit
regex = Regex(b"(a+)+$")
assert not regex.is_jit
assert regex.search(b"xaa")[0] == (1, 3)
try:
    regex.search(b"a" * 60 + b"!")
except RegexLimit:
    print("limited")
"""
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "limited\n"
