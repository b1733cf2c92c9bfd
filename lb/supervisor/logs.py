"""The log targets of a configuration, as the log thread takes them, and what there is to say about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lb._speedups.face.logdrain import Syslog
from lb.config.part import Log, Part

if TYPE_CHECKING:
    from lb._speedups.face.logdrain import TargetStats

# A target that comes and goes gets a line this often.
SILENCE_S = 10.0
# And one that drops records, this often.
DROPS_S = 60.0


def targets_of(part: Part) -> list[str | Syslog]:
    """Return the targets of records in the order of their numbers."""
    return [_target(log) for log in part.logs]


def error_targets_of(part: Part) -> list[tuple[str | Syslog, int]]:
    """Return the targets of lb's own lines, each with the least grave severity it takes."""
    return [(_target(log), log.level) for log in part.error_logs]


def _target(log: Log) -> str | Syslog:
    return Syslog(log.to, log.syslog, log.priority, log.tag) if log.syslog else log.to


class Complaints:
    """Which targets fail or drop, as far as it was told."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, float]] = {}
        self._dropped: dict[str, tuple[int, float]] = {}

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

    def drops(self, targets: Sequence[TargetStats], now: float) -> list[tuple[str, int]]:
        """Return (target, records) for what was dropped since it was told; the first time at once, then each minute."""
        known, self._dropped = self._dropped, {}
        news = []
        totals: dict[str, int] = {}
        for target in targets:
            totals[target["to"]] = totals.get(target["to"], 0) + target["dropped"]
        for to, total in totals.items():
            told, since = known.get(to, (0, now - DROPS_S))
            if total > told and now - since >= DROPS_S:
                news.append((to, total - told))
                told, since = total, now
            # A target that was replaced counts anew.
            self._dropped[to] = (min(told, total), since)
        return news
