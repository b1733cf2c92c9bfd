"""Actions that rewrite a head by regular expressions, and normalizers of its target."""

from collections.abc import Callable
from typing import NamedTuple

from lb.config.actions import check
from lb.config.actions.context import Made, RuleContext
from lb.config.actions.number import Action
from lb.config.diagnostic import Path
from lb.config.suggestion import did_you_mean
from lb.language.error import LanguageError
from lb.language.expression import ARG_INT, ARG_REGEX, Arg
from lb.language.regex import check_references, check_regex


class Normalizer(NamedTuple):
    """A number of NORMALIZE_*, and the word that makes it firm."""

    number: int
    firm: str = ""


NORMALIZERS = {
    "path-merge-slashes": Normalizer(1),
    "path-strip-dot": Normalizer(2),
    "path-strip-dotdot": Normalizer(3, "full"),
    "percent-decode-unreserved": Normalizer(4, "strict"),
    "percent-to-uppercase": Normalizer(5, "strict"),
    "query-sort-by-name": Normalizer(6),
    "fragment-strip": Normalizer(7),
    "fragment-encode": Normalizer(8),
}


def field(action: str, number: Action) -> Callable[[RuleContext, object], Made]:
    """Return the function of an action with a name, a regular expression, and what the value becomes."""

    def made(rule: RuleContext, given: object) -> Made:
        assert isinstance(given, tuple)
        name, regex, text = given
        return Made(number, [rule.name((action, 0), name), *_replacement(rule, action, 1, regex, text)])

    return made


def line(action: str, number: Action) -> Callable[[RuleContext, object], Made]:
    """Return the function of an action with a regular expression, and what this part of the request line becomes."""

    def made(rule: RuleContext, given: object) -> Made:
        assert isinstance(given, tuple)
        regex, text = given
        return Made(number, _replacement(rule, action, 0, regex, text))

    return made


def set_uri(rule: RuleContext, given: object) -> Made:
    """`set_uri: format`."""
    assert isinstance(given, str)
    return Made(Action.SET_URI, [rule.text(("set_uri",), given, check.uri)])


def normalize_uri(rule: RuleContext, given: object) -> Made:
    """`normalize_uri: name`, or `name full`, `name strict`."""
    assert isinstance(given, str)
    name, *words = given.split()
    path: Path = ("normalize_uri",)
    if name not in NORMALIZERS:
        rule.wrong(path, f"'normalize_uri': unknown normalizer '{name}'", did_you_mean(name, NORMALIZERS))
        return Made(Action.NORMALIZE_URI, [])
    number, firm = NORMALIZERS[name]
    if words and words != [firm]:
        rule.wrong(
            path,
            f"'normalize_uri': unknown word '{' '.join(words)}' behind '{name}'",
            f"write '{name} {firm}' or '{name}'" if firm else "nothing follows it",
        )
    return Made(Action.NORMALIZE_URI, [Arg(ARG_INT, number), Arg(ARG_INT, int(bool(words)))])


def _replacement(rule: RuleContext, action: str, at: int, regex: str, text: str) -> list[Arg]:
    path: Path = (action, at)
    try:
        pattern = check_regex(regex, 0)
    except LanguageError as error:
        rule.wrong(path, f"'{action}': {error}", error.hint)
        pattern = b""
    return [Arg(ARG_REGEX, 0, pattern), rule.text((action, at + 1), text, _references)]


def _references(text: bytes) -> str:
    try:
        check_references(text.decode("utf-8", "surrogateescape"), 0)
    except LanguageError as error:
        return str(error).removeprefix(f"'{text.decode('utf-8', 'replace')}' ")
    return ""
