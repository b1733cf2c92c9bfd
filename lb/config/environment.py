"""Variables of the environment in values: ``${NAME}``, ``${NAME-default}``, and ``$${`` for a literal ``${``.

Every string value may hold them; keys may not. A variable that is not set and has no default is an error: an empty
address or limit found out at run time is worse.
"""

import re
from collections.abc import Mapping

from lb.config.diagnostic import Finding, Path, line_text
from lb.config.marks import DEPTH_MAX
from lb.config.subject import subject_of

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^}]*)(\}?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:-(.*))?", re.DOTALL)


class Expansion:
    """The data with variables put in, where that happened, and what went wrong."""

    def __init__(self, data: object, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.root = data
        self.paths: list[Path] = []
        self.findings: list[Finding] = []
        self.data = self._value(data, ())

    def _value(self, value: object, path: Path) -> object:
        if type(value) is str:
            return self._text(value, path) if "${" in value else value
        if len(path) > DEPTH_MAX:
            return value
        if isinstance(value, Mapping):
            # A key that is no string is refused later, whatever stands behind it.
            return {
                key: self._value(each, (*path, key)) if isinstance(key, str) else each for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._value(each, (*path, index)) for index, each in enumerate(value)]
        return value

    def _text(self, text: str, path: Path) -> str:
        before = len(self.findings)
        made = _REFERENCE.sub(lambda found: self._put(found, path), text)
        if len(self.findings) == before:
            self.paths.append(path)
        return made

    def _put(self, found: re.Match[str], path: Path) -> str:
        if found[1]:
            return "${"
        inside = _INSIDE.fullmatch(found[2])
        if not found[3] or inside is None:
            self._report(
                path,
                f"'{line_text(found[0])}' is not a variable",
                "write '${NAME}' or '${NAME-default}', and '$${' for a literal '${'",
            )
            return ""
        name, default = inside[1], inside[2]
        value: str | None = self.environ.get(name, default)
        if value is None:
            self._report(path, f"variable '{name}' is not set", f"set it, or write a default: '${{{name}-...}}'")
            return ""
        return value

    def _report(self, path: Path, message: str, hint: str) -> None:
        self.findings.append(Finding(path, subject_of(path, self.root), message, hint))
