"""A check by steps: what is sent, and what must come. Without I/O; the words are those of HAProxy's tcp-check.

What comes since the last `send` is kept, at most KEPT_MAX bytes, and each `expect` looks at all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lb.checks.finding import Finding
from lb.checks.regex import is_found
from lb.checks.status import Status
from lb.config.part import Step

KEPT_MAX = 16 * 1024


class Conversation:
    """The steps of a check, one after the other."""

    where = " at initial connection step of tcp-check"

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._at = 0  # the step that is next, or waits for more
        self._heard = bytearray()

    def begin(self) -> bytes:
        """Return what is to be sent first; nothing if the server begins."""
        return self.more()

    def sent(self) -> Finding | None:
        """Hear that all was sent; return the finding if that was the end."""
        return self._end()

    def more(self) -> bytes:
        """Return what the steps that are next send."""
        sends = b""
        while self._at < len(self._steps) and self._steps[self._at].kind == "send":
            sends += self._steps[self._at].data
            self._at += 1
        if sends:
            self._heard.clear()
        return sends

    def late(self) -> Finding:
        """Return what it means that nothing more came in time."""
        step = self._steps[self._at]
        expected = "regex" if step.kind == "regex" else f"{step.kind} '{_shown(step)}'"
        return Finding(Status.L7TOUT, f" at step {self._at + 1} of tcp-check (expect {expected})")

    def received(self, data: bytes) -> Finding | None:
        """Take bytes from the server, none at its end; return the finding when there is one."""
        self._heard += data[: KEPT_MAX - len(self._heard)]
        while self._at < len(self._steps) and self._steps[self._at].kind != "send":
            step = self._steps[self._at]
            if not self._is_met(step):
                is_over = not data or len(self._heard) == KEPT_MAX
                return self._unmet(step) if is_over else None
            self._at += 1
        if self._at < len(self._steps) and not data:
            return Finding(Status.SOCKERR, "Broken pipe")  # it left before everything was said
        return self._end()

    def _end(self) -> Finding | None:
        return Finding(Status.L7OK, "(tcp-check)") if self._at == len(self._steps) else None

    def _is_met(self, step: Step) -> bool:
        if step.kind == "regex":
            return bool(self._heard) and is_found(step.data, self._heard)
        return step.data in self._heard

    def _unmet(self, step: Step) -> Finding:
        at = f"at step {self._at + 1}"
        if not self._heard:
            return Finding(Status.L7RSP, f"TCPCHK got an empty response {at}")
        if step.kind == "regex":
            return Finding(Status.L7RSP, f"TCPCHK did not match content (regex) {at}")
        return Finding(Status.L7RSP, f"TCPCHK did not match content '{_shown(step)}' {at}")


def _shown(step: Step) -> str:
    return step.data.decode("latin-1")
