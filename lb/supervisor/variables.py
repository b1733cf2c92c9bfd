"""Variables of the process in the mapping: they have their places, and first values, before a plan that names them."""

from __future__ import annotations

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.variables import PROCESS_CELLS, evaluate, place_variable, read_variable, write_variable
from lb.config.part import Part
from lb.supervisor.generation import NoRoom


def place(mapping: Mapping, part: Part, generation: int) -> None:
    """Give every variable its place, which it keeps over reloads, and those without a value their first. Raise NoRoom."""
    for number, name in part.variables:
        try:
            place_variable(mapping, number, name, generation=generation)
        except OSError as error:
            raise NoRoom(
                f"no room in the shared mapping for variable '{name}'; at most {PROCESS_CELLS} of the process are possible "
                f"({error.strerror})"
            ) from error
    for number, image, is_format in part.first_values:
        found = read_variable(mapping, number)
        value = None if found is None or found[0] else evaluate(mapping, image, is_format=is_format)
        if value is not None:
            kind, integer, method, text, address = value
            write_variable(mapping, number, kind, integer=integer, method=method, text=text, address=address)
