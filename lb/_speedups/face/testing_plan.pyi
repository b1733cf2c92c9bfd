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

    def server_by_oid(self, oid: int) -> int | None:
        """Return the index of the server with this object id."""

    def describe(self) -> dict[str, object]:
        """Return everything that the image holds."""
