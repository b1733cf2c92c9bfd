"""User lists in the plan image, and what libcrypt knows."""

from typing import Any

def problem(hash: bytes) -> str:
    """Say what keeps a text from being the hash of a password that can be checked here, or nothing."""

def place(image: Any, lists: list[list[Any]]) -> Any:
    """Take room for lists of UserRow in an image."""

def put(image: Any, lists: list[list[Any]], placed: Any) -> int:
    """Fill it; return the offset of the users_t."""
