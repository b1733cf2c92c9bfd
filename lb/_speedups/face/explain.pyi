"""What the data plane decides about one request, asked without a connection."""

from lb._speedups.face.mapping import Mapping

class Explainer:
    """A plan and one request at a time."""

    def __init__(self, image: bytes) -> None:
        """Keep a copy of a plan image; raise ValueError for what is none."""

    def read(self, head: bytes) -> tuple[int, str] | None:
        """Read a request head, for the calls below; return the status and reason if it is refused."""

    def is_plain(self, frontend: int) -> bool:
        """Whether the path may be judged: it has no dot segments, or they are kept."""

    def target(self) -> bytes:
        """Return the request's target, as rules have left it."""

    def rules(
        self, frontend: int, backend: int, address: bytes, mapping: Mapping
    ) -> tuple[str, int, int, int, tuple[int, int] | None]:
        """Run the request rules of a frontend, or with `backend` >= 0 of that backend, editing the request.

        Return "done", "verdict", "error" (500) or "bad" (400); the rule that decided, its action and status; and what
        `use_backend`, in a backend `use_server`, chose: its index and the rule's; the index is -1 if no backend has the name that a rule makes.
        """

    def route(self, frontend: int) -> tuple[int | None, str, list[tuple[int, int | None]]]:
        """Return the route's index (None = none), the methods that would have found one, and the routes that were passed over.

        Each of those has host and path right, and comes with the number of the condition that did not hold, None for its
        methods.
        """

    def backend(self, route: int, address: bytes) -> int | None:
        """Return the backend's index by a route, None if it is drawn for each request.

        `address` is the client's, 4 or 16 bytes. ValueError if the route leads to an answer.
        """

    def key(self, backend: int, address: bytes) -> int | None:
        """Return the hash of the key by which the backend chooses; None if it has none, or the request does not bring it."""
