"""lb: a load balancer and API gateway for Linux."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.embedded import Given, Running

__version__ = "0.1.0"


def running(config: Given) -> Running:
    """Run lb inside the calling loop: `async with lb.running(config) as running: ...`.

    `config` is the path of a file or a dict of what a file would hold. `running.addresses` says where it listens,
    `running.stats()` what it counts, and `await running.reload(config)` puts another configuration in force.
    """
    from lb.embedded import Running

    return Running(config)
