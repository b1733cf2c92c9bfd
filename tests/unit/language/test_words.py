"""Words: blanks, quotes and escapes, as HAProxy's configuration has them."""

import pytest

from lb.language.error import LanguageError
from lb.language.words import split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  a\tb  ", ["a", "b"]),
        ("a\\ b c", ["a b", "c"]),
        ('"a b" c', ["a b", "c"]),
        ("'a \\ b'", ["a \\ b"]),
        ('"a \\" b"', ['a " b']),
        ("a'b c'd", ["ab cd"]),
        ("\\x41\\n", ["A\n"]),
        ("''", [""]),
        ("$HOME", ["$HOME"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [each.text for each in split(text)] == words


@pytest.mark.parametrize(("text", "at"), [("a 'b", 3), ('"', 1), ("a\\", 2), ("\\x4", 1)])
def test_what_does_not_end_is_refused_with_its_place(text: str, at: int) -> None:
    with pytest.raises(LanguageError) as caught:
        split(text)
    assert caught.value.at == at


def test_a_word_knows_where_it_begins_and_whether_it_was_quoted() -> None:
    words = split("a  '{' \\}")
    assert [(each.at, each.is_quoted) for each in words] == [(1, False), (4, True), (8, True)]
