"""What is said of health, in HAProxy's words: people grep for them, and their alerts know them."""

from __future__ import annotations

from lb.checks.finding import Finding


def server_is(
    *,
    backend: str,
    server: str,
    is_backup: bool,
    is_up: bool,
    finding: Finding,
    active: int,
    backups: int,
    sessions: int,
) -> str:
    """Return the line for a server that went up or down; the numbers are what is left or online now."""
    line = f"{'Backup ' if is_backup else ''}Server {backend}/{server} is {'UP' if is_up else 'DOWN'}"
    line += reason(finding)
    line += f". {active} active and {backups} backup servers {'online' if is_up else 'left'}."
    if backups and not active:
        line += " Running on backup."
    if is_up:
        return f"{line} 0 sessions requeued, 0 total in queue."
    return f"{line} {sessions} sessions active, 0 requeued, 0 remaining in queue."


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
