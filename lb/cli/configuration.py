"""`lb check` and `lb config`."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from lb.cli import fail
from lb.config import ConfigError


@contextmanager
def describe_failure() -> Iterator[None]:
    """Turn what stops a command into lines for people and status 1."""
    try:
        yield
    except ConfigError as error:
        fail("\n".join(map(str, error.errors)))


def check(file: str) -> None:
    """Do everything that loading does, host names included, and say so."""
    from lb.config import compile as compile_plan

    with describe_failure():
        compiled = compile_plan(file)
    part = compiled.part
    for warning in compiled.warnings:
        click.echo(f"{warning} (warning)", err=True)
    servers = sum(len(each.servers) for each in part.backends)
    counts = (_count(len(part.frontends), "frontend"), _count(len(part.backends), "backend"), _count(servers, "server"))
    click.echo(f"{file}: configuration is valid ({', '.join(counts)})")


def show(file: str, is_effective: bool, as_json: bool) -> None:
    """Print a configuration as YAML or JSON."""
    import msgspec

    from lb.config import effective, read

    with describe_failure():
        configuration, source = read(file)
    if is_effective:
        data = msgspec.to_builtins(effective(configuration))
    else:
        data = source.expanded
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())
    else:
        from lb.config.yamltext import write

        click.echo(write(data), nl=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
