"""Whole answers in files: what is read of one, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lb.config.contentfile import ContentFileError, Whole, is_whole, parse_whole, read_content, type_of


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_lines_end_with_either_end(end: bytes) -> None:
    lines = [
        b"HTTP/1.0 503 Service Unavailable",
        b"Cache-Control: no-cache",
        b"Connection: close",
        b"X-A:  b c ",
        b"",
        b"<p>\n",
    ]
    whole = parse_whole(end.join(lines))
    assert whole == Whole(503, b"Service Unavailable", ((b"Cache-Control", b"no-cache"), (b"X-A", b"b c")), b"<p>\n")


def test_a_head_alone() -> None:
    assert parse_whole(b"HTTP/1.1 204\r\n\r\n") == Whole(204, b"", (), b"")


def test_a_length_that_is_right_is_left_out() -> None:
    assert parse_whole(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab").fields == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"HTTP/1.1 200 OK\nX: y\n", "no empty line"),
        (b"HTTP/1.1 200 OK", "no empty line"),
        (b"HTTP/2 200 OK\n\n", "begins with 'HTTP/2 200 OK'"),
        (b"HTTP/1.1 600 OK\n\n", "begins with"),
        (b"HTTP/1.1 103 Early Hints\n\n", "ends no request"),
        (b"HTTP/1.1 200 OK\nno field\n\n", "line 2 is no header"),
        (b"HTTP/1.1 200 OK\nX: a\nb c: d\n\n", "line 3 is no header"),
        (b"HTTP/1.1 200 OK\nX: \x01\n\n", "control character"),
        (b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", "cannot be used"),
        (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nab", "has a body of 2 bytes"),
    ],
)
def test_what_is_no_answer(content: bytes, message: str) -> None:
    with pytest.raises(ContentFileError, match=message):
        parse_whole(content)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"HTTP/1.1 200 OK\n\n")
    assert is_whole(read_content(str(tmp_path), "a"))
    assert read_content(str(tmp_path), "/dev/null") == b""
    for path, message in (("b", "no such file"), (".", "directory"), ("/dev/zero", "not a regular file")):
        with pytest.raises(ContentFileError, match=message):
            read_content(str(tmp_path), path)
    with pytest.raises(ContentFileError, match="larger than 3 bytes"):
        read_content(str(tmp_path), "a", 3)


def test_types() -> None:
    assert type_of("errors/503.HTML") == "text/html; charset=utf-8"
    assert type_of("x") == "text/plain; charset=utf-8"
