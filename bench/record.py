"""Results as files: what was measured, on what, with which programs.

One JSON file a scenario and day in `bench/results/`. The file holds every run,
also those that do not count and why; the medians in it can be worked out again.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.stats import median, spread

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def machine() -> dict[str, Any]:
    """Describe the machine without its name."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.M)
    return {
        "cpu": cpu[1].strip() if cpu else platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_mib": int(memory[1]) // 1024 if memory else 0,
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"


def commit() -> str:
    """Return the short commit, with `+` when lb's sources differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    head = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return head + ("+" if git("status", "--porcelain", "--", "lb", "setup.py") else "")


def header(scenario: str, versions: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return {
        "scenario": scenario,
        "time": now.isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions,
        "settings": settings,
    }


def summary(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return medians and spreads over the runs that count."""
    good = [run for run in runs if not run["refused"]]
    if not good:
        return {"counted": 0}
    cpu = [run["cpu_us"] for run in good]
    rps = [run["rps"] for run in good]
    return {
        "counted": len(good),
        "cpu_us": round(median(cpu), 3),
        "cpu_spread": round(spread(cpu), 4),
        "rps": round(median(rps), 1),
        "rps_spread": round(spread(rps), 4),
    }


def ratios(figures: dict[str, float]) -> dict[str, float]:
    """Return each proxy's figure over that of lb's best peer (lower is better).

    Without lb there is nothing to compare with its peers, and without peers
    nothing to compare lb with: then the answer is empty.
    """
    peers = {name: value for name, value in figures.items() if name != "lb"}
    if "lb" not in figures or not peers:
        return {}
    answer = {name: round(figures["lb"] / value, 3) for name, value in peers.items()}
    answer["better peer"] = round(figures["lb"] / min(peers.values()), 3)
    return answer


def save(result: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['time'][:10]}-{result['scenario']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def load_latest(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the newest result of each scenario."""
    latest: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        known = latest.get(result["scenario"])
        if known is None or known["time"] <= result["time"]:
            latest[result["scenario"]] = result
    return latest
