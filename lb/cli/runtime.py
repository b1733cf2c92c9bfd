"""Talking to a running lb over its admin socket: `lb reload`, `lb ctl`."""

import contextlib
import os
import socket
import stat

import click

from lb.cli import SOCKET, fail
from lb.cli.configuration import describe_failure

# A reload of 100,000 routes, read by a busy machine; the supervisor itself gives up after 120 s.
TIMEOUT_S = 150.0

# What HAProxy's Runtime API says instead of a status.
REFUSALS = ("Permission denied", "Unknown command")


def path_of(given: str | None, file: str | None) -> str:
    """Return the admin socket's path: as given, of the configuration, or where packages put it."""
    if given is not None:
        return given
    if file is None:
        return os.environ.get("LB_SOCKET", SOCKET)
    from msgspec import UNSET

    from lb.config import load

    with describe_failure():
        admin = load(file).global_.admin
    if admin is UNSET:
        fail(f"{file}: global: no admin socket is given; write 'admin: {{path: {SOCKET}}}' and start lb with it")
    return admin.path.removeprefix("unix@")


def ask(path: str, command: str) -> str:
    """Send one line of commands and return the whole answer; end the program when nobody answers."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(path)
            connection.sendall(command.encode() + b"\n")
            pieces = []
            while piece := connection.recv(65536):
                pieces.append(piece)
        except FileNotFoundError:
            fail(f"admin socket '{path}': there is none; is lb running? say where it is with --socket or -f")
        except ConnectionRefusedError:
            # The kernel says the same of a file that is no socket at all.
            if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
                fail(f"admin socket '{path}': is not a socket; give the path of 'global.admin.path', or -f")
            fail(f"admin socket '{path}': nobody listens; lb is not running")
        except PermissionError:
            fail(f"admin socket '{path}': permission denied; its mode is set by 'global.admin.mode'")
        except TimeoutError:
            fail(f"admin socket '{path}': no answer within {TIMEOUT_S:.0f} s")
        except OSError as error:
            fail(f"admin socket '{path}': {(error.strerror or str(error)).lower()}")
    return b"".join(pieces).decode(errors="replace")


def control(path: str, words: tuple[str, ...]) -> None:
    """Send a command and print the answer as it is; status 1 if it was refused."""
    answer = ask(path, " ".join(words)).rstrip("\n")
    if answer.startswith(REFUSALS):
        fail(answer)
    if answer:
        click.echo(answer)


def reload(path: str) -> None:
    """Have the configuration read anew; what was said about it goes to standard error if it is refused."""
    answer = ask(path, "reload").strip("\n")
    verdict, _, rest = answer.partition("\n--\n")
    if verdict == "Success=1":
        click.echo(rest.strip("\n") or "reloaded")
        return
    fail(
        rest.strip("\n")
        if verdict == "Success=0" and rest.strip("\n")
        else answer or "lb ended the connection without an answer"
    )
