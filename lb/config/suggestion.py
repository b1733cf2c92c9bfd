"""Did you mean: the known word nearest to what was written."""

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that a slip of the finger could have turned into `word`, or None."""
    # difflib costs 5 ms to import, and only a wrong configuration needs it.
    import difflib

    found = difflib.get_close_matches(word.lower().replace("-", "_"), list(known), n=1, cutoff=0.65)
    if not found:
        found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.65)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the question for an error line, or the list of what is known when nothing is near."""
    words = list(known)
    found = nearest(word, words)
    if found is not None:
        return f"did you mean '{found}'?"
    return ("known: " if len(words) > 1 else "known is ") + ", ".join(words)
