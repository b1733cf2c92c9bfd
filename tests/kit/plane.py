"""What a test runs on: something that starts a balancer for a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kit.settings import Settings
from kit.wire import Address


class Proxy(Protocol):
    """A running balancer."""

    addresses: dict[str, list[Address]]
    """Where each frontend listens."""

    def log_lines(self) -> list[str]:
        """Return the access log so far, in HAProxy's format."""

    def settle(self) -> None:
        """Wait until nothing is left of past connections; the clients and servers are gone. Raise Late for leftovers."""

    def stop(self) -> None:
        """End it, and fail for what was left behind or said on stderr."""


class Plane(Protocol):
    """A way to run a balancer."""

    name: str
    bulk: int
    """Bytes of a transfer that is large for this plane."""
    is_lb: bool
    """False for a peer."""

    def start(self, settings: Settings, directory: Path) -> Proxy:
        """Start one on this configuration and wait until it accepts. It may write files in `directory`."""
