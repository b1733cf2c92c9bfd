"""Keys find the server that they find in HAProxy: the same requests to both, over the same servers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.client import Client
from kit.haproxy import HaproxyProxy
from kit.inprocess import InProcessPlane
from kit.message import ask, reply
from kit.settings import Settings, relay
from kit.stage import Stage

WEIGHTS = (1, 2, 3, 1, 5)

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

TARGETS = [f"/{a}/{b}/{c}?id={a}{c}&user={b}" for a in ("", "a", "img") for b in ("x", "yy/zz") for c in ("1", "222")]
TARGETS += [
    "http://other.test/abs/path?q=1",
    "/",
    "/%C3%BC?",
    "/long" + "/segment" * 30,
    "/no?user",
    "/p?iid=1&id=77&id=8",
]
FIELDS = [
    *(("X-User: user-" + str(i),) for i in range(12)),
    ("X-User: a, b ,c",),
    ('X-User: "a,b", c',),
    ("X-User: one", "X-User: two"),
    ("X-User:   spaced  ",),
    ("Cookie: user=1; session=abc", "X-User: z"),
    ("Cookie: session=first; session=second", "X-User: z"),
    ("Cookie: session=aa", "Cookie: other=b; session=bb", "X-User: z"),
    ("Cookie: a=b;session=tight ;x=y", "X-User: z"),
]
# By length: HAProxy looks at the byte behind a name, which may be a dot that an earlier, longer name has left there.
HOSTS = ["x.y", "mail.x.y", "localhost", "example.com", "www.example.com", "shop.example.org", "a.b.c.d.test:8080"]
FUNCTIONS = ["sdbm", "djb2", "wt6", "crc32"]


def variants() -> Iterator[Settings]:
    for name in FUNCTIONS:
        for avalanche in (False, True):
            for kind in ("map-based", "consistent"):
                yield {"algorithm": "uri", "type": kind, "hash": name, "avalanche": avalanche}
    yield {"algorithm": "uri"}
    yield {"algorithm": "uri", "type": "consistent"}
    yield {"algorithm": "uri", "whole": True}
    yield {"algorithm": "uri", "path_only": True}
    yield {"algorithm": "uri", "path_only": True, "whole": True}
    yield {"algorithm": "uri", "depth": 1}
    yield {"algorithm": "uri", "depth": 3, "hash": "wt6", "avalanche": True}
    yield {"algorithm": "uri", "len": 7}
    yield {"algorithm": "uri", "len": 12, "depth": 2, "whole": True}
    yield {"algorithm": "hdr", "name": "x-user", "hash": "crc32", "avalanche": True}
    yield {"algorithm": "hdr", "name": "X-User", "type": "consistent"}
    yield {"algorithm": "hash", "key": "req.hdr(x-user)", "hash": "djb2", "avalanche": True}
    yield {"algorithm": "hdr", "name": "host"}
    yield {"algorithm": "hdr", "name": "host", "use_domain_only": True, "hash": "wt6", "avalanche": True}


def word(balance: Settings) -> str:
    return ",".join(str(each) for each in balance.values())


class Pair:
    """lb and HAProxy over the same servers."""

    def __init__(self, directory: Path) -> None:
        self.stage = Stage(InProcessPlane(), directory)
        self.directory = directory

    def start(self, mode: str, balance: Settings) -> list[Client]:
        names = [f"s{i}" for i in range(1, len(WEIGHTS) + 1)]
        if mode == "http":
            servers = [self.stage.server(reply(name.encode())) for name in names]
        else:
            servers = [self.stage.server(lambda c, n=name: c.send(n.encode())) for name in names]
        entries: list[Settings] = [
            {"name": name, "address": server.text, "weight": weight}
            for name, server, weight in zip(names, servers, WEIGHTS, strict=True)
        ]
        haproxy = HaproxyProxy(relay(mode, *entries, backend={"balance": balance}), self.directory)
        self.stage.defer(haproxy.stop)
        ours = {**balance, "points": "position"} if balance.get("type") == "consistent" else balance
        self.stage.start(relay(mode, *entries, backend={"balance": ours}))
        theirs = Client(haproxy.addresses["web"][0])
        self.stage.clients.append(theirs)
        return [self.stage.client(), theirs]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.stage.close()


def requests(balance: Settings) -> list[bytes]:
    if balance["algorithm"] == "url_param":
        return [ask(target) for target in TARGETS if "&id=" in target or "?id=" in target]
    if balance["algorithm"] == "uri":
        return [ask(target, host="other.test") for target in TARGETS]
    if balance.get("name") == "host":
        return [ask("/", host=host) for host in HOSTS]
    if "cook" in balance.get("key", ""):
        return [ask("/", *fields) for fields in FIELDS if any("session=" in field for field in fields)]
    return [ask("/", *fields) for fields in FIELDS]


@pytest.mark.parametrize(
    "balance",
    [
        *variants(),
        {"algorithm": "url_param", "name": "id"},
        {"algorithm": "url_param", "name": "id", "type": "consistent", "hash": "djb2"},
        {"algorithm": "hash", "key": "req.cook(session)", "hash": "wt6", "avalanche": True},
    ],
    ids=word,
)
def test_a_key_finds_the_same_server(pair: Pair, balance: Settings) -> None:
    ours, theirs = pair.start("http", balance)
    found = []
    for request in requests(balance):
        ours.send(request)
        theirs.send(request)
        found.append((ours.response().body, theirs.response().body, request))
    assert [each for each in found if each[0] != each[1]] == []
    assert len({each[0] for each in found}) > 1


@pytest.mark.parametrize(
    "balance",
    [
        {"algorithm": "source"},
        {"algorithm": "source", "hash": "djb2", "avalanche": True},
        {"algorithm": "source", "type": "consistent"},
    ],
    ids=word,
)
def test_an_address_finds_the_same_server(pair: Pair, balance: Settings) -> None:
    ours, theirs = pair.start("tcp", balance)
    assert ours.read_to_end() == theirs.read_to_end()


def test_static_turns_come_in_the_same_order(pair: Pair) -> None:
    ours, theirs = pair.start("http", {"algorithm": "static-rr"})
    turns = [[client.get().body for _ in range(30)] for client in (ours, theirs)]
    assert turns[0] == turns[1]
