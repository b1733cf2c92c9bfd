"""What `balance: {algorithm: hash, key: ...}` can hash: two expressions of HAProxy's sample language so far."""

import re

_KEY = re.compile(r"([a-z_.]+)\(([^()]*)\)")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

BUILT = ("req.hdr", "req.cook")


class HashKeyError(ValueError):
    """Raise for what cannot be hashed; the argument says why, `hint` what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def parse_key(text: str) -> tuple[str, str]:
    """Return the fetch and its argument, such as ("req.hdr", "x-user"); raise HashKeyError."""
    ways = "write 'req.hdr(name)' or 'req.cook(name)'"
    found = _KEY.fullmatch(text.strip())
    if found is None:
        raise HashKeyError("is not a sample expression that is built", ways)
    if found[1] not in BUILT:
        raise HashKeyError(f"begins with '{found[1]}', which is not built yet", ways)
    name = found[2].strip()
    if TOKEN.fullmatch(name) is None or len(name) > 255:
        raise HashKeyError("has no name of a header or cookie between its parentheses", ways)
    return found[1], name
