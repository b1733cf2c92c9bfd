"""The door to what a head says about its client (policy/forwarding.pxd). Not in the release build."""

def parse(text: bytes, strict: bool) -> tuple[str, int] | None:
    """Read an address with or without port; `strict` as RFC 7239 has it."""

def is_id(text: bytes) -> bool:
    """Tell whether this can be a request id."""

class Judge:
    """The first frontend of a plan image, which forwards something, and one head at a time."""

    def __init__(self, image: bytes) -> None:
        """Keep a copy; raise ValueError if plan_check refuses it, LookupError for a frontend that forwards nothing."""

    def read(self, head: bytes) -> None:
        """Take a whole request head; raise ValueError if it is none."""

    def client(self) -> tuple[str, int] | None:
        """Return the address and port of the client that a trusted peer names."""

    def client_many(self, times: int) -> float:
        """Return the ns that one such answer takes, over `times` of them."""

    def sweep(self, trusted: bool) -> tuple[list[tuple[bytes, bytes]], int, int]:
        """Delete what must not reach servers: the fields left, the kinds kept, the field of the request id + 1."""

    def loops(self) -> bool:
        """Tell whether Via names us."""
