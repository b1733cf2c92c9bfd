"""The server behind every proxy: one nginx worker of Debian's package."""

from __future__ import annotations

import os

from bench.machine import LOAD_CORE, Process, Stage, free_port, need, wait_for_reply

BODY = "0123456789abcdef" * 4  # 64 bytes
FILES = {"16k": 16384, "1m": 1048576}

_CONFIG = """\
daemon off;
{user}worker_processes 1;
worker_rlimit_nofile {fds};
pid nginx.pid;
error_log stderr error;
events {{ worker_connections {fds}; multi_accept on; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    open_file_cache max=16 inactive=1h;
    default_type application/octet-stream;
{temp}
    server {{
{listen}
        location = / {{ return 200 "{body}"; }}
        location / {{ root files; }}
    }}
}}
"""


def nginx_user() -> str:
    """Without this the worker of a root master becomes nobody and sees no scratch file."""
    return "user root;\n" if os.geteuid() == 0 else ""


def nginx_temp() -> str:
    """The paths that Debian's build would look for under /var."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n".join(f"    {kind}_temp_path temp_{kind};" for kind in kinds)


def addresses(count: int) -> list[str]:
    """Return so many loopback addresses, 127.0.0.1 first: for proxies, servers of their own."""
    return [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(count)]


def start_backend(stage: Stage, fds: int, servers: int = 1) -> tuple[Process, int]:
    """Start the server on core 1, at so many addresses; return it and its port."""
    nginx = need("nginx", "apt-get install nginx-light")
    port = free_port()
    folder = stage.folder("backend")
    (folder / "files").mkdir()
    for name, size in FILES.items():
        (folder / "files" / name).write_bytes(os.urandom(1024) * (size // 1024))
    listen = "\n".join(f"        listen {address}:{port} backlog=4096;" for address in addresses(servers))
    (folder / "nginx.conf").write_text(
        _CONFIG.format(user=nginx_user(), temp=nginx_temp(), fds=fds, listen=listen, body=BODY)
    )
    argv = [nginx, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"]
    process = stage.start("backend", argv, LOAD_CORE)
    wait_for_reply(process, port, "/", len(BODY), 10)
    return process, port
