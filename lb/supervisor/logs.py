"""The log targets of a configuration, as the log thread takes them, and what there is to say about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lb._speedups.face.logdrain import Syslog
from lb.config.part import Part

if TYPE_CHECKING:
    from lb._speedups.face.logdrain import TargetStats

# A target that comes and goes gets a line this often.
SILENCE_S = 10.0


def targets_of(part: Part) -> list[str | Syslog]:
    """Return the targets in the order of their numbers."""
    return [Syslog(log.to, log.syslog, log.priority, log.tag) if log.syslog else log.to for log in part.logs]


class Complaints:
    """Which targets fail, as far as it was told."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, float]] = {}

    def news(self, targets: Sequence[TargetStats], now: float) -> list[tuple[str, str]]:
        """Return (target, error) for what has changed since it was told; an empty error: it takes records again."""
        known, self._told = self._told, {}
        news = []
        for target in targets:
            to, error = target["to"], target["error"]
            told, since = known.get(to, ("", now - SILENCE_S))
            if error != told and now - since >= SILENCE_S:
                news.append((to, error))
                told, since = error, now
            self._told[to] = (told, since)
        return news
