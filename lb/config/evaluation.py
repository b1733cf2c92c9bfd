"""One expression or format alone in a plan image: what the admin socket sets variables to."""

from lb.config.plan import Rows
from lb.language.catalog import Needs
from lb.language.error import LanguageError
from lb.language.expression import Names, parse
from lb.language.format import parse_format
from lb.language.program import Program


def image_of(text: str, variables: dict[int, str], *, is_format: bool = False) -> bytes:
    """Return an image whose first expression, or format, is this one; `variables` are those known. Raise LanguageError."""
    from lb._speedups.face.plan import build

    names = Names({}, {}, {}, variables=variables)
    program = Program()
    made = parse_format(text, names) if is_format else parse(text, names)
    if made.needs is not Needs.NOTHING:
        raise LanguageError(
            "it looks at a connection or a request, and here is none", 1, "such as 'int(5)' or 'str(text)'"
        )
    if is_format:
        program.format(parse_format(text, names))
    else:
        program.expression(parse(text, names))
    if program.rows.regexes:
        raise LanguageError("regular expressions are not possible here", 1, "let a rule set the variable")
    rows = Rows(0, 0, [], [], [], [], [], program=program.rows)
    return build(1, rows, [0], [])
