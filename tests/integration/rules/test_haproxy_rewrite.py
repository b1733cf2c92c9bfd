"""Actions that rewrite requests and responses, beside HAProxy's: the same rule, and what later rules see of it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.client import Client
from kit.deadline import DEADLINE
from kit.inprocess import InProcess
from kit.settings import LOOPBACK

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

SEEN = (
    "%[path]|%[query]|%[req.fhdr(host)]|%[req.fhdr(x-a,1)]|%[req.fhdr(x-a,2)]|%[req.fhdr(x-a,3)]|%[req.fhdr_cnt(x-a)]"
)

TARGETS = [
    "/",
    "//a//b///c//",
    "/a/./b/.",
    "/./",
    "/.",
    "/a/.b/c./..d/",
    "/a/../b",
    "/a/b/../../c",
    "/a/b/../..",
    "/../a",
    "/../../a/../..",
    "/a/..",
    "/..",
    "/a//../b",
    "/a/b/c/../../../../d",
    "/%61%2f%7e%2E%41/%7a?%61=%7E&%2d=%",
    "/%6a%zz%4",
    "/%",
    "/%2",
    "/%ff%fF%aB",
    "/x?b=1&a=2",
    "/x?b=1&a=2&a=1&=3&&c&ab=1&a",
    "/x?a&",
    "/x?&",
    "/x?",
    "/x?z",
    "/x?b&a&B&A&_&%20&1",
    "/v1/orders?id=7",
    "/v1/orders/../x?y=/../z",
    "/foo?foo=/foo",
    "*",
    "http://Abs.Example:81/v1//Pot?b&a",
]

NORMALIZERS = """
    path-merge-slashes
    path-strip-dot
    path-strip-dotdot
    path-strip-dotdot full
    percent-decode-unreserved
    percent-decode-unreserved strict
    percent-to-uppercase
    percent-to-uppercase strict
    query-sort-by-name
    fragment-strip
    fragment-encode
"""

REPLACEMENTS: list[tuple[str, ...]] = [
    ("replace-header", "x-a", "one", "1"),
    ("replace-header", "x-a", "(.*)o(.*)", r"<\1|\2>"),
    ("replace-header", "X-A", "^(.*), *(.*)$", r"\2,\1"),
    ("replace-header", "x-a", "(?i)ONE", r"\0%[path]"),
    ("replace-header", "x-a", "^$", "empty"),
    ("replace-header", "nope", ".*", "x"),
    ("replace-header", "x-a", ".*", r"\9"),
    ("replace-header", "x-a", "^t(w)?(x)?", r"\1\2\\\x41\."),
    ("replace-header", "host", "^([^.]*)\\.(.*)$", r"\2"),
    ("replace-value", "x-a", "one", "1"),
    ("replace-value", "x-a", "^o(.*)$", r"\1\1"),
    ("replace-value", "x-a", "^$", "empty"),
    ("replace-value", "x-a", ".*", r"[\0]"),
    ("replace-value", "x-a", "^t.*", r"\9"),
    ("replace-value", "x-a", "two", "%[req.hdr(host)]"),
    ("replace-path", "^/v1/(.*)", r"/\1"),
    ("replace-path", "(.*)", r"/p\1"),
    ("replace-path", "foo", "/bar"),
    ("replace-pathq", "([^?]*)(.*)", r"\1/end\2"),
    ("replace-pathq", "foo", "/bar"),
    ("replace-pathq", r"(.*)\?(.*)", r"/q\1"),
    ("replace-uri", "^/v1/(.*)", r"/\1"),
    ("replace-uri", "^http://[^/]*(/.*)", r"\1"),
    ("replace-uri", "^/foo", "http://new.example:8080/bar?x=1"),
    ("set-uri", "/new/%[path]?%[query]"),
    ("set-uri", "http://other.example:81/x?y"),
]


def cases() -> list[tuple[str, dict[str, Any]]]:
    """Return rules as HAProxy and as lb has them."""
    made: list[tuple[str, dict[str, Any]]] = []
    for line in filter(None, map(str.strip, NORMALIZERS.splitlines())):
        made.append((f"normalize-uri {line}", {"normalize_uri": line}))
    for name, *words in REPLACEMENTS:
        text = " ".join("'" + each + "'" for each in words)
        made.append((f"{name} {text}", {name.replace("-", "_"): words if len(words) > 1 else words[0]}))
    return made


CASES = cases()


class Peer:
    """HAProxy with all cases."""

    def __init__(self, directory: Path) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.address = sock.getsockname()
        lines = ["global", " expose-experimental-directives", "defaults", " mode http", " timeout client 30s"]
        lines += [" timeout connect 5s", " timeout server 30s", "frontend web", f" bind fd@{sock.fileno()}"]
        # Not by a condition: 2.6 takes a normalizer without a word for another one when a condition follows.
        lines += [f" use_backend b{i} if {{ req.fhdr(x-case) -m str {i} }}" for i in range(len(CASES))]
        for i, (text, _) in enumerate(CASES):
            answer = f" http-request return status 200 content-type text/plain lf-string '{SEEN}'"
            lines += [f"backend b{i}", f" http-request {text}", answer]
        config = directory / "peer.cfg"
        config.write_text("\n".join(lines) + "\n")
        with (directory / "peer.stderr").open("wb") as err:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=err, pass_fds=[sock.fileno()]
            )
        sock.close()

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)


def settings() -> dict[str, Any]:
    """Return lb's configuration with all cases."""
    rules: list[dict[str, Any]] = [
        {**rule, "if": f"{{ req.fhdr(x-case) -m str {i} }}"} for i, (_, rule) in enumerate(CASES)
    ]
    rules.append({"return": {"content_type": "text/plain", "body": SEEN}})
    return {
        "version": 1,
        "global": {"workers": 1},
        "frontends": {
            "web": {
                "bind": [{"address": LOOPBACK}],
                "dot_segments": "keep",
                "rules": rules,
                "default_backend": "app",
            }
        },
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Where lb and HAProxy listen."""
    ours = InProcess(settings(), tmp_path_factory.mktemp("lb"))
    peer = Peer(tmp_path_factory.mktemp("peer"))
    yield [ours.addresses["web"][0], peer.address]
    ours.settle()
    ours.stop()
    peer.stop()


def asked(address: Any, target: str, case: int) -> tuple[int, bytes]:
    """Ask for a case on a connection of its own; return status and body, which only a 200 has."""
    method = "OPTIONS" if target == "*" else "GET"
    host = target.split("/")[2] if target.startswith("http") else "www.example.com"
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-A: one, two ,three,\r\nx-a:\r\nX-A: two\r\nX-Case: {case}\r\n\r\n"
    client = Client(address)
    try:
        client.send(head.encode())
        answer = client.response(method)
    finally:
        client.close()
    return answer.status, answer.body if answer.status == 200 else b""


@pytest.mark.parametrize("case", range(len(CASES)), ids=[text for text, _ in CASES])
def test_requests(peers: list[Any], case: int) -> None:
    differ: list[tuple[str, tuple[int, bytes], tuple[int, bytes]]] = []
    for target in TARGETS:
        ours, theirs = (asked(address, target, case) for address in peers)
        if ours != theirs:
            differ.append((target, ours, theirs))
    assert not differ
