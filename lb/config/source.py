"""One configuration as it was given: a file or a Python mapping, its data and the lines of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from os import PathLike, fspath
from pathlib import Path as FilePath

from lb.config.diagnostic import ConfigError, Diagnostic, Finding
from lb.config.marks import Mark, Problem, ReadError

# Ten times the size of a configuration of 100,000 routes.
SIZE_MAX = 128 * 1024 * 1024


class Format(StrEnum):
    """How a configuration is written."""

    YAML = "yaml"
    TOML = "toml"
    JSON = "json"
    MAPPING = "mapping"


_FORMATS = {".yaml": Format.YAML, ".yml": Format.YAML, ".toml": Format.TOML, ".json": Format.JSON}


@dataclass(slots=True)
class Source:
    """A configuration that was read but not yet understood; `expanded` is its data with variables put in."""

    file: str
    format: Format
    text: str
    data: object
    expanded: object = None
    _marks: Mark | None = field(default=None, repr=False)

    def line_of(self, finding: Finding) -> int:
        """Return the line that a finding is about; 0 for a Python mapping."""
        if self.format is Format.MAPPING:
            return 0
        if self._marks is None:
            self._marks = _read(self.format, self.text)[1]
        return self._marks.line_of(finding.path, finding.at_key)

    def error(self, findings: list[Finding]) -> ConfigError:
        """Return the error with a line for every finding, in the order of the file."""
        diagnostics = [
            Diagnostic(self.file, self.line_of(each), each.subject, each.message, each.hint) for each in findings
        ]
        return ConfigError(sorted(dict.fromkeys(diagnostics), key=lambda each: each.line))


def open_source(given: str | PathLike[str] | Mapping[str, object]) -> Source:
    """Read a file (by its ending: .yaml, .yml, .toml, .json; else YAML) or take a mapping; raise ConfigError."""
    if isinstance(given, Mapping):
        return Source("configuration", Format.MAPPING, "", dict(given))
    file = fspath(given)
    form = _FORMATS.get(FilePath(file).suffix.lower(), Format.YAML)
    text = _text(file, form)
    try:
        return Source(file, form, text, _decode(form, text))
    except ReadError as error:
        raise ConfigError([_diagnostic(file, form, each) for each in error.problems]) from None


def _text(file: str, form: Format) -> str:
    if FilePath(file).suffix.lower() == ".cfg":
        raise _file_error(
            file, "a haproxy.cfg is known but not built yet", "write the configuration as YAML, TOML or JSON"
        )
    try:
        with open(file, "rb") as stream:
            raw = stream.read(SIZE_MAX + 1)
    except IsADirectoryError:
        raise _file_error(file, "is a directory", "give one file") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _file_error(file, f"cannot be read: {reason}", "give the path of a readable file") from None
    if len(raw) > SIZE_MAX:
        raise _file_error(file, f"is larger than {SIZE_MAX} bytes", "")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = Problem(line, f"byte 0x{raw[error.start]:02x} is not UTF-8", "save the file as UTF-8")
        raise ConfigError([_diagnostic(file, form, problem)]) from None


def _file_error(file: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Diagnostic(file, 0, "file", message, hint)])


def _diagnostic(file: str, form: Format, problem: Problem) -> Diagnostic:
    return Diagnostic(file, problem.line, form.value, problem.message, problem.hint)


def _decode(form: Format, text: str) -> object:
    # Each reader is imported only when its format is met.
    if form is Format.JSON:
        from lb.config import jsontext

        return jsontext.decode(text)
    if form is Format.TOML:
        from lb.config import tomltext

        return tomltext.decode(text)
    from lb.config import yamltext

    return yamltext.decode(text)


def _read(form: Format, text: str) -> tuple[object, Mark]:
    if form is Format.JSON:
        from lb.config import jsontext

        return jsontext.read(text)
    if form is Format.TOML:
        from lb.config import tomltext

        return tomltext.read(text)
    from lb.config import yamltext

    return yamltext.read(text)
