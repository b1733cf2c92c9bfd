"""What lb says about itself."""

from __future__ import annotations

import io

from lb.supervisor.journal import ERROR, LINES, NOTICE, WARNING, Journal


def test_lines_are_written_and_remembered() -> None:
    stream = io.StringIO()
    journal = Journal(stream)
    journal.note("ready")
    journal.warn("odd")
    journal.error("bad")
    journal.diagnose("lb.yaml:1: wrong")
    assert stream.getvalue() == "lb: ready\nlb: warning: odd\nlb: error: bad\nlb.yaml:1: wrong\n"
    assert journal.text() == stream.getvalue()


def test_a_chapter_forgets_the_one_before() -> None:
    journal = Journal(io.StringIO())
    journal.note("old")
    journal.begin()
    journal.note("new")
    assert journal.text() == "lb: new\n"


def test_a_sink_takes_over_and_gives_back() -> None:
    stream = io.StringIO()
    journal = Journal(stream)
    taken: list[tuple[str, int]] = []
    journal.use(lambda line, severity: taken.append((line, severity)))
    journal.note("a")
    journal.warn("b")
    journal.error("c")
    journal.use(None)
    journal.note("d")
    assert taken == [("lb: a", NOTICE), ("lb: warning: b", WARNING), ("lb: error: c", ERROR)]
    assert stream.getvalue() == "lb: d\n"


def test_what_is_remembered_is_bounded() -> None:
    journal = Journal(io.StringIO())
    for number in range(LINES + 10):
        journal.note(str(number))
    assert journal.text().count("\n") == LINES
