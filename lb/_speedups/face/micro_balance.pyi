"""The door for bench/micro: picks with their ends, repeated in compiled code. Also in the release build, which is timed."""

from lb._speedups.face.mapping import Mapping

def churn(mapping: Mapping, at: int, slot: int, n: int, held: int) -> None:
    """Pick `n` times with other keys, each for a connection of worker `slot` that ends after `held` more; leave none."""

def hash_many(function: int, key: bytes, n: int) -> int:
    """Hash a key `n` times and return something that depends on it."""
