"""Checks of constant texts: each returns what is wrong with one, or nothing."""

from lb.language.expression import TOKEN

BODY_MAX = 8192  # of `return`, as written


def field_value(text: bytes) -> str:
    """Check the value of a header."""
    if any((each < 32 and each != 9) or each == 127 for each in text):
        return "holds a control character, which no header may have"
    return "is longer than 1,000 bytes" if len(text) > 1000 else ""


def body(text: bytes) -> str:
    """Check a body."""
    return f"is {len(text)} bytes; at most {BODY_MAX} are possible" if len(text) > BODY_MAX else ""


def target(text: bytes) -> str:
    """Check a piece of a request's target."""
    if any(each <= 32 or each >= 127 for each in text):
        return "holds a blank, control or non-ASCII character; write it percent-encoded"
    return "is longer than 1,000 bytes" if len(text) > 1000 else ""


def scheme(text: bytes) -> str:
    """Check a scheme."""
    return "" if text.isalpha() else "is not a scheme, such as 'https'"


def path(text: bytes) -> str:
    """Check a path."""
    if not text.startswith(b"/"):
        return "does not begin with '/'"
    return "holds a '?'; write 'set_pathq'" if b"?" in text else target(text)


def pathq(text: bytes) -> str:
    """Check a path and query."""
    return target(text) if text.startswith(b"/") else "does not begin with '/'"


def uri(text: bytes) -> str:
    """Check a target of any form."""
    if text.startswith(b"/"):
        return target(text)
    scheme_, found, rest = text.partition(b"://")
    if not found or not scheme_.isalpha() or not rest:
        return "is no address: write one that begins with '/' or with 'http://host'"
    return target(text)


def method(text: bytes) -> str:
    """Check a method that a request may be changed to."""
    if not TOKEN.fullmatch(text.decode("utf-8", "replace")) or len(text) > 32:
        return "is not a method"
    return f"{text.decode()} changes how answers are framed" if text in (b"HEAD", b"CONNECT") else ""
