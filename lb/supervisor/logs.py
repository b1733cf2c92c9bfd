"""The log targets of a configuration, as the log thread takes them."""

from __future__ import annotations

from lb._speedups.face.logdrain import Syslog
from lb.config.part import Part


def targets_of(part: Part) -> list[str | Syslog]:
    """Return the targets in the order of their numbers."""
    return [Syslog(log.to, log.syslog, log.priority, log.tag) if log.syslog else log.to for log in part.logs]
