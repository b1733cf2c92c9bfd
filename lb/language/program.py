"""Rows of a compiled program: flat lists of numbers and bytes, as `lb/_speedups/policy/program.pxd` has them.

Equal parts stand once: an ACL that ten rules name is one row.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

from lb.language.condition import Condition, Test
from lb.language.expression import ARG_REGEX, Arg, Expression
from lb.language.format import Format, Part
from lb.language.pattern import Set

Row = TypeVar("Row")


class RuleRow(NamedTuple):
    """One `rule_t`; `args` were taken up by `Program.arguments`."""

    action: int
    flags: int
    args: int
    nargs: int
    cond: int  # index + 1, 0 = always
    line: int


class SetRow(NamedTuple):
    """One `set_t`, its regular expressions taken up."""

    method: int
    flags: int
    cast: int
    words: tuple[bytes, ...]
    ranges: tuple[tuple[int, int], ...]
    nets4: tuple[tuple[bytes, bytes], ...]
    nets6: tuple[tuple[bytes, bytes], ...]
    regexes: int  # the first
    nregexes: int
    reference: int


class ProgramRows(NamedTuple):
    """All arrays of a program."""

    args: list[Arg]
    ops: list[tuple[int, int, int, int]]  # code, cast, first argument, their number
    exprs: list[tuple[int, int, int]]  # first operation, their number, type
    sets: list[SetRow]
    tests: list[tuple[int, int]]  # expression, set
    acls: list[tuple[int, int]]  # first test, their number
    terms: list[tuple[int, int]]  # ACL, flags
    conds: list[tuple[int, int]]  # first term, their number
    parts: list[tuple[int, int, int, bytes]]  # kind, flags, expression, text
    formats: list[tuple[int, int]]  # first part, their number
    rules: list[RuleRow]
    rulesets: list[tuple[int, int]]  # first rule, their number
    regexes: list[tuple[bytes, int]]  # pattern, flags


class Program:
    """A program being put together."""

    def __init__(self) -> None:
        self.rows = ProgramRows([], [], [], [], [], [], [], [], [], [], [], [], [])
        self._seen: dict[object, int] = {}

    def arguments(self, args: tuple[Arg, ...]) -> int:
        """Take up arguments and return the index of the first."""
        if not args:
            return 0
        args = tuple(replace(each, number=self._acl(each.tests), tests=()) if each.tests else each for each in args)
        return self._once(("args", args), lambda: self._put(self.rows.args, [self._argument(each) for each in args]))

    def _argument(self, arg: Arg) -> Arg:
        return Arg(ARG_REGEX, self.regex(arg.text, arg.number)) if arg.kind == ARG_REGEX else arg

    def regex(self, pattern: bytes, flags: int) -> int:
        """Take up a regular expression."""
        return self._once(("regex", pattern, flags), lambda: self._put(self.rows.regexes, [(pattern, flags)]))

    def expression(self, each: Expression) -> int:
        """Take up an expression."""

        def put() -> int:
            ops = [(op.code, op.cast, self.arguments(op.args), len(op.args)) for op in each.ops]
            self.rows.exprs.append((self._put(self.rows.ops, ops), len(ops), each.type))
            return len(self.rows.exprs) - 1

        return self._once(each, put)

    def condition(self, each: Condition) -> int:
        """Take up a condition."""

        def put() -> int:
            terms = [(self._acl(term.tests), term.flags) for term in each.terms]
            self.rows.conds.append((self._put(self.rows.terms, terms), len(terms)))
            return len(self.rows.conds) - 1

        return self._once(each, put)

    def format(self, each: Format) -> int:
        """Take up a format string."""

        def put() -> int:
            parts = [self._part(part) for part in each.parts]
            self.rows.formats.append((self._put(self.rows.parts, parts), len(parts)))
            return len(self.rows.formats) - 1

        return self._once(each, put)

    def ruleset(self, rules: list[RuleRow]) -> int:
        """Take up the rules of a phase; the index of the set + 1, 0 when there are none."""
        if not rules:
            return 0
        self.rows.rulesets.append((self._put(self.rows.rules, rules), len(rules)))
        return len(self.rows.rulesets)

    def _acl(self, tests: tuple[Test, ...]) -> int:
        def put() -> int:
            rows = [
                (self.expression(test.expression), self._set(each))
                for test in tests
                for each in (test.set, *test.files)
            ]
            self.rows.acls.append((self._put(self.rows.tests, rows), len(rows)))
            return len(self.rows.acls) - 1

        return self._once(tests, put)

    def _set(self, each: Set) -> int:
        def put() -> int:
            first = self._put(self.rows.regexes, list(each.regexes))
            self.rows.sets.append(
                SetRow(
                    each.method,
                    each.flags,
                    each.cast,
                    each.words,
                    each.ranges,
                    each.nets4,
                    each.nets6,
                    first,
                    len(each.regexes),
                    each.reference,
                )
            )
            return len(self.rows.sets) - 1

        return self._once(each, put)

    def _part(self, part: Part) -> tuple[int, int, int, bytes]:
        expression = 0 if part.expression is None else self.expression(part.expression)
        return part.kind, part.flags, expression, part.text

    def _put(self, rows: list[Row], new: list[Row]) -> int:
        rows.extend(new)
        return len(rows) - len(new)

    def _once(self, key: object, put: Callable[[], int]) -> int:
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = put()
        return found
