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


def fail(message: str) -> NoReturn:
    """End with status 1 and a line on standard error."""
    click.echo(message, err=True)
    sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Load balancer and API gateway."""


@main.command()
@_FILE
def run(file: str) -> None:
    """Start lb and serve until it is told to stop."""
    from importlib import import_module

    from lb.cli.configuration import describe_failure

    with describe_failure():
        sys.exit(import_module("lb.supervisor.run").main(file))


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
