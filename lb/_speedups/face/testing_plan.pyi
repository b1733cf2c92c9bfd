from collections.abc import Iterable

ROUTE_HOST_MAX: int

class Plan:
    """A plan image, looked into the way a worker does."""

    def __init__(self, image: bytes) -> None:
        """Keep a copy; raise ValueError unless plan_check is content."""

    @staticmethod
    def is_sound(image: bytes) -> bool:
        """Tell what plan_check says, with the image ending at the end of a heap block."""

    def route(
        self,
        frontend: int,
        authority: bytes,
        path: bytes,
        query: bytes = b"",
        method: bytes = b"GET",
        fields: Iterable[tuple[bytes, bytes]] = (),
    ) -> tuple[int, int, int]:
        """Return the route's index (-1 for none), the methods that would have been allowed, the nodes entered."""

    def allow(self, frontend: int, methods: int, cap: int) -> bytes:
        """Return the value of Allow."""

    @staticmethod
    def is_plain(path: bytes) -> bool:
        """Tell what route_is_plain says."""

    def route_many(self, frontend: int, authority: bytes, path: bytes, times: int) -> float:
        """Return the ns that one lookup takes, over `times` of them."""

    def split(self, number: int, point: int) -> int:
        """Return the backend's index of the share that a point falls into."""

    def split_many(self, number: int, times: int) -> float:
        """Return the ns that this takes."""

    def point(
        self,
        number: int,
        fields: Iterable[tuple[bytes, bytes]] = (),
        family: int = 2,
        address: bytes = ...,
        drawn: int = 0,
    ) -> tuple[int, int]:
        """Return how a client gets its point (SPLIT_*), and the point."""

    def cookie(self, number: int, point: int, cap: int = 1024) -> bytes:
        """Return the value of Set-Cookie, nothing if it does not fit."""

    def is_proxy(self, listener: int, family: int, address: bytes) -> bool:
        """Tell whether connections of this address begin with a PROXY header."""

    def server_by_oid(self, oid: int) -> int | None:
        """Return the index of the server with this object id."""

    def describe(self) -> dict[str, object]:
        """Return everything that the image holds."""

class Netset:
    """A set of networks of its own, in a heap block that ends with it."""

    def __init__(self, v4: bytes, v6: bytes, flags: int) -> None:
        """Keep a copy; raise ValueError unless netset_check is content."""

    def has(self, family: int, address: bytes) -> bool:
        """Tell whether the set holds an address in network order."""

    def has_many(self, family: int, address: bytes, times: int) -> float:
        """Return the ns that one lookup takes, over `times` of them."""
