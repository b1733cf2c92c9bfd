"""The few process controls of Linux that Python does not offer."""

def become_subreaper() -> None:
    """Become the parent of every orphan among this process's descendants. Raises OSError."""

def set_name(name: str) -> None:
    """Name the calling thread for `ps`, `top` and `perf`; at most 15 bytes are kept. Raises OSError."""
