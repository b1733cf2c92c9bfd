"""The door for bench/micro: the HTTP/1 codec repeated in compiled code. Also in the release build."""

class Codec:
    """One head, read and written as often as wanted."""

    def __init__(self, head: bytes, is_response: bool) -> None:
        """ValueError unless `head` is exactly one good head."""

    def read(self, n: int) -> None: ...
    def write(self, n: int) -> None: ...

def unchunk(body: bytes, n: int) -> int:
    """Read one whole chunked body n times; answer the bytes of data in it. ValueError if it is none."""
