"""Secrets by reference: `env:NAME` or `file:PATH`. The text itself never stands in a configuration, and is never printed."""

from __future__ import annotations

import os
from pathlib import Path

SECRET_MAX = 4096  # bytes


class SecretError(Exception):
    """Raise when there is no secret where the reference says; the argument is what is wrong, without the secret."""


NO_REFERENCE = "is not a reference; write 'env:NAME' or 'file:PATH', so that the secret stands elsewhere"


def is_reference(text: str) -> bool:
    """Return whether a text has the form of a reference."""
    kind, _, place = text.partition(":")
    return kind in ("env", "file") and bool(place)


def read_secret(reference: str, folder: str) -> str:
    """Return what a reference leads to, without the line break at its end; paths begin at the folder. Raise SecretError."""
    if not is_reference(reference):
        raise SecretError(NO_REFERENCE)
    kind, _, place = reference.partition(":")
    if kind == "env":
        text = os.environ.get(place, "")
        if not text:
            raise SecretError(f"names the variable '{place}', and the environment has none")
    else:
        try:
            with Path(folder, place).open("rb") as file:
                raw = file.read(SECRET_MAX + 1)
        except OSError as error:
            raise SecretError(f"names the file '{place}': {(error.strerror or str(error)).lower()}") from error
        if len(raw) > SECRET_MAX:
            raise SecretError(f"names the file '{place}', which is longer than {SECRET_MAX} bytes")
        try:
            text = raw.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise SecretError(f"names the file '{place}', which is not text") from error
        if not text:
            raise SecretError(f"names the file '{place}', which is empty")
    return text
