"""What is said of health, in HAProxy's words: people grep for them, and their alerts know them."""

from __future__ import annotations

from typing import NamedTuple

from lb.checks.finding import Finding


class Left(NamedTuple):
    """What a backend has after a change, and what the server that changed still does."""

    active: int
    backups: int
    sessions: int

    def online(self) -> str:
        """Return the end of a line that takes nothing away."""
        return f"{self._count('online')} 0 sessions requeued, 0 total in queue."

    def left(self) -> str:
        """Return the end of a line that takes the server away."""
        return f"{self._count('left')} {self.sessions} sessions active, 0 requeued, 0 remaining in queue."

    def _count(self, word: str) -> str:
        text = f". {self.active} active and {self.backups} backup servers {word}."
        return f"{text} Running on backup." if self.backups and not self.active else text


def reason(finding: Finding) -> str:
    """Return why, as the middle of a line."""
    status = finding.status
    text = f", reason: {status.text}"
    if status.has_code:
        text += f", code: {finding.code}"
    if finding.info:
        text += f', info: "{encoded(finding.info)}"'
    if finding.duration_ms >= 0:
        text += f", check duration: {finding.duration_ms}ms"
    return text


def no_server(backend: str) -> str:
    """Return the line for a backend that has just lost its last server."""
    return f"backend {backend} has no server available!"


def observed(failures: int) -> str:
    """Return what traffic showed."""
    return f"Detected {failures} consecutive errors, last one was: L4 unsuccessful connection"


def encoded(text: str) -> str:
    """Return a text without what could end its quotes or its line: other bytes as `<0A>`."""
    return "".join(each if " " <= each <= "~" and each != '"' else f"<{ord(each):02X}>" for each in text)
