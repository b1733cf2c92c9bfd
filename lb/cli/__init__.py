"""The command line: `lb run`, `lb check`, `lb stats` ...

Exit status: 0 fine, 1 a configuration or run-time error (told in one clear line each), 2 wrong usage.

Nothing but click is imported until a command needs it: `lb version` and `lb check` are called from hooks and editors, where
every 50 ms count.
"""

import sys
from typing import NoReturn

import click

# Where packages put the admin socket; what `lb reload` and its like try when neither socket nor file is given.
SOCKET = "/run/lb/admin.sock"

_FILE = click.option(
    "-f", "--file", "file", metavar="FILE", required=True, help="The configuration: YAML, TOML or JSON by its ending."
)
_SOCKET = click.option(
    "-s", "--socket", "path", metavar="PATH", help=f"The admin socket (else LB_SOCKET, else {SOCKET})."
)
_SOCKET_FILE = click.option(
    "-f", "--file", "file", metavar="FILE", help="The configuration that names the admin socket."
)


def fail(message: str) -> NoReturn:
    """End with status 1 and a line on standard error."""
    click.echo(message, err=True)
    sys.exit(1)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from lb import __version__

        click.echo(f"lb {__version__}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def main() -> None:
    """Load balancer and API gateway."""


@main.command()
@_FILE
@click.option("--ready-fd", type=int, default=-1, hidden=True, help="Write a line of JSON here once it serves.")
def run(file: str, ready_fd: int) -> None:
    """Start lb and serve until it is told to stop."""
    from lb.supervisor.run import main as serve

    sys.exit(serve(file, ready_fd))


@main.command()
@_FILE
def check(file: str) -> None:
    """Tell whether a configuration is valid; every error at once."""
    from lb.cli import configuration

    configuration.check(file)


@main.command()
@_FILE
@click.option("--effective", is_flag=True, help="Fill in every default, inherited value and made name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of YAML.")
def config(file: str, effective: bool, as_json: bool) -> None:
    """Print a valid configuration, as written or as it takes effect."""
    from lb.cli import configuration

    configuration.show(file, effective, as_json)


@main.command()
@click.option("-f", "-c", "--file", "file", metavar="FILE", required=True, help="The configuration.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request.")
@click.option("--source", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The client's address.")
@click.option("--frontend", metavar="NAME", help="The frontend, whatever the URL's port.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("words", nargs=-1, required=True, metavar="[METHOD] URL")
def explain(
    file: str, headers: tuple[str, ...], source: str, frontend: str | None, as_json: bool, words: tuple[str, ...]
) -> None:
    """Tell what would become of a request: listener, route, backend and server, or why none."""
    from lb.cli import explanation

    if len(words) > 2:
        raise click.UsageError(f"a method and a URL are expected, not {len(words)} words")
    method, url = ("GET", *words)[-2:]
    question = explanation.Question(method, url, headers, source, frontend)
    sys.exit(explanation.explain(file, question, as_json))


@main.command()
def schema() -> None:
    """Print the JSON Schema of configurations, for editors."""
    from lb.model.schema import schema_json

    click.echo(schema_json())


@main.command()
def version() -> None:
    """Print the version."""
    from lb import __version__

    click.echo(f"lb {__version__}")


@main.command()
def doctor() -> None:
    """Look at the machine: kernel, Python, limits, optional libraries."""
    from lb.cli.machine import examine

    sys.exit(examine())


@main.command()
@click.option("--root", metavar="DIR", default="/", help="Write below this directory: for images and packages.")
@click.option("--program", metavar="PATH", help="The lb that the service runs (else this one).")
@click.option("--socket", "with_socket", is_flag=True, help="Also a socket unit: systemd holds port 80.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say what would be written.")
def install(root: str, program: str | None, with_socket: bool, is_dry: bool) -> None:
    """Make lb a systemd service: unit, user, example configuration."""
    from lb.cli.installation import install as write

    write(root, program, with_socket, is_dry)


@main.command()
@_SOCKET
@_SOCKET_FILE
def reload(path: str | None, file: str | None) -> None:
    """Have a running lb read its configuration anew."""
    from lb.cli import runtime

    runtime.reload(runtime.path_of(path, file))


@main.command()
@_SOCKET
@_SOCKET_FILE
@click.option("--json", "as_json", is_flag=True, help="Print every column as JSON.")
@click.option("--watch", "watches", is_flag=True, help="Show the table live until Ctrl-C.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between two looks."
)
def stats(path: str | None, file: str | None, as_json: bool, watches: bool, interval: float) -> None:
    """Show the counters of a running lb."""
    from lb.cli import runtime
    from lb.cli import statistics as counters

    where = runtime.path_of(path, file)
    if as_json:
        click.echo(counters.as_json(counters.read(where)))
    elif watches:
        counters.watch(where, interval)
    else:
        counters.show(where)


@main.command(context_settings={"ignore_unknown_options": True})
@_SOCKET
@_SOCKET_FILE
@click.argument("command", nargs=-1, required=True)
def ctl(path: str | None, file: str | None, command: tuple[str, ...]) -> None:
    """Send a command of the Runtime API, such as `show info`, and print the answer."""
    from lb.cli import runtime

    runtime.control(runtime.path_of(path, file), command)
