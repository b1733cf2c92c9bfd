from lb._speedups.face.mapping import Mapping

class Limiter:
    def __init__(self, image: bytes, mapping: Mapping, slot: int = ...) -> None: ...
    def set_request(self, head: bytes, source: str) -> None:
        """An empty source: the client came over a unix socket."""

    def take(self, now_ms: int, times: int = ..., backend: bool = ...) -> tuple[int, str, int, int, str]:
        """Return how many passed; of the last one: the limit shown, what it has left, seconds to wait; one in shadow mode."""
