"""One expression or format alone in a plan image: what variables of the process are set to, by `global` and on the admin socket."""

from collections.abc import Iterator

from lb.language.catalog import Needs
from lb.language.error import LanguageError
from lb.language.expression import Names, parse
from lb.language.format import parse_format
from lb.language.program import Program
from lb.language.variable import variable_id
from lb.model.process import Global


def checked(text: str, variables: dict[int, str], *, is_format: bool = False) -> Program:
    """Return a program whose first expression, or format, is this one; `variables` are those known. Raise LanguageError."""
    names = Names({}, {}, {}, variables=variables)
    program = Program()
    if is_format:
        form = parse_format(text, names)
        needs = form.needs
        program.format(form)
    else:
        expression = parse(text, names)
        needs = expression.needs
        program.expression(expression)
    if needs is not Needs.NOTHING:
        raise LanguageError(
            "it looks at a connection or a request, and here is none", 1, "such as 'int(5)' or 'str(text)'"
        )
    if program.rows.regexes:
        raise LanguageError("regular expressions are not possible here", 1, "let a rule set the variable")
    return program


def image_of(text: str, variables: dict[int, str], *, is_format: bool = False) -> bytes:
    """Return it as an image. Raise LanguageError."""
    from lb._speedups.face.plan import build
    from lb.config.plan import Rows

    rows = Rows(0, 0, [], [], [], [], [], program=checked(text, variables, is_format=is_format).rows)
    return build(1, rows, [0], [])


def process_variable(name: str, variables: dict[int, str]) -> int:
    """Return the id of a variable of the process. Raise LanguageError."""
    number = variable_id(name, variables)
    if not name.startswith("proc."):
        raise LanguageError(f"variable '{name}' is of no process", 1, "write 'proc.' in front of its name")
    return number


def first_values(process: Global) -> Iterator[tuple[str, str, str]]:
    """Yield the keyword, the name and the text of every variable that `global` sets."""
    for keyword, given in (("set_var", process.set_var), ("set_var_fmt", process.set_var_fmt)):
        for name, text in given.items():
            yield keyword, name, text
