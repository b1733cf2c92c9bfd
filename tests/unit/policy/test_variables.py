"""Variables as rules set and read them, and beside a Python dict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.fork import die_at, together
from kit.rules import NAMES, RESPONSE, expressions, judged

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.variables import (
    PROCESS_CELLS,
    PROCESS_VALUE_MAX,
    place_variable,
    read_variable,
    variable_names,
    write_variable,
)
from lb.language.catalog import Type
from lb.language.error import LanguageError
from lb.language.expression import parse
from lb.language.variable import CONDITIONS, NAME_MAX, SCOPES, process_variables, variable_id


def after(*texts: str, response: bytes | None = None) -> Any:
    """Return the value of the last of expressions that one stream meets in order."""
    stream, numbers = expressions(texts, response=response)
    values = [stream.sample(number)[2] for number in numbers]
    return values[-1]


SEQUENCES: list[tuple[tuple[str, ...], Any]] = [
    (("var(txn.a)",), None),
    (("var(txn.a,none yet)",), b"none yet"),
    (("int(5),set-var(txn.a)",), 5),
    (("int(5),set-var(txn.a)", "var(txn.a)"), 5),
    (("bool(1),set-var(sess.a)", "var(sess.a)"), True),
    (("src,set-var(txn.a)", "var(txn.a)"), "10.1.2.3"),
    (("ipv6(2001:db8::1),set-var(txn.a)", "var(txn.a)"), "2001:db8::1"),
    (("bin(0001ff),set-var(txn.a)", "var(txn.a)"), b"\0\1\xff"),
    (("method,set-var(txn.a)", "var(txn.a)"), b"GET"),
    (("meth(BREW),set-var(txn.a)", "var(txn.a)"), b"BREW"),
    (("str(one),set-var(txn.a)", "str(two),set-var(txn.b)", "var(txn.a)"), b"one"),
    (("str(one),set-var(txn.a)", "str(two),set-var(req.a)", "var(txn.a)"), b"one"),
    (("str(one),set-var(txn.a)", "int(2),set-var(txn.a)", "var(txn.a)"), 2),
    (("str(one),set-var(txn.a)", "str(x),unset-var(txn.a)"), b"x"),
    (("str(one),set-var(txn.a)", "str(x),unset-var(txn.a)", "var(txn.a)"), None),
    # Scopes that are not there.
    (("str(a),set-var(res.a)",), None),
    (("str(a),set-var(res.a)", "var(res.a)"), None),
    (("str(a),set-var(proc.a)",), None),
    (("var(proc.a)",), None),
    # Conditions.
    (("int(1),set-var(txn.a,ifexists)", "var(txn.a)"), None),
    (("int(1),set-var(txn.a,ifnotexists)", "int(2),set-var(txn.a,ifnotexists)", "var(txn.a)"), 1),
    (("int(1),set-var(txn.a)", "int(1),unset-var(txn.a)", "int(2),set-var(txn.a,ifset)", "var(txn.a)"), None),
    (("str(),set-var(txn.a,ifempty)", "var(txn.a)"), b""),
    (("str(x),set-var(txn.a,ifempty)", "var(txn.a)"), None),
    (("int(3),set-var(txn.a,ifempty)", "var(txn.a)"), None),
    (("int(3),set-var(txn.a,ifnotempty)", "var(txn.a)"), 3),
    (("int(5),set-var(txn.a)", "int(3),set-var(txn.a,ifgt)", "var(txn.a)"), 3),
    (("int(5),set-var(txn.a)", "int(3),set-var(txn.a,iflt)", "var(txn.a)"), 5),
    (("int(5),set-var(txn.a)", "str(z),set-var(txn.a,iflt)", "var(txn.a)"), b"z"),
    (("int(5),set-var(txn.a,ifnotset,ifnotempty)", "var(txn.a)"), 5),
    # Operands.
    (("int(7),set-var(txn.n)", "int(1),add(txn.n)"), 8),
    (("str(17),set-var(txn.n)", "int(1),add(txn.n)"), 18),
    (("str(x),set-var(txn.n)", "int(1),add(txn.n)"), 1),
    (("int(1),add(txn.n)",), None),
    (("int(0),set-var(txn.n)", "int(5),div(txn.n)"), 2**63 - 1),
    (("int(0),set-var(txn.n)", "int(5),mod(txn.n)"), 0),
    (("int(6),set-var(txn.n)", "int(3),mul(txn.n),sub(txn.n),and(txn.n),or(txn.n),xor(txn.n)"), 0),
    (("str(abc),set-var(txn.s)", "str(abd),strcmp(txn.s)"), 1),
    (("str(abc),set-var(txn.s)", "str(ab),strcmp(txn.s)"), -1),
    (("str(abc),set-var(txn.s)", "str(abc),strcmp(txn.s)"), 0),
    (("str(abd),strcmp(txn.s)",), None),
    (("str(abc),set-var(txn.s)", "str(abc),secure_memcmp(txn.s)"), True),
    (("str(abc),set-var(txn.s)", "str(abd),secure_memcmp(txn.s)"), False),
    (("str(abc),set-var(txn.s)", "str(ab),secure_memcmp(txn.s)"), False),
    (("int(7),set-var(txn.n)", "str(x),concat(<,txn.n,>)"), b"x<7>"),
    (("str(x),concat(<,txn.n,>)",), b"x<>"),
    (("str(x),concat(<)",), b"x<"),
    (("str(x),concat()",), b"x"),
    (("src,set-var(txn.n)", "str(x),concat(,txn.n)"), b"x10.1.2.3"),
    (("bin(6100ff),set-var(txn.n)", "str(x),concat(<,txn.n,>)"), b"x<a>"),
    # A value made of the variable that it is kept in.
    (("str(abcdefgh),set-var(txn.a)", "var(txn.a),bytes(2),set-var(txn.a)"), b"cdefgh"),
    (("str(abcdefgh),set-var(txn.a)", "var(txn.a),bytes(2),set-var(txn.a)", "var(txn.a)"), b"cdefgh"),
    (("str(abcdefgh),set-var(txn.a)", "var(txn.a),unset-var(txn.a),upper"), b"ABCDEFGH"),
    ((f"str({'x' * 3000}),set-var(txn.a)", "var(txn.a),bytes(0,5),set-var(txn.a),upper"), b"XXXXX"),
    (("str(a),set-var(txn.a)", "var(txn.a),concat(,txn.a,b),set-var(txn.a)", "var(txn.a)"), b"aab"),
]


@pytest.mark.parametrize(("texts", "value"), SEQUENCES, ids=[" | ".join(each)[:60] for each, _ in SEQUENCES])
def test_values(texts: tuple[str, ...], value: Any) -> None:
    assert after(*texts) == value


def test_a_response_ends_req_and_begins_res() -> None:
    assert after("int(1),set-var(res.a)", "var(res.a)", response=RESPONSE) == 1
    assert after("int(1),set-var(req.a)", response=RESPONSE) is None


def test_a_session_outlives_its_streams() -> None:
    stream, (put, put_session, get, get_session) = expressions(
        ["int(1),set-var(txn.a)", "int(2),set-var(sess.a)", "var(txn.a)", "var(sess.a)"]
    )
    stream.sample(put)
    stream.sample(put_session)
    assert (stream.sample(get)[2], stream.sample(get_session)[2]) == (1, 2)
    stream.end()
    assert (stream.sample(get)[2], stream.sample(get_session)[2]) == (None, 2)


def test_actions() -> None:
    verdict, head = judged(
        [
            {"set_var": ["txn.a", "req.hdr(host),field(1,:)"]},
            {"set_var": ["txn.a,ifnotset", "str(other)"]},
            {"set_var": ["txn.none", "req.hdr(none)"]},
            {"set_var_fmt": ["req.who", "%[src]:%[src_port] of %[var(txn.a)]"]},
            {"set_var_fmt": ["req.fixed", "as it is"]},
            {"set_var": ["sess.gone", "int(1)"]},
            {"unset_var": "sess.gone"},
            {"set_header": ["x", "%[var(req.who)]/%[var(sess.gone)]/%[var(txn.none,none)]/%[var(req.fixed)]"]},
            {"deny": 418, "if": "{ var(txn.a) -m str Example.com }"},
        ]
    )
    assert verdict[2] != 0
    assert b"\r\nx: 10.1.2.3:5555 of Example.com//none/as it is\r\n" in (head or b"")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("var(check.a)", "variables of checks"),
        ("var(foo.a)", "'foo.a' is not the name of a variable"),
        ("var(txn.)", "'txn.' is not the name of a variable"),
        ("var(txn)", "'txn' is not the name of a variable"),
        ("var(txn.a-b)", "letters, digits"),
        (f"var(txn.{'a' * NAME_MAX})", "at most 127"),
        ("var", "'var' needs 1 argument"),
        ("int(1),add(x)", "'add' needs a number or a variable, not 'x'"),
        ("int(1),add(txn.)", "'txn.' is not the name of a variable"),
        ("int(1),set-var(txn.a,ifnot)", "unknown condition 'ifnot'"),
        ("int(1),set-var", "'set-var' needs 1 argument"),
        ("str(a),strcmp(x)", "'x' is not the name of a variable"),
        ("str(a),concat(a,b)", "'b' is not the name of a variable"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(LanguageError, match=r".*") as error:
        parse(text, NAMES)
    assert message in str(error.value)


def test_ids_are_told_apart() -> None:
    known: dict[int, str] = {}
    numbers = [variable_id(f"{scope}.{name}", known) for scope in SCOPES for name in ("a", "b", "a.b")]
    assert len(set(numbers)) == len(numbers)
    assert [name for _, name in process_variables(known)] == ["proc.a", "proc.b", "proc.a.b"]
    (number, *_) = numbers
    with pytest.raises(LanguageError, match="cannot be told apart"):
        variable_id("proc.a", {number: "proc.z"})


# ---- of the process ----


@pytest.fixture
def mapping() -> Iterator[Mapping]:
    made = Mapping.create()
    yield made
    made.close()


PROCESS = variable_id("proc.a", {})


def test_a_variable_of_the_process_has_a_place_before_it_has_a_value(mapping: Mapping) -> None:
    assert read_variable(mapping, PROCESS) is None
    assert not write_variable(mapping, PROCESS, Type.SINT, integer=1)
    assert place_variable(mapping, PROCESS, "proc.a", generation=1)
    assert not place_variable(mapping, PROCESS, "proc.a", generation=2)
    assert read_variable(mapping, PROCESS) == (0, 0, 0, b"", bytes(16))
    assert write_variable(mapping, PROCESS, Type.STR, text=b"x" * PROCESS_VALUE_MAX)
    assert (read_variable(mapping, PROCESS) or ())[3] == b"x" * PROCESS_VALUE_MAX
    assert not write_variable(mapping, PROCESS, Type.STR, text=b"x" * (PROCESS_VALUE_MAX + 1))
    assert read_variable(mapping, PROCESS) == (0, 0, 0, b"", bytes(16))  # never what it was before
    assert variable_names(mapping) == ["proc.a"]


def test_names_that_no_generation_has_make_room_for_others(mapping: Mapping) -> None:
    known: dict[int, str] = {}
    numbers = [variable_id(f"proc.v{n}", known) for n in range(PROCESS_CELLS)]
    for number in numbers:
        place_variable(mapping, number, known[number], generation=1)
    write_variable(mapping, numbers[0], Type.SINT, integer=7)
    with pytest.raises(OSError, match=r".*"):
        place_variable(mapping, PROCESS, "proc.a", generation=1)


def test_a_death_between_the_values_leaves_the_old_one(mapping: Mapping) -> None:
    place_variable(mapping, PROCESS, "proc.a", generation=1)
    write_variable(mapping, PROCESS, Type.STR, text=b"old")
    for n in range(3):
        die_at("variable.written", lambda n=n: write_variable(mapping, PROCESS, Type.STR, text=b"new" * (n + 1)))
        found = read_variable(mapping, PROCESS)
        assert found is not None
        assert found[3] == b"old"
    assert write_variable(mapping, PROCESS, Type.STR, text=b"next")
    assert (read_variable(mapping, PROCESS) or ())[3] == b"next"


def test_nobody_reads_half_a_value(mapping: Mapping) -> None:
    place_variable(mapping, PROCESS, "proc.a", generation=1)

    def write(sign: bytes) -> None:
        for n in range(2000):
            write_variable(mapping, PROCESS, Type.STR, text=sign * (1 + n % 3000))

    def read() -> None:
        for _ in range(4000):
            found = read_variable(mapping, PROCESS)
            assert found is not None
            assert len(set(found[3])) <= 1

    together(lambda: write(b"a"), lambda: write(b"b"), read, read)


# ---- beside a dict ----

LIMITS = {"sess": 65536, "txn": 131072, "req": 65536}
HEAD = 192
NAMES_USED = [f"{scope}.{name}" for scope in LIMITS for name in "abc"]
VALUES: list[tuple[str, Any]] = [
    ("int(1)", 1),
    ("int(2)", 2),
    ("bool(1)", True),
    ("src", "10.1.2.3"),
    ("str()", b""),
    ("bin(00)", b"\0"),
    *((f"str({'v' * n})", b"v" * n) for n in (5, 128, 129, 2048, 2049, 9000, 16000)),
]


def cost(value: Any) -> int:
    """Return what a variable takes."""
    size = len(value) if isinstance(value, bytes) else 0
    return HEAD + (0 if size <= 128 else 2048 if size <= 2048 else 16384)


class Step(NamedTuple):
    name: str
    value: int = -1  # of VALUES; -1: unset it
    condition: str = ""


STEPS = st.one_of(
    st.builds(Step, st.sampled_from(NAMES_USED), st.integers(-1, len(VALUES) - 1), st.just("")),
    st.builds(Step, st.sampled_from(NAMES_USED), st.integers(0, len(VALUES) - 1), st.sampled_from([*CONDITIONS])),
)


def is_wanted(condition: str, old: Any, new: Any) -> bool:
    """Return whether a condition of `set-var` holds."""
    if condition in ("ifempty", "ifnotempty"):
        return (new == b"") == (condition == "ifempty")
    if condition in ("ifexists", "ifset"):
        return old is not None
    if condition in ("ifnotexists", "ifnotset"):
        return old is None
    if condition and type(old) is int and type(new) is int:
        return old > new if condition == "ifgt" else old < new
    return True


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=60))
def test_as_a_dict(steps: list[Step]) -> None:
    texts = [
        f"str(u),unset-var({each.name})"
        if each.value < 0
        else f"{VALUES[each.value][0]},set-var({each.name}{',' + each.condition if each.condition else ''})"
        for each in steps
    ]
    stream, numbers = expressions([*texts, *(f"var({name})" for name in NAMES_USED)])
    model: dict[str, Any] = {}
    for step, number in zip(steps, numbers, strict=False):
        answer = stream.sample(number)[2]
        scope = step.name.partition(".")[0]
        if step.value < 0:
            model.pop(step.name, None)
            continue
        value = VALUES[step.value][1]
        if not is_wanted(step.condition, model.get(step.name), value):
            assert answer is None
            continue
        model.pop(step.name, None)
        taken = sum(cost(each) for name, each in model.items() if name.startswith(scope))
        if taken + cost(value) > LIMITS[scope]:
            assert answer is None
            continue
        model[step.name] = value
        assert answer == value
    for name, number in zip(NAMES_USED, numbers[len(steps) :], strict=True):
        assert stream.sample(number)[2] == model.get(name)
    (_, nodes, values, buffers), scopes = stream.kept
    sizes = [len(each) if isinstance(each, bytes) else 0 for each in model.values()]
    assert (nodes, values, buffers) == (
        len(model),
        sum(128 < size <= 2048 for size in sizes),
        sum(size > 2048 for size in sizes),
    )
    for scope in LIMITS:
        assert scopes[SCOPES[scope]] == sum(cost(each) for name, each in model.items() if name.startswith(scope))
    stream.end()
    assert stream.kept[0][1] == sum(name.startswith("sess") for name in model)
