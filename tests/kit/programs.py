"""Real programs as peers: started on loopback in a directory of their own, and taken down by the stage."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from kit.deadline import DEADLINE, eventually
from kit.stage import Stage


def own_environment() -> dict[str, str]:
    """Return this process's environment without the sanitizers' libraries, which are lb's business alone."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def need(program: str) -> str:
    """Return the path of a program; skip the test where it is not installed."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def run(*command: str, seconds: float = DEADLINE, check: bool = True) -> str:
    """Run a program to its end and return what it printed."""
    ended = subprocess.run(
        [need(command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        env=own_environment(),
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    text = ended.stdout.decode(errors="replace")
    if check:
        assert ended.returncode == 0, f"{command} ended with {ended.returncode}: {text}{ended.stderr.decode()}"
    return text


def free_port() -> int:
    """Return a port that nobody uses now, for programs that cannot be given port 0."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answers(port: int) -> bool:
    """Tell whether somebody listens."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def start(stage: Stage, *command: str, port: int) -> str:
    """Start a server program in the stage's directory and return its address once it listens."""
    log = (stage.directory / f"{Path(command[0]).name}.out").open("wb")
    process = subprocess.Popen(
        [need(command[0]), *command[1:]],
        cwd=stage.directory,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=own_environment(),
    )
    log.close()

    def end() -> None:
        process.terminate()
        process.wait(DEADLINE)

    stage.defer(end)
    eventually(lambda: process.poll() is not None or answers(port), f"{command[0]} to listen")
    assert process.poll() is None, f"{command} ended: {Path(log.name).read_text()}"
    return f"127.0.0.1:{port}"


NGINX = """
{user}
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.error;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  keepalive_requests 100000;
  server {{
    listen 127.0.0.1:{port}; root {directory}/www;
    location = /hello {{ return 200 "hello from nginx"; }}
  }}
}}
"""


def nginx(stage: Stage) -> str:
    """Start nginx: `/hello`, and the files of `www` in the stage's directory."""
    port = free_port()
    (stage.directory / "www").mkdir(exist_ok=True)
    config = stage.directory / "nginx.conf"
    # Its workers must be able to read a directory that is root's alone.
    user = "user root;" if os.getuid() == 0 else ""
    config.write_text(NGINX.format(user=user, directory=stage.directory, port=port))
    return start(stage, "nginx", "-c", str(config), "-e", str(stage.directory / "nginx.error"), port=port)


def redis(stage: Stage) -> str:
    """Start a Redis that keeps nothing."""
    port = free_port()
    return start(
        stage, "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", port=port
    )
