ROUTE_HOST_MAX: int

class Plan:
    """A plan image, looked into the way a worker does."""

    def __init__(self, image: bytes) -> None:
        """Keep a copy; raise ValueError unless plan_check is content."""

    @staticmethod
    def is_sound(image: bytes) -> bool:
        """Tell what plan_check says, with the image ending at the end of a heap block."""

    def route(self, frontend: int, authority: bytes, path: bytes) -> int:
        """Return the backend's index, -1 for none."""

    def route_many(self, frontend: int, authority: bytes, path: bytes, times: int) -> float:
        """Return the ns that one lookup takes, over `times` of them."""

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
