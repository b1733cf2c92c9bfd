"""Variables of the process in the mapping: they have their places before a plan that names them."""

from __future__ import annotations

from collections.abc import Sequence

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.variables import PROCESS_CELLS, place_variable
from lb.supervisor.generation import NoRoom


def place(mapping: Mapping, variables: Sequence[tuple[int, str]], generation: int) -> None:
    """Give every variable its place, which it keeps over reloads. Raise NoRoom."""
    for number, name in variables:
        try:
            place_variable(mapping, number, name, generation=generation)
        except OSError as error:
            raise NoRoom(
                f"no room in the shared mapping for variable '{name}'; at most {PROCESS_CELLS} of the process are possible "
                f"({error.strerror})"
            ) from error
