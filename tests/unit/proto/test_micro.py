"""The door that bench/micro uses, on every build: the codec of the release is tried here too."""

from __future__ import annotations

import pytest

from lb._speedups.face.micro_h1 import Codec, unchunk


@pytest.mark.smoke
def test_heads_are_read_and_written_again_and_again() -> None:
    request = Codec(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False)
    response = Codec(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", True)
    for codec in (request, response):
        codec.read(100)
        codec.write(100)


@pytest.mark.smoke
@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nx", b"x" * 20000])
def test_only_one_good_head_can_be_timed(head: bytes) -> None:
    with pytest.raises(ValueError, match="head"):
        Codec(head, False)


@pytest.mark.smoke
def test_bodies_are_read_again_and_again() -> None:
    assert unchunk(b"3\r\nabc\r\n0\r\n\r\n", 100) == 3
    with pytest.raises(ValueError, match="chunked"):
        unchunk(b"3\r\nabc\r\n", 1)
