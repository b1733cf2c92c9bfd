"""Steps without I/O: whatever way the server's bytes are cut, the finding is the same."""

from __future__ import annotations

import pytest

from lb.checks.conversation import KEPT_MAX, Conversation
from lb.checks.finding import Finding
from lb.checks.status import Status
from lb.config.part import Step

PING = Step("send", b"PING\r\n")
PONG = Step("string", b"+PONG")
WELL = Finding(Status.L7OK, "(tcp-check)")


def said(steps: list[Step], answers: list[bytes], *, cut: bool = False) -> tuple[bytes, Finding]:
    """Play the server: an answer each time that something was sent, then the end. Return what was sent and the finding."""
    talk = Conversation(steps)
    sent, finding = talk.begin(), None
    waiting = list(answers)
    if sent or not steps:
        finding = talk.sent()
    while finding is None:
        answer = waiting.pop(0) if waiting else b""
        for piece in [bytes([each]) for each in answer] if cut and answer else [answer]:
            finding = talk.received(piece)
            if finding is not None:
                break
            more = talk.more()
            if more:
                sent += more
                finding = talk.sent()
    return sent, finding


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    ("steps", "answers", "sent", "finding"),
    [
        ([PING, PONG], [b"+PONG\r\n"], b"PING\r\n", WELL),
        ([PONG], [b"hello +PONG\r\n"], b"", WELL),
        ([PING], [], b"PING\r\n", WELL),
        ([PING, PONG, Step("send", b"QUIT")], [b"+PONG"], b"PING\r\nQUIT", WELL),
        ([PING, PONG, PING, PONG], [b"+PONG", b"+PONG"], b"PING\r\nPING\r\n", WELL),
        ([PING, Step("regex", b"^.PO")], [b"+PONG"], b"PING\r\n", WELL),
        ([PING, Step("regex", b"^.P(*COMMIT)O")], [b"+PONG"], b"PING\r\n", WELL),
        ([PING, Step("binary", b"+P"), Step("string", b"NG")], [b"+PONG"], b"PING\r\n", WELL),
        (
            [PING, PONG],
            [b"-ERR"],
            b"PING\r\n",
            Finding(Status.L7RSP, "TCPCHK did not match content '+PONG' at step 2"),
        ),
        ([PING, PONG], [], b"PING\r\n", Finding(Status.L7RSP, "TCPCHK got an empty response at step 2")),
        (
            [PING, Step("regex", b"x")],
            [b"y"],
            b"PING\r\n",
            Finding(Status.L7RSP, "TCPCHK did not match content (regex) at step 2"),
        ),
        # What came before the last `send` does not count.
        (
            [PING, PONG, PING, PONG],
            [b"+PONG", b"+PO"],
            b"PING\r\nPING\r\n",
            Finding(Status.L7RSP, "TCPCHK did not match content '+PONG' at step 4"),
        ),
    ],
)
def test_a_conversation(steps: list[Step], answers: list[bytes], sent: bytes, finding: Finding, cut: bool) -> None:
    assert said(steps, answers, cut=cut) == (sent, finding)


def test_a_flood_ends_it() -> None:
    talk = Conversation([PONG])
    assert talk.begin() == b""
    assert talk.received(b"x" * (KEPT_MAX - 1)) is None
    assert talk.received(b"xxx") == Finding(Status.L7RSP, "TCPCHK did not match content '+PONG' at step 1")


def test_what_is_missing_in_time_is_named() -> None:
    talk = Conversation([PING, PONG])
    talk.begin()
    assert talk.late() == Finding(Status.L7TOUT, " at step 2 of tcp-check (expect string '+PONG')")
    talk = Conversation([Step("regex", b"x")])
    talk.begin()
    assert talk.late().info == " at step 1 of tcp-check (expect regex)"
