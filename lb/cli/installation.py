"""`lb install`: lb as a systemd service. The units, the user and an example configuration, each as one file.

The texts stand here; `conf/lb.service` and `conf/lb.socket` are what they become for the program /usr/bin/lb, and a test
keeps them so. Nothing that is there is ever written over: what differs is named, and then nothing at all is written.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import NamedTuple

import click

from lb.cli import fail

# The unit hides these from the service (ProtectHome=, PrivateTmp=).
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")

SERVICE = Template("""\
# lb, a load balancer: runs without privileges, may bind low ports, is restarted when it fails.
# A drop-in changes it: systemctl edit lb
[Unit]
Description=lb load balancer
Wants=network-online.target
After=network-online.target nss-lookup.target

[Service]
Type=notify
ExecStart=$program run -f /etc/lb/lb.yaml
# Changes nothing if the file is broken; `systemctl status lb` then says why.
ExecReload=/bin/kill -HUP $$MAINPID
Restart=on-failure
RestartSec=1s
# Fed while every worker beats. lb itself replaces a stuck worker after 11 s.
WatchdogSec=30s
# lb asks for as long as its `grace` when it drains. Should the supervisor die, an immediate restart is worth more than
# the connections that its workers would still serve.
KillMode=mixed
# A worker that the kernel kills for memory is replaced; the others go on.
OOMPolicy=continue
LimitNOFILE=1048576

User=lb
Group=lb
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes

# /run/lb for the admin socket, /var/log/lb for log files; the rest of the system is read-only.
RuntimeDirectory=lb
LogsDirectory=lb
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# AF_NETLINK: the resolver asks which families the machine has.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
""")

SOCKET = """\
# systemd holds the socket: connections wait in it while lb is stopped or restarted, and lb needs no capability for its port.
# In lb.yaml: bind: ["fd@web"]. Each name is a socket unit of its own, with Service=lb.service.
[Unit]
Description=lb load balancer, socket 'web'

[Socket]
# Both IPv4 and IPv6. One socket for all workers.
ListenStream=80
FileDescriptorName=web
Backlog=65535
NoDelay=yes

[Install]
WantedBy=sockets.target
"""

USER = """\
u lb - "lb load balancer" /nonexistent
"""

CONFIGURATION = Template("""\
# lb check -f /etc/lb/lb.yaml tells what is wrong; systemctl reload lb puts a change in force.
version: 1
global:
  admin: {path: /run/lb/admin.sock, mode: "0660"}
  log: [{to: stdout, format: json}] # to the journal
defaults:
  timeouts: {connect: 5s, client: 30s, server: 30s, http_request: 10s, http_keep_alive: 60s}
frontends:
  web:
    mode: http
    bind: ["$bind"]
    forwarded_for: true
    default_backend: app
backends:
  app:
    servers:
      - {name: one, address: "127.0.0.1:8081"}
      - {name: two, address: "127.0.0.1:8082"}
""")

UNITS = "/etc/systemd/system"
USERS = "/etc/sysusers.d/lb.conf"
CONFIGURED = "/etc/lb/lb.yaml"


class File(NamedTuple):
    """A file to write; one that `is_theirs` once it is there is never compared."""

    path: str
    text: str
    is_theirs: bool = False


def files(program: str, with_socket: bool) -> list[File]:
    """Return all that is installed."""
    found = [File(f"{UNITS}/lb.service", SERVICE.substitute(program=program))]
    if with_socket:
        found.append(File(f"{UNITS}/lb.socket", SOCKET))
    bind = "fd@web" if with_socket else ":80"
    return [*found, File(USERS, USER), File(CONFIGURED, CONFIGURATION.substitute(bind=bind), is_theirs=True)]


def install(root: str, program: str | None, with_socket: bool, is_dry: bool) -> None:
    """Write what is missing below `root`, or only say what would be written."""
    top = Path(root)
    if not top.is_dir():
        fail(f"--root '{root}': is not a directory; make it first")
    is_staged = top.resolve() != Path("/")
    if not (is_staged or is_dry) and os.geteuid() != 0:
        fail("lb install writes below /etc and makes a user: run it as root, or with --root DIR, or with --dry-run")
    wanted = files(_program(program), with_socket)
    _refuse_if_different(top, wanted)
    missing = [each for each in wanted if not _below(top, each.path).exists()]
    for each in wanted:
        verb = "there already" if each not in missing else "would write" if is_dry else "writing"
        click.echo(f"{verb}: {_below(top, each.path)}")
    if is_dry:
        return
    _write(top, missing)
    if not is_staged:
        _make_user()
    _tell_what_next(is_staged, with_socket)


def _below(top: Path, path: str) -> Path:
    return top / path.lstrip("/")


def _program(given: str | None) -> str:
    """Return the absolute path of the program for the unit."""
    found = given or shutil.which(sys.argv[0]) or shutil.which("lb")
    if found is None:
        fail("lb is not a program on PATH here: say where the service finds it with --program /path/to/lb")
    path = os.path.abspath(found)
    if any(character.isspace() or character in "\"'\\%$;" for character in path):
        fail(f"program '{path}': a unit takes it only without blanks, quotes and the characters \\ % $ ;")
    for seen in (path, _interpreter(path)):
        for hidden in HIDDEN:
            if seen.startswith(hidden + "/"):
                fail(
                    f"program '{path}': {'it' if seen == path else f'its Python {seen}'} is below {hidden}, which the service "
                    "does not see; install lb elsewhere (/usr/bin/python3 -m venv /opt/lb && /opt/lb/bin/pip install .), "
                    "or give --program"
                )
    return path


def _interpreter(program: str) -> str:
    """Return what really runs a script, such as the Python that a virtual environment was made from; '' if it is none."""
    try:
        with open(program, "rb") as file:
            line = file.readline(4096)
    except OSError:
        return ""  # with --root it may come later
    words = line[2:].split() if line.startswith(b"#!") else []
    return os.path.realpath(os.fsdecode(words[0])) if words else ""


def _refuse_if_different(top: Path, wanted: list[File]) -> None:
    different = []
    for each in wanted:
        path = _below(top, each.path)
        try:
            if not each.is_theirs and (path.is_symlink() or (path.exists() and path.read_text() != each.text)):
                different.append(f"'{path}': is there and is not what lb would write")
        except (OSError, UnicodeDecodeError) as error:
            different.append(f"'{path}': cannot be read: {_reason(error)}")
    if different:
        fail(
            "\n".join([*different, "nothing was written; move it away, or change the service with: systemctl edit lb"])
        )


def _write(top: Path, missing: list[File]) -> None:
    """Write all of these files or none."""
    written: list[Path] = []
    made: list[Path] = []
    for each in missing:
        path = _below(top, each.path)
        try:
            _make_directory(path.parent, made)
            # Only what is not there: nobody's file is replaced and no link followed.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            written.append(path)
            with open(descriptor, "w") as file:
                # Whatever the umask: the service reads its configuration as its own user.
                os.fchmod(descriptor, 0o644)
                file.write(each.text)
        except OSError as error:
            for done in written:
                done.unlink()
            for directory in reversed(made):
                directory.rmdir()
            fail(f"'{path}': cannot be written: {_reason(error)}; nothing was installed")


def _make_directory(path: Path, made: list[Path]) -> None:
    """Make a directory and those above it, whatever the umask; add what was not there to `made`."""
    if path.is_dir():
        return
    _make_directory(path.parent, made)
    path.mkdir()
    made.append(path)
    path.chmod(0o755)


def _make_user() -> None:
    """Make the user that the service runs as, unless there is one."""
    import pwd

    try:
        pwd.getpwnam("lb")
    except KeyError:
        pass
    else:
        click.echo("there already: user lb")
        return
    for command in (
        ["systemd-sysusers", USERS],
        ["useradd", "--system", "--user-group", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "lb"],
    ):
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            click.echo("making: user lb")
            return
        fail(f"user 'lb' cannot be made: {command[0]}: {done.stderr.strip() or done.returncode}; the files are written")
    fail("user 'lb' cannot be made: neither systemd-sysusers nor useradd is here; the files are written")


def _tell_what_next(is_staged: bool, with_socket: bool) -> None:
    if is_staged:
        click.echo("the user is made by: systemd-sysusers (at boot by itself)")
    unit = "lb.socket" if with_socket else "lb"
    click.echo(
        f"now edit {CONFIGURED}, then:\n  lb check -f {CONFIGURED}\n  systemctl daemon-reload\n  systemctl enable --now {unit}"
    )


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
