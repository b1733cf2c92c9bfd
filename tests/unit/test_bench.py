"""The pure parts of the benchmark harness."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from bench import backend, callgrind, idle, load, machine, proxies, record, render, run, stats
from bench.micro import timing
from bench.scenarios import BROWSER_HEADERS, SCENARIOS

WRK = """\
Running 3s test @ http://127.0.0.1:17001/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.93ms  154.02us   4.41ms   91.33%
    Req/Sec    68.39k     1.70k   70.42k    83.33%
  204321 requests in 3.00s, 41.12MB read
Requests/sec:  68101.12
Transfer/sec:     13.70MB
"""

H2LOAD = """\
starting benchmark...
Application protocol: http/1.1

finished in 2.01s, 3972.20 req/s, 1.06MB/s
requests: 7968 total, 7968 started, 7968 done, 7968 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 7968 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 2.12MB (2222222) total, 1.00MB (1048576) headers (space savings 0.00%), 498.00KB (509952) data
"""


def test_wrk_totals_are_read() -> None:
    seen = load.parse_wrk(WRK)
    assert (seen.requests, seen.seconds, seen.refused) == (204321, 3.0, "")
    assert seen.rps == pytest.approx(68107)


def test_minutes_of_wrk_are_seconds() -> None:
    assert load.parse_wrk(WRK.replace("in 3.00s,", "in 1.50m,")).seconds == 90


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("  Socket errors: connect 0, read 2, write 0, timeout 1", "socket errors: read 2, timeout 1"),
        ("  Non-2xx or 3xx responses: 17", "17 replies without 2xx"),
    ],
)
def test_a_run_with_errors_is_refused(line: str, reason: str) -> None:
    assert load.parse_wrk(WRK.replace("Requests/sec", line + "\nRequests/sec")).refused == reason


def test_wrk_without_socket_errors_counts() -> None:
    line = "  Socket errors: connect 0, read 0, write 0, timeout 0\n"
    assert load.parse_wrk(WRK.replace("Requests/sec", line + "Requests/sec")).refused == ""


def test_a_run_without_requests_is_refused() -> None:
    assert load.parse_wrk(WRK.replace("204321", "0")).refused == "no request was answered"


def test_a_report_without_totals_is_an_error() -> None:
    with pytest.raises(machine.BenchError, match="no line of totals"):
        load.parse_wrk("unable to connect to 127.0.0.1:1 Connection refused")
    with pytest.raises(machine.BenchError, match="no totals"):
        load.parse_h2load("")


def test_h2load_totals_are_read() -> None:
    seen = load.parse_h2load(H2LOAD)
    assert (seen.requests, seen.seconds, seen.refused) == (7968, 2.01, "")


def test_h2load_errors_are_refused() -> None:
    text = H2LOAD.replace("0 failed, 0 errored", "3 failed, 2 errored").replace("0 5xx", "4 5xx")
    assert load.parse_h2load(text).refused == "3 failed, 2 errored, 0 timed out; 4 replies without 2xx"


def test_h2load_log_gives_latencies() -> None:
    assert load.parse_h2load_log("1700000000000000\t200\t61\n1700000000000250\t200\t262\n") == [61, 262]


def test_medians() -> None:
    assert stats.median([3, 1, 2]) == 2
    assert stats.median([4, 1, 2, 3]) == 2.5
    with pytest.raises(ValueError, match="no values"):
        stats.median([])


def test_spread_is_a_share_of_the_median() -> None:
    assert stats.spread([9, 10, 12]) == pytest.approx(0.3)
    assert stats.spread([0, 0]) == 0


def test_percentile_is_a_value_that_was_seen() -> None:
    assert stats.percentile(range(1, 101), 0.99) == 99
    assert stats.percentile([7], 0.5) == 7


def test_slope_ignores_what_a_process_costs_by_itself() -> None:
    points = [(float(n), 5_000_000 + 700.0 * n) for n in (2000, 5000, 15000)]
    assert stats.slope(points) == pytest.approx(700)
    with pytest.raises(ValueError, match="two points"):
        stats.slope(points[:1])


def test_cpu_of_a_window_counts_new_processes_and_names_lost_ones() -> None:
    before = machine.Cpu({1: 100, 2: 50}, 0, 0)
    after = machine.Cpu({1: 160, 3: 7}, 0, 0)
    assert after.since(before) == 67
    assert after.lost(before) == [2]


def test_idle_steps_fit_the_descriptor_limit() -> None:
    assert idle.steps_within(20000)[-1] == 15000
    assert idle.steps_within(8192)[-1] == 6000
    with pytest.raises(machine.BenchError, match="ulimit -n"):
        idle.steps_within(1024)


def test_callgrind_totals_are_read() -> None:
    assert callgrind.parse_totals("events: Ir\nfn=(1) main\ntotals: 123456\n") == 123456


def test_calls_under_way_at_a_dump_are_not_the_callers_cost() -> None:
    text = "fn=(1) main\ncfn=(2) loop\ncalls=0 0x1 2\n3 45300603\n4 9\ncalls=2 0x1 2\n5 7\n"
    assert callgrind.without_open_calls(text) == ("fn=(1) main\ncfn=(2) loop\n4 9\ncalls=2 0x1 2\n5 7\n")


def test_browser_sends_nine_headers() -> None:
    assert len(BROWSER_HEADERS) == 9


def test_every_server_has_a_loopback_address_of_its_own() -> None:
    addresses = backend.addresses(1000)
    assert addresses[0] == "127.0.0.1"
    assert len(set(addresses)) == 1000
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses)


@pytest.mark.parametrize(
    ("balance", "lines"),
    [
        ("leastconn", ("balance: leastconn", "balance leastconn", "least_conn;")),
        ("consistent", ("type: consistent", "hash-type consistent", "hash $request_uri consistent;")),
    ],
)
def test_proxies_are_told_the_same_algorithm_and_servers(tmp_path: Path, balance: str, lines: tuple[str, ...]) -> None:
    with machine.Stage() as stage:
        for line, proxy, file in zip(lines, (proxies.Lb, proxies.HaproxyFile, proxies.Nginx), _CONFIGS, strict=True):
            folder = tmp_path / file
            folder.mkdir()
            with contextlib.suppress(machine.BenchError):  # a peer that is not installed still has its configuration
                proxy().prepare(stage, folder, SCENARIOS[f"{balance}-1000"], 1234, 5678, 20000)
            text = (folder / file).read_text()
            assert line in text
            assert text.count(":5678") == 1000


_CONFIGS = ("lb.yaml", "haproxy.cfg", "nginx.conf")


def test_scripts_of_wrk_are_there() -> None:
    scripts = {scenario.script for scenario in SCENARIOS.values()} - {""}
    assert scripts
    assert all((record.ROOT / "bench" / script).is_file() for script in scripts)


def test_what_can_be_quoted_is_saved() -> None:
    assert run._arguments(["h1"]).save
    assert not run._arguments(["h1", "--peers", "lb,nginx"]).save
    assert not run._arguments(["h1", "--rounds", "2"]).save
    assert run._arguments(["h1", "--rounds", "2", "--save"]).save
    assert not run._arguments(["h1", "--no-save"]).save


def test_an_unknown_scenario_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run._arguments(["h3"])
    assert "unknown scenario 'h3'; expected one of h1," in capsys.readouterr().err


def test_timing_divides_by_the_calls_of_a_batch() -> None:
    now = 0

    def repeat(n: int) -> None:
        nonlocal now
        now += 40 * n

    found = timing.time_calls(repeat, batches=3, batch_ns=1000, clock=lambda: now)
    assert (found.ns, found.spread) == (40, 0)
    assert found.calls * 40 >= 1000


def _run(cpu: float, refused: str = "") -> dict[str, Any]:
    return {"cpu_us": cpu, "rps": 1000.0, "strangers": 0.01, "refused": refused}


def _result(lb: float) -> dict[str, Any]:
    runs = {"lb": [_run(lb)], "haproxy": [_run(14.5)], "nginx": [_run(10.0), _run(1.0, "read 3")]}
    peers = {name: {**record.summary(found), "runs": found} for name, found in runs.items()}
    return {
        "scenario": "h1",
        "time": "2026-01-02T03:04:05+00:00",
        "commit": "0123456789ab",
        "machine": {"cpu": "a cpu", "cores": 2, "kernel": "6.1", "system": "Debian"},
        "versions": {"lb": "1", "haproxy": "2.6"},
        "settings": {"rounds": 5, "seconds": 3, "connections": 64, "bar": 0.75},
        "peers": peers,
        "ratios": record.ratios({name: peer["cpu_us"] for name, peer in peers.items()}),
    }


def test_refused_runs_do_not_count() -> None:
    assert record.summary([_run(10.0), _run(1.0, "read 3")])["cpu_us"] == 10
    assert record.summary([_run(1.0, "read 3")]) == {"counted": 0}


def test_ratio_is_against_the_better_peer() -> None:
    assert record.ratios({"lb": 7.0, "haproxy": 14.0, "nginx": 10.0}) == {
        "haproxy": 0.5,
        "nginx": 0.7,
        "better peer": 0.7,
    }
    assert record.ratios({"haproxy": 14.0, "nginx": 10.0}) == {}
    assert record.ratios({"lb": 14.0}) == {}


def test_page_shows_figures_ratio_and_verdict() -> None:
    text = render.page({"h1": _result(7.0)})
    assert "| 7.00 (0%) | 14.50 (0%) | 10.00 (0%) | 0.70 | 0.75 | met |" in text
    assert "missed by 20 %" in render.page({"h1": _result(9.0)})
    assert "`0123456789ab`" in text


def test_page_says_when_a_log_was_lost() -> None:
    result = _result(7.0)
    result["peers"]["haproxy"]["log_kept"] = 0.9
    assert "| 14.50 (0%, lost 10% of its log) |" in render.page({"h1": result})


def test_lines_of_a_log_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"GET /\n" * 300_000)
    assert proxies.count_lines(log) == 300_000


def test_page_shows_a_peer_without_counted_runs_as_a_gap() -> None:
    result = _result(7.0)
    result["peers"]["haproxy"] = {"counted": 0, "runs": [_run(1.0, "read 3")]}
    assert "| 7.00 (0%) | - | 10.00 (0%) |" in render.page({"h1": result})


def test_page_shows_idle_and_instructions() -> None:
    base = {key: _result(7.0)[key] for key in ("time", "commit", "machine", "versions")}
    text = render.page(
        {
            "idle": {
                **base,
                "settings": {"steps": [2000, 15000], "bar": 1024.0},
                "peers": {"lb": {"bytes": 1536}, "nginx": {"bytes": 528}},
            },
            "callgrind": {
                **base,
                "settings": {"scenarios": ["h1"]},
                "peers": {"lb": {"h1": {"instructions": 6543.2}}, "nginx": {}},
            },
        }
    )
    assert "| lb | 1,536 | missed by 50 % |" in text
    assert "| `h1` | 6,543 | - |" in text


def test_page_without_results_says_so() -> None:
    assert "No results yet" in render.page({})


def test_newest_result_of_a_scenario_is_shown(tmp_path: Path) -> None:
    for day, lb in (("2026-01-02", 7.0), ("2026-01-03", 8.0)):
        result = {**_result(lb), "time": f"{day}T00:00:00+00:00"}
        assert record.save(result, tmp_path).name == f"{day}-h1.json"
    assert record.load_latest(tmp_path)["h1"]["peers"]["lb"]["cpu_us"] == 8


def test_committed_page_is_what_the_committed_results_say() -> None:
    assert render.main(["--check"]) == 0


def test_committed_results_name_their_origin() -> None:
    for path in record.RESULTS.glob("*.json"):
        result = json.loads(path.read_text())
        assert result["commit"]
        assert result["versions"]
        assert result["machine"]["cpu"]
        assert result["scenario"] in {*SCENARIOS, "callgrind"}
