"""Variables of the process (`proc.`): made by the supervisor, shown and set on the admin socket.

A variable is named by its id, `lb.language.variable.variable_id`; types are those of `lb.language.catalog.Type`.
"""

from lb._speedups.face.mapping import Mapping

PROCESS_CELLS: int
"""Variables that there may be."""
PROCESS_VALUE_MAX: int
"""Bytes of a value."""

def place_variable(mapping: Mapping, number: int, name: str, *, generation: int | None = None) -> bool:
    """Give a variable its place; without a generation it keeps it for good. True: it had none. Raise OSError."""

def read_variable(mapping: Mapping, number: int) -> tuple[int, int, int, bytes, bytes] | None:
    """Return (type, integer, method, text, 16 bytes of address); None: it has no place. Type 0: it is not set."""

def write_variable(
    mapping: Mapping,
    number: int,
    type: int,
    *,
    integer: int = 0,
    method: int = 0,
    text: bytes = b"",
    address: bytes = b"",
) -> bool:
    """Set a variable that has a place. False: it has none, or the value is too long."""

def evaluate(mapping: Mapping, image: bytes, *, is_format: bool = False) -> tuple[int, int, int, bytes, bytes] | None:
    """Return the value of the first expression, or of the first format, of a plan, as read_variable() does; None: nothing is there.

    Nothing but the process is there to look at. Raise ValueError for an image without one.
    """

def variable_names(mapping: Mapping) -> list[str]:
    """Return the names of all variables that have a place."""
