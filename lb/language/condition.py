"""ACLs and conditions: `src 10.0.0.0/8`, `{ path_beg /api } !internal || local` (manual 7.1, 7.2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lb.config.suggestion import did_you_mean, nearest
from lb.language.catalog import (
    ALIASES,
    CASTS,
    DERIVED,
    FETCHES,
    MATCH_OF_TYPE,
    MATCH_TAKES,
    PREDEFINED,
    Match,
    Needs,
    Type,
)
from lb.language.error import LanguageError
from lb.language.expression import Expression, Names, parse
from lb.language.pattern import Set, compile_set
from lb.language.words import Word, split

TERM_NOT = 1
TERM_OR = 2


@dataclass(frozen=True, slots=True)
class Test:
    """An expression and what it is compared with: a `test_t`."""

    expression: Expression
    set: Set
    files: tuple[Set, ...] = ()  # alternatives


@dataclass(frozen=True, slots=True)
class Term:
    """One ACL in a condition; its tests are alternatives."""

    tests: tuple[Test, ...]
    flags: int


@dataclass(frozen=True, slots=True)
class Condition:
    """Alternatives of terms that must all hold."""

    terms: tuple[Term, ...]
    needs: Needs


def parse_test(text: str, names: Names) -> Test:
    """Compile one definition of an ACL: expression, flags, patterns."""
    return _test(split(text), names, "an ACL")


def parse_condition(text: str, acls: Mapping[str, tuple[Test, ...]], names: Names) -> Condition:
    """Compile a condition; `acls` are those that it may name."""
    words = split(text)
    if not words:
        raise LanguageError("the condition is empty", 1, "write an ACL's name, or '{ expression patterns }'")
    terms: list[Term] = []
    flags = 0
    wants = True  # a term is due
    i = 0
    while i < len(words):
        word = words[i]
        if not word.is_quoted and word.text in ("or", "||"):
            if wants:
                raise LanguageError(f"a term is missing before '{word.text}'", word.at)
            flags, wants = TERM_OR, True
            i += 1
            continue
        name = word.text
        begin = word.at
        while not word.is_quoted and name.startswith("!"):
            flags ^= TERM_NOT
            name = name[1:]
            begin += 1
        if not name:
            i += 1
            if i >= len(words):
                raise LanguageError("a term is missing behind '!'", word.at)
            word = words[i]
            name, begin = word.text, word.at
        if name == "{" and not word.is_quoted:
            end = next((k for k in range(i + 1, len(words)) if words[k].text == "}" and not words[k].is_quoted), None)
            if end is None:
                raise LanguageError("'{' is not closed", word.at, "a '}' that stands alone ends it")
            tests: tuple[Test, ...] = (_test(words[i + 1 : end], names, "'{ }'", word.at),)
            i = end
        else:
            tests = _named(name, begin, acls, names)
        terms.append(Term(tests, flags))
        flags, wants = 0, False
        i += 1
    if wants:
        raise LanguageError(f"a term is missing behind '{words[-1].text}'", words[-1].at)
    needs = max((test.expression.needs for term in terms for test in term.tests), default=Needs.NOTHING)
    return Condition(tuple(terms), needs)


def _named(name: str, at: int, acls: Mapping[str, tuple[Test, ...]], names: Names) -> tuple[Test, ...]:
    if name in acls:
        return acls[name]
    if name in PREDEFINED:
        return (parse_test(PREDEFINED[name], names),)
    if name in ("{", "}"):
        raise LanguageError(f"'{name}' is not expected here", at)
    if name.startswith("{"):
        raise LanguageError(f"'{name}' is one word", at, "a blank belongs behind '{' and before '}'")
    if name in ("and", "AND", "&&"):
        raise LanguageError(f"'{name}' is not written", at, "terms that must all hold stand one after the other")
    if _is_expression(name):
        raise LanguageError(f"unknown ACL '{name}'", at, f"an expression stands in braces: '{{ {name} ... }}'")
    near = nearest(name, [*acls, *PREDEFINED])
    if near is not None:
        raise LanguageError(f"unknown ACL '{name}'", at, f"did you mean '{near}'?")
    defined = f"defined are {', '.join(acls)}" if acls else "define it under 'acls'"
    raise LanguageError(f"unknown ACL '{name}'", at, f"{defined}, or write an expression: '{{ path_beg /admin }}'")


def _is_expression(text: str) -> bool:
    """Say whether someone wrote an expression where the name of an ACL belongs."""
    name = _underived(text, 1)[0].partition("(")[0].partition(",")[0]
    return name in FETCHES or name in ALIASES


def _test(words: list[Word], names: Names, what: str, at: int = 1) -> Test:
    if not words:
        raise LanguageError(f"{what} is empty", at, "write an expression and patterns, such as 'src 10.0.0.0/8'")
    first = words[0]
    text, method = _underived(first.text, first.at)
    expression = parse(text, names, first.at)
    ignore_case = False
    files: list[Word] = []
    is_map = False
    identity: Word | None = None
    is_ended = False  # by `--`: what follows are patterns, whatever they look like
    i = 1
    while i < len(words) and words[i].text.startswith("-") and not words[i].is_quoted:
        flag = words[i].text
        if flag == "--":
            is_ended = True
            i += 1
            break
        if flag == "-m":
            if i + 1 >= len(words):
                raise LanguageError("a method is missing behind '-m'", words[i].at)
            method = _method(words[i + 1])
            i += 2
        elif flag == "-i":
            ignore_case = True
            i += 1
        elif flag == "-f":
            if i + 1 >= len(words):
                raise LanguageError("a file is missing behind '-f'", words[i].at)
            files.append(words[i + 1])
            i += 2
        elif flag == "-M":
            is_map = True
            i += 1
        elif flag == "-u":
            if i + 1 >= len(words):
                raise LanguageError("a number is missing behind '-u'", words[i].at)
            identity = words[i + 1]
            i += 2
        elif flag == "-n":
            i += 1  # addresses are never looked up by name here
        elif method in (Match.INT, Match.LEN) or expression.type is Type.SINT:
            break  # a negative number
        else:
            raise LanguageError(
                f"unknown flag '{flag}'", words[i].at, "known: -m, -i, -n, -f, -M, -u, and -- before patterns"
            )
    is_group = method is None and _asks_group(expression)
    is_version = method is None and [each.code for each in expression.ops] == [FETCHES["req.ssl_ver"].code]
    if method is None:
        method = MATCH_OF_TYPE.get(expression.type)
        if method is None:
            raise LanguageError(
                f"{expression.type} values need a matching method", first.at, "write '-m found', '-m str', '-m bin'..."
            )
    if MATCH_TAKES[method] not in CASTS[expression.type]:
        raise LanguageError(
            f"'-m {method.name.lower()}' compares {MATCH_TAKES[method]} values, and '{first.text}' gives {expression.type}",
            first.at,
        )
    for each in words[i:] if not is_ended else ():
        if each.text in ("-i", "-m", "-f", "-M", "-u") and not each.is_quoted:
            raise LanguageError(
                f"'{each.text}' stands behind patterns", each.at, "flags come first; quote it if it is a pattern"
            )
    patterns = words[i:]
    if method is Match.REG or is_group:
        # Each worker compiles these when it takes a plan, or they are put together here: they do not change meanwhile.
        if is_map or identity is not None:
            what = "groups of users" if is_group else "regular expressions"
            raise LanguageError(f"{what} do not change at run time: '-M' and '-u' are not built for them", first.at)
        if files and names.files.folder is None:
            return Test(expression, Set(method, 0, MATCH_TAKES[method]))
        patterns = [each for file in files for each in names.files.patterns(file)] + patterns
        files = []
    if is_group:
        patterns = _members(expression, patterns, names, first.at)
    if is_version:
        patterns = [replace(each, text=_versions(each.text)) for each in patterns]
    if is_map and not files:
        raise LanguageError("'-M' belongs to a file", first.at, "write '-f' and its name")
    try:
        sets = [
            _elsewhere(method, names.files.use(each, method, is_map=is_map, ignore_case=ignore_case, user="acl"))
            for each in files
            if _takes_patterns(method, each)
        ]
        if identity is not None:
            if _takes_patterns(method, identity):
                sets.insert(0, _elsewhere(method, names.files.inline(patterns, identity, method, ignore_case)))
        elif patterns or not files:
            sets.insert(0, compile_set(method, ignore_case, patterns))
        return Test(expression, sets[0], tuple(sets[1:]))
    except LanguageError as error:
        raise error if error.at else error.moved(first.at) from None


def _asks_group(expression: Expression) -> bool:
    return len(expression.ops) == 1 and expression.ops[0].code == FETCHES["http_auth_group"].code


def _members(expression: Expression, groups: list[Word], names: Names, at: int) -> list[Word]:
    """Return the users of groups: what `http_auth_group` gives is a user's name."""
    (argument,) = expression.ops[0].args
    known = next(each.groups for each in names.userlists.values() if each.index == argument.number)
    if not groups:
        raise LanguageError(
            "'http_auth_group' needs the name of a group", at, "such as 'http_auth_group(staff) admins'"
        )
    members: dict[str, Word] = {}
    for each in groups:
        if each.text not in known:
            raise LanguageError(f"unknown group '{each.text}'", each.at, did_you_mean(each.text, known))
        for user in known[each.text]:
            members[user] = replace(each, text=user)
    return list(members.values())


def _takes_patterns(method: Match, word: Word) -> bool:
    if method in (Match.FOUND, Match.BOOL):
        raise LanguageError(f"'-m {method.name.lower()}' takes no pattern", word.at)
    return True


def _elsewhere(method: Match, number: int) -> Set:
    return Set(method, 0, MATCH_TAKES[method], reference=number)


def _versions(text: str) -> str:
    """Return versions with a dot as the numbers that they are: `3.1:3.3`."""
    return re.sub(r"(\d{1,5})(?:\.(\d{1,5}))?", lambda found: str(int(found[1]) << 16 | int(found[2] or 0)), text)


def _underived(text: str, at: int) -> tuple[str, Match | None]:
    """Return `path`, beg for `path_beg`: an ending of the fetch's name that says how to match."""
    name = text[: min((k for k in (text.find("("), text.find(",")) if k >= 0), default=len(text))]
    base, underscore, ending = name.rpartition("_")
    known = ALIASES.get(name, name)
    if known in FETCHES or not underscore:
        return text, None
    fetch = FETCHES.get(ALIASES.get(base, base))
    if fetch is None or fetch.type is not Type.STR:
        return text, None
    if ending not in DERIVED:
        return text, None
    return base + text[len(name) :], DERIVED[ending]


def _method(word: Word) -> Match:
    try:
        return Match[word.text.upper()]
    except KeyError:
        known = [each.name.lower() for each in Match]
        raise LanguageError(f"unknown matching method '{word.text}'", word.at, did_you_mean(word.text, known)) from None
