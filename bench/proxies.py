"""The proxies that are compared, each as its own users would tune it.

The same for all: one worker or thread, pinned to core 0; keep-alive to the
server; X-Forwarded-For; an access log of the same content; timeouts that no run
reaches. Each class writes a configuration and returns the command line.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from bench.backend import addresses, nginx_temp, nginx_user
from bench.datagrams import wait_for_answer
from bench.machine import (
    LOAD_CORE,
    PROXY_CORE,
    BenchError,
    Process,
    Stage,
    free_port,
    need,
    wait_for_reply,
)
from bench.routes import haproxy_map, lb_routes, nginx_map
from bench.rules import HAPROXY_LOG, TABLE_HAPROXY, TABLE_LB, haproxy_rules, lb_rules
from bench.scenarios import Scenario

ROOT = Path(__file__).resolve().parent.parent
_STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def count_lines(path: Path) -> int:
    """Count lines of a file that may be larger than memory."""
    with path.open("rb") as f:
        return sum(piece.count(b"\n") for piece in iter(lambda: f.read(1 << 20), b""))


class Proxy(Protocol):
    name: str
    modes: tuple[str, ...]  # what it can do
    has_rules: bool  # and those of `bench/rules.py`
    stop_signal: int

    def version(self) -> str: ...

    def prepare(self, stage: Stage, folder: Path, scenario: Scenario, port: int, server: int, fds: int) -> list[str]:
        """Write what the proxy reads into `folder`; return its command line."""
        ...

    def log_records(self, folder: Path) -> int:
        """Count the access log records of a proxy that has been stopped."""
        ...


class Lb:
    name = "lb"
    modes: tuple[str, ...] = ("http", "tcp", "udp")
    has_rules: bool = True
    stop_signal: int = signal.SIGINT  # stop now; SIGTERM would drain

    @staticmethod
    def program() -> str:
        given = os.environ.get("LB_BIN")
        path = Path(given) if given else ROOT / ".venv" / "bin" / "lb"
        if not path.exists():
            raise BenchError(f"lb: {path} not found; run `make build` or set LB_BIN")
        return str(path)

    def version(self) -> str:
        answer = subprocess.run([self.program(), "version"], capture_output=True, text=True, timeout=30, check=False)
        return (answer.stdout or answer.stderr).strip().splitlines()[0]

    def prepare(self, stage: Stage, folder: Path, scenario: Scenario, port: int, server: int, fds: int) -> list[str]:
        forwarded = "    forwarded_for: true\n" if scenario.mode == "http" else ""
        ends = "" if scenario.half_close else "    half_close: false\n"
        rules, table, log = (lb_rules(), TABLE_LB, "json") if scenario.rules else ("", "", "haproxy")
        routes = lb_routes(scenario.routes, "servers")
        answers = "    udp: {responses: 1}\n" if scenario.mode == "udp" else ""
        balance = {
            "": "",
            "leastconn": "    balance: leastconn\n",
            "consistent": "    balance: {algorithm: uri, whole: true, type: consistent}\n",
        }[scenario.balance]
        servers = "".join(f'      - "{address}:{server}"\n' for address in addresses(scenario.servers))
        (folder / "lb.yaml").write_text(
            f"""\
version: 1
global:
  workers: 1
  admin: {{path: {folder}/admin.sock}}
  log: [{{to: "{folder}/access.log", format: {log}}}]
defaults:
  timeouts: {{connect: 5s, client: 10m, server: 10m, http_request: 1m, http_keep_alive: 10m, tunnel: 1h}}
{table}frontends:
  bench:
    mode: {scenario.mode}
    bind: [{{address: "127.0.0.1:{port}"}}]
{forwarded}{ends}{rules}{routes}    default_backend: servers
backends:
  servers:
    mode: {scenario.mode}
{answers}{balance}    servers:
{servers}"""
        )
        return [self.program(), "run", "-f", str(folder / "lb.yaml")]

    def log_records(self, folder: Path) -> int:
        return count_lines(folder / "access.log")


class LbEmbedded(Lb):
    """lb's engine in one process (`lb.running`), by the interpreter beside the program `lb`."""

    def prepare(self, stage: Stage, folder: Path, scenario: Scenario, port: int, server: int, fds: int) -> list[str]:
        super().prepare(stage, folder, scenario, port, server, fds)
        python = Path(self.program()).with_name("python")
        if not python.exists():
            raise BenchError(f"lb: {python} not found; LB_BIN must stand beside its Python")
        return [str(python), "-P", str(ROOT / "bench" / "embedded.py"), str(folder / "lb.yaml")]


class Haproxy:
    name = "haproxy"
    modes: tuple[str, ...] = ("http", "tcp")  # its community edition balances no datagrams
    has_rules: bool = True
    stop_signal: int = signal.SIGTERM

    @staticmethod
    def program() -> str:
        return os.environ.get("HAPROXY_BIN") or need("haproxy", "apt-get install haproxy")

    def version(self) -> str:
        text = subprocess.run([self.program(), "-v"], capture_output=True, text=True, timeout=30, check=False).stdout
        found = re.search(r"version (\S+)", text)
        return found[1] if found else "unknown"

    def log_target(self, stage: Stage, folder: Path) -> str:
        """Start a socket like /dev/log, which most of its users log to; return where it is."""
        sink = folder / "log"
        argv = [sys.executable, str(ROOT / "bench" / "logsink.py"), str(sink)]
        stage.start("logsink", [*argv, str(folder / "log.count")], LOAD_CORE)
        return str(sink)

    def prepare(self, stage: Stage, folder: Path, scenario: Scenario, port: int, server: int, fds: int) -> list[str]:
        target = self.log_target(stage, folder)
        http = "    option forwardfor\n    http-reuse always\n" if scenario.mode == "http" else ""
        rules, table, log = haproxy_rules(), TABLE_HAPROXY, f"log-format '{HAPROXY_LOG}'"
        if not scenario.rules:
            rules, table, log = "", "", f"option {scenario.mode}log"
        routes = ""
        if scenario.routes:
            (folder / "hosts.map").write_text(haproxy_map(scenario.routes, "servers"))
            routes = f"    use_backend %[req.hdr(host),lower,map({folder}/hosts.map,servers)]\n"
        balance = {
            "": "",
            "leastconn": "    balance leastconn\n",
            "consistent": "    balance uri whole\n    hash-type consistent\n",
        }[scenario.balance]
        servers = "".join(
            f"    server s{number} {address}:{server}\n"
            for number, address in enumerate(addresses(scenario.servers), 1)
        )
        (folder / "haproxy.cfg").write_text(
            f"""\
global
    nbthread 1
    maxconn {fds}
    no strict-limits
    log {target} local0
defaults
    mode {scenario.mode}
    log global
    {log}
    # Measured: a third less CPU for 1 MiB than splice-auto or none.
    option splice-response
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    timeout http-request 1m
    timeout http-keep-alive 10m
{http}frontend bench
    bind 127.0.0.1:{port} backlog 4096
    maxconn {fds}
{rules}{routes}    default_backend servers
{table}backend servers
{balance}{servers}"""
        )
        return [self.program(), "-db", "-f", str(folder / "haproxy.cfg")]

    def log_records(self, folder: Path) -> int:
        return int((folder / "log.count").read_text())


class HaproxyFile(Haproxy):
    """HAProxy with `log stdout` into a file, as in containers.

    Cheaper than the socket, but each line is a write that may block its only
    thread. To be named in `--peers`, for who wants to know what the socket costs.
    """

    name = "haproxy-file"

    def log_target(self, stage: Stage, folder: Path) -> str:
        return "stdout format raw"

    def log_records(self, folder: Path) -> int:
        return count_lines(folder / f"{self.name}.out")


class Nginx:
    name = "nginx"
    modes: tuple[str, ...] = ("http", "tcp", "udp")
    has_rules: bool = False  # no counters by key that rules could ask
    stop_signal: int = signal.SIGTERM

    @staticmethod
    def program() -> str:
        return os.environ.get("NGINX_BIN") or need("nginx", "apt-get install nginx-light")

    def version(self) -> str:
        text = subprocess.run([self.program(), "-v"], capture_output=True, text=True, timeout=30, check=False).stderr
        return text.strip().rpartition("/")[2]

    def prepare(self, stage: Stage, folder: Path, scenario: Scenario, port: int, server: int, fds: int) -> list[str]:
        body = {"http": self._http, "tcp": self._stream, "udp": self._datagrams}[scenario.mode]
        routes = nginx_map(scenario.routes, "servers") if scenario.routes else ""
        module = ""
        if scenario.mode != "http":
            if not _STREAM_MODULE.exists():
                raise BenchError(f"nginx: {_STREAM_MODULE} not found; apt-get install libnginx-mod-stream")
            module = f"load_module {_STREAM_MODULE};\n"
        (folder / "nginx.conf").write_text(
            f"""\
{module}daemon off;
{nginx_user()}worker_processes 1;
worker_rlimit_nofile {fds};
pid nginx.pid;
error_log stderr error;
events {{ worker_connections {fds}; multi_accept on; }}
"""
            + body(port, _upstream(scenario, server), routes)
        )
        return [self.program(), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"]

    def log_records(self, folder: Path) -> int:
        return count_lines(folder / "access.log")

    @staticmethod
    def _http(port: int, upstream: str, routes: str) -> str:
        target = "$target" if routes else "servers"
        return f"""\
http {{
    access_log access.log combined buffer=64k flush=1s;
    tcp_nodelay on;
    keepalive_timeout 10m;
    keepalive_requests 1000000000;
{nginx_temp()}
{routes}    upstream servers {{
{upstream}        keepalive 2048;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://{target};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            # Measured best of seven ways for 16 KiB and 1 MiB, no worse for 64 bytes.
            proxy_buffering off;
            proxy_buffer_size 32k;
            proxy_buffers 8 32k;
            proxy_busy_buffers_size 64k;
        }}
    }}
}}
"""

    @staticmethod
    def _stream(port: int, upstream: str, _routes: str) -> str:
        return f"""\
stream {{
    log_format tcp '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received '
                   '$session_time "$upstream_addr" "$upstream_connect_time"';
    access_log access.log tcp buffer=64k flush=1s;
    tcp_nodelay on;
    proxy_timeout 10m;
    proxy_buffer_size 128k;
    upstream servers {{
{upstream}    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass servers;
    }}
}}
"""

    @staticmethod
    def _datagrams(port: int, upstream: str, _routes: str) -> str:
        return f"""\
stream {{
    log_format udp '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received '
                   '$session_time "$upstream_addr" "$upstream_connect_time"';
    access_log access.log udp buffer=64k flush=1s;
    proxy_timeout 10m;
    upstream servers {{
{upstream}    }}
    server {{
        listen 127.0.0.1:{port} udp;
        proxy_responses 1;
        proxy_pass servers;
    }}
}}
"""


def _upstream(scenario: Scenario, server: int) -> str:
    """Return nginx's algorithm and servers, which all its modules word alike."""
    balance = {
        "": "",
        "leastconn": "        least_conn;\n",
        "consistent": "        hash $request_uri consistent;\n",
    }[scenario.balance]
    return balance + "".join(f"        server {address}:{server};\n" for address in addresses(scenario.servers))


PROXIES: dict[str, Proxy] = {p.name: p for p in (Lb(), Haproxy(), HaproxyFile(), Nginx())}
USUAL = ("lb", "haproxy", "nginx")  # who must be in a run for its figures to be quoted


def can(proxy: Proxy, scenario: Scenario) -> bool:
    """Return whether a proxy can do what a scenario asks."""
    return scenario.mode in proxy.modes and (proxy.has_rules or not scenario.rules)


def start_proxy(
    stage: Stage, proxy: Proxy, scenario: Scenario, server: int, fds: int, wrap: tuple[str, ...] = ()
) -> tuple[Process, int]:
    """Start `proxy` on core 0 before the server at port `server`; return it and its port.

    `wrap` goes before the command (valgrind); such a start gets more patience.
    """
    port = free_port()
    folder = stage.folder(proxy.name)
    argv = [*wrap, *proxy.prepare(stage, folder, scenario, port, server, fds)]
    process = stage.start(proxy.name, argv, PROXY_CORE, proxy.stop_signal)
    patience = 120 if wrap else 60
    if scenario.mode == "udp":
        wait_for_answer(process, port, patience)
    else:
        wait_for_reply(process, port, scenario.path, scenario.size, patience)
    return process, port
