"""From a file or mapping to a configuration, or to every reason why not."""

import os
from collections.abc import Mapping
from os import PathLike

import msgspec

from lb.config.diagnostic import Finding
from lb.config.environment import Expansion
from lb.config.source import Format, Source, open_source
from lb.model import Configuration

# Set in the environment of tests: lets binds and servers carry `debug`.
DEBUG_VARIABLE = "LB_DEBUG_CONFIG"


def load(given: str | PathLike[str] | Mapping[str, object], environ: Mapping[str, str] | None = None) -> Configuration:
    """Return the configuration in a file or mapping, as written; raise ConfigError with every error."""
    return read(given, environ)[0]


def read(
    given: str | PathLike[str] | Mapping[str, object], environ: Mapping[str, str] | None = None
) -> tuple[Configuration, Source]:
    """Return the configuration with its source, which knows the lines; raise ConfigError with every error."""
    surroundings = os.environ if environ is None else environ
    source = open_source(given)
    data, findings = _expanded(source, surroundings)
    source.expanded = data
    debug = surroundings.get(DEBUG_VARIABLE) == "1"
    if findings:
        raise source.error(findings + _mistakes(data, debug, {each.path for each in findings}))
    try:
        configuration = msgspec.convert(data, Configuration)
    except (msgspec.ValidationError, RecursionError) as error:
        raise source.error(_mistakes(data, debug, set()) or [Finding((), "configuration", str(error))]) from None
    from lb.config.meaning import Review

    wrong = Review(configuration, debug).findings
    if wrong:
        raise source.error(wrong)
    return configuration, source


def _expanded(source: Source, environ: Mapping[str, str]) -> tuple[object, list[Finding]]:
    if source.data is None:
        return {}, []
    if source.format is not Format.MAPPING and "${" not in source.text and "\\" not in source.text:
        return source.data, []
    expansion = Expansion(source.data, environ)
    if expansion.paths:
        from lb.config.shape import retype
        from lb.config.yamltext import plain

        return retype(expansion.data, expansion.paths, plain), expansion.findings
    return expansion.data, expansion.findings


def _mistakes(data: object, debug: bool, unset: set[tuple[str | int, ...]]) -> list[Finding]:
    """Return everything wrong with the shape, and with the meaning of what has the right shape."""
    from lb.config.meaning import Review, unrelated
    from lb.config.shape import Examination

    examination = Examination(data, debug)
    gone = examination.gone | unset
    findings = [each for each in examination.findings if each.path not in unset]
    try:
        rest = msgspec.convert(examination.rest, Configuration)
    except msgspec.ValidationError:
        return findings
    return findings + list(unrelated(Review(rest, debug).findings, gone, examination.original))
