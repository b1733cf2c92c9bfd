"""Map files of any bytes: read or refused, and what was read is found; nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.references import FLAGS, Stored

from lb._speedups.face import references as face
from lb.language.catalog import Match

METHODS = [
    Match.STR, Match.BEG, Match.END, Match.SUB, Match.DIR, Match.DOM, Match.INT, Match.LEN, Match.IP, Match.BIN,
]  # fmt: skip
PIECES = st.sampled_from(
    [b"a", b"\n", b"\r\n", b" ", b"\t", b"#", b"\0", b"\xff", b"/", b":", b"-", b"1", b"10.0.0.0/8", b"::1/64", b"0a",
     b"99999999999", b"255.255.0.0", b"x" * 300, b"9223372036854775807", b"-9223372036854775808", b"1:2", b"."]
)  # fmt: skip
CONTENTS = st.one_of(st.lists(PIECES, max_size=40).map(b"".join), st.binary(max_size=200))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(content=CONTENTS, texts=st.lists(CONTENTS, max_size=4), is_map=st.booleans(), values=st.sampled_from([0, 2, 4]))
def test_any_file(method: Match, content: bytes, texts: list[bytes], is_map: bool, values: int) -> None:
    stored = Stored(content, (method, 0), is_map=is_map, flags=values if is_map else 0, slack=4)
    if stored.wrong is not None:
        line, why, key, value = stored.wrong
        assert 1 <= line <= content.count(b"\n") + 1
        assert why in (face.REFERENCE_BAD_KEY, face.REFERENCE_BAD_VALUE)
        assert key in content
        assert value in content
        return
    rows = stored.rows()
    assert len(rows) == stored.known["entries"] <= content.count(b"\n") + 1
    for text in [*texts, *(key for key, _ in rows[:4])]:
        found = stored.find(text)
        assert found is None or found in rows
        if method in (Match.STR, Match.BEG, Match.END, Match.SUB) and text in [key for key, _ in rows]:
            assert found is not None
    for text in texts:
        flags = FLAGS.get(method, 0)
        judged = face.Entries(text, False, True).judge(flags)
        answer = face.set_entry(stored.mapping, stored.place, text, None)
        if answer == face.REFERENCE_DONE and b"\n" not in text and text:
            assert judged is None
            assert face.has_key(stored.mapping, stored.place, text)
    assert stored.fold(slack=8) == face.REFERENCE_DONE
    assert len(stored.rows()) == stored.known["entries"]
