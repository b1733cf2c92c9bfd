"""HAProxy from Debian in lb's place: shows that a test demands what both do (LB_TEST_PLANES=haproxy).

Only what the suite's configurations use is translated. Tests of lb's own choices are marked `ours` and left out.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from kit.deadline import DEADLINE, eventually
from kit.log import LogFile
from kit.settings import Settings
from kit.wire import Address


class HaproxyProxy:
    """A running HAProxy; it listens on sockets that it inherits."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.addresses: dict[str, list[Address]] = {}
        self._sockets: list[socket.socket] = []
        self._log = LogFile(directory / "haproxy.log")
        self._stderr = directory / "haproxy.stderr"
        config = directory / "haproxy.cfg"
        config.write_text("\n".join(self._translate(settings)) + "\n")
        with self._log.path.open("wb") as out, self._stderr.open("wb") as err:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[sock.fileno() for sock in self._sockets],
            )
        for sock in self._sockets:
            sock.close()

    def _translate(self, settings: Settings) -> list[str]:
        process = settings.get("global", {})
        defaults = settings.get("defaults", {})
        timeouts = {"connect": "5s", "client": "30s", "server": "30s", **defaults.get("timeouts", {})}
        lines = ["global", " log stdout format raw local0", f" nbthread {process.get('workers') or 1}"]
        if "maxconn" in process:
            lines.append(f" maxconn {process['maxconn']}")
        lines += ["defaults", " log global", " option splice-auto", " option abortonclose", " option http-no-delay"]
        lines += [f" retries {defaults.get('retries', 3)}", " option redispatch 1"]
        lines += [f" timeout {name.replace('_', '-')} {value}" for name, value in timeouts.items()]
        for name, frontend in settings["frontends"].items():
            lines += [f"frontend {name}", *self._frontend(name, frontend)]
        for name, backend in settings.get("backends", {}).items():
            lines += [f"backend {name}", *self._backend(settings, name, backend)]
        return lines

    def _frontend(self, name: str, frontend: Settings) -> list[str]:
        mode = frontend.get("mode", "http")
        lines = [f" mode {mode}", f" option {mode}log"]
        for _bind in frontend["bind"]:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
            sock.listen(128)
            self._sockets.append(sock)
            self.addresses.setdefault(name, []).append(sock.getsockname())
            lines.append(f" bind fd@{sock.fileno()}")
        if frontend.get("forwarded_for", False) is not False:
            lines.append(_forwardfor({} if frontend["forwarded_for"] is True else frontend["forwarded_for"]))
        if "monitor" in frontend:
            lines.append(f" monitor-uri {frontend['monitor']}")
        if "http_connection" in frontend:
            words = {"close": "httpclose", "keep-alive": "http-keep-alive", "server-close": "http-server-close"}
            lines.append(f" option {words[frontend['http_connection']]}")
        if "maxconn" in frontend:
            lines.append(f" maxconn {frontend['maxconn']}")
        lines += [f" timeout {k.replace('_', '-')} {v}" for k, v in frontend.get("timeouts", {}).items()]
        for route in sorted(frontend.get("routes", []), key=_specificity, reverse=True):
            match = route["match"]
            tests = []
            if "host" in match:
                tests.append(f"{{ req.hdr(host),field(1,:),lower -m str {match['host'].lower()} }}")
            if "path" in match:
                how = "path_beg" if match["path"].endswith("*") else "path"
                tests.append(f"{{ {how} {match['path'].removesuffix('*')} }}")
            lines.append(f" use_backend {route['to']}" + (f" if {' '.join(tests)}" if tests else ""))
        if "default_backend" in frontend:
            lines.append(f" default_backend {frontend['default_backend']}")
        return lines

    def _backend(self, settings: Settings, name: str, backend: Settings) -> list[str]:
        modes = {f.get("mode", "http") for f in settings["frontends"].values() if name in _backends_of(f)}
        lines = [
            f" mode {backend.get('mode') or (modes or {'http'}).pop()}",
            *_balance(backend.get("balance", "roundrobin")),
            f" http-reuse {backend.get('http_reuse', 'always')}",
        ]
        if "http_connection" in backend:
            lines.append(f" option http-{backend['http_connection']}")
        if backend.get("allbackups"):
            lines.append(" option allbackups")
        if "retries" in backend:
            lines.append(f" retries {backend['retries']}")
        lines += [f" timeout {k.replace('_', '-')} {v}" for k, v in backend.get("timeouts", {}).items()]
        for i, server in enumerate(backend["servers"], 1):
            entry: dict[str, Any] = server if isinstance(server, dict) else {"address": server}
            lines.append(
                f" server {entry.get('name', f's{i}')} {entry['address']} weight {entry.get('weight', 1)}"
                + (" backup" if entry.get("backup") else "")
            )
        return lines

    def log_lines(self) -> list[str]:
        """Return the access log so far."""
        return self._log.lines()

    def settle(self) -> None:
        """Do nothing: what HAProxy keeps is its own affair."""

    def stop(self) -> None:
        """End it."""
        eventually(lambda: self._process.poll() is None, "HAProxy runs: " + self._stderr.read_text(), 0.1)
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)


def _forwardfor(options: Settings) -> str:
    words = [" option forwardfor"]
    words += [f"except {network}" for network in options.get("except", [])]
    if "name" in options:
        words.append(f"header {options['name']}")
    if options.get("mode") == "if_none":
        words.append("if-none")
    return " ".join(words)


def _balance(given: str | Settings) -> list[str]:
    balance: Settings = given if isinstance(given, dict) else {"algorithm": given}
    words = [balance["algorithm"]]
    if words == ["random"]:
        words = [f"random({balance.get('draws', 2)})"]
    elif words == ["hdr"]:
        words = [f"hdr({balance['name']})"]
    elif words == ["url_param"]:
        words.append(balance["name"])
    elif words == ["hash"]:
        words.append(balance["key"])
    words += [f"{word} {balance[word]}" for word in ("len", "depth") if word in balance]
    for word in ("whole", "path_only", "use_domain_only"):
        if balance.get(word):
            words.append("use_domain_only" if word == "use_domain_only" else word.replace("_", "-"))
    lines = [" balance " + " ".join(words)]
    if "type" in balance or "hash" in balance:
        words = [balance.get("type", "map-based"), balance.get("hash", "")]
        lines.append(" hash-type " + " ".join(words) + (" avalanche" if balance.get("avalanche") else ""))
    if "bound" in balance:
        lines.append(f" hash-balance-factor {balance['bound'].removesuffix('%')}")
    return lines


def _specificity(route: Settings) -> tuple[bool, int, bool]:
    match = route["match"]
    path = match.get("path", "")
    return "host" in match, len(path.removesuffix("*")), bool(path) and not path.endswith("*")


def _backends_of(frontend: Settings) -> set[str]:
    return {frontend.get("default_backend", ""), *(route["to"] for route in frontend.get("routes", []))}


class HaproxyPlane:
    """Runs tests on HAProxy."""

    name = "haproxy"
    bulk = 10 << 20
    is_lb = False

    def start(self, settings: Settings, directory: Path) -> HaproxyProxy:
        """Start HAProxy on a translated configuration."""
        return HaproxyProxy(settings, directory)
