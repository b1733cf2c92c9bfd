"""Names of variables: `scope.name`, and the conditions behind one (manual 2.8).

An id is what the plan has for a name: `lb/_speedups/policy/variable.pxd`.
"""

import re
from hashlib import blake2b

from lb.config.suggestion import did_you_mean
from lb.language.error import LanguageError

# Numbers of variable_scope and bits of variable_condition.
SCOPES = {"proc": 1, "sess": 2, "txn": 3, "req": 4, "res": 5}
CONDITIONS = {
    "ifexists": 1 << 0,
    "ifnotexists": 1 << 1,
    "ifempty": 1 << 2,
    "ifnotempty": 1 << 3,
    "ifset": 1 << 4,
    "ifnotset": 1 << 5,
    "ifgt": 1 << 6,
    "iflt": 1 << 7,
}
NAME_MAX = 127
PROCESS_MAX = 1024
"""Variables that scope `proc` may have."""

_NAME = re.compile(r"[A-Za-z0-9_.]+")


def variable_id(name: str, known: dict[int, str], at: int = 1) -> int:
    """Return the id of a variable, and take its name up into those that are known. Raise LanguageError."""
    scope, dot, rest = name.partition(".")
    if scope == "check":
        raise LanguageError(f"variables of checks, such as '{name}', are known but not built yet", at)
    if scope not in SCOPES or not dot or not rest:
        raise LanguageError(
            f"'{name}' is not the name of a variable", at, "it begins with proc., sess., txn., req. or res."
        )
    if not _NAME.fullmatch(rest):
        raise LanguageError(f"variable '{name}' may have letters, digits, '_' and '.' in its name", at)
    if len(name) > NAME_MAX:
        raise LanguageError(f"the name of a variable has {len(name)} bytes; at most {NAME_MAX} are possible", at)
    made = int.from_bytes(blake2b(name.encode(), digest_size=7).digest()) << 8 | SCOPES[scope]
    made = made - (1 << 64) if made >> 63 else made  # as an int64_t
    if known.setdefault(made, name) != name:
        raise LanguageError(f"variables '{name}' and '{known[made]}' cannot be told apart", at, "rename one of them")
    return made


def conditions(words: list[tuple[str, int]]) -> int:
    """Return the bits of conditions such as `ifset`. Raise LanguageError."""
    bits = 0
    for word, at in words:
        if word not in CONDITIONS:
            raise LanguageError(f"unknown condition '{word}'", at, did_you_mean(word, CONDITIONS))
        bits |= CONDITIONS[word]
    return bits


def process_variables(known: dict[int, str]) -> tuple[tuple[int, str], ...]:
    """Return ids and names of scope `proc`, as they were met."""
    return tuple((number, name) for number, name in known.items() if name.startswith("proc."))
