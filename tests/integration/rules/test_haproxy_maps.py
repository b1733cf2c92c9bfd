"""Maps and ACL files beside HAProxy's: the same files, the same texts, and what is found in them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.client import Client
from kit.differential import asked, paired, values

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

WORDS = ("str", "beg", "end", "sub", "dir", "dom")
PIECES = ["a", "b", "ab", "A", "/", ".", "?", ":", "www", "x/y", "b.c", "é", "0"]


def word(dice: random.Random) -> str:
    return "".join(dice.choices(PIECES, k=dice.randrange(1, 6)))


def network(dice: random.Random) -> str:
    bits = dice.choice([0, 8, 9, 15, 16, 23, 24, 25, 31, 32])
    if dice.random() < 0.3:
        start = dice.choice(
            ["2001:db8::", "2001:db8:0:1::", "::ffff:10.0.0.0", "::10.0.0.0", "2002:a00:1::", "fe80::1"]
        )
        return f"{start}/{dice.choice([16, 32, 48, 64, 96, 104, 120, 128])}" if dice.random() < 0.8 else start
    address = f"{dice.choice([10, 10, 192])}.{dice.randrange(3)}.{dice.randrange(3)}.{dice.randrange(6)}"
    return f"{address}/{bits}" if dice.random() < 0.8 else address


def span(dice: random.Random) -> str:
    low = dice.randrange(30)
    return dice.choice(
        [
            f"{low}",
            f"{low}:{low + dice.randrange(9)}",
            f"{low}-{low + 3}",
            f"{low + 40}:",
            f":{low // 9}",
            f"-{low // 9}",
        ]
    )


def write(folder: Path) -> None:
    dice = random.Random(7)
    for name in WORDS:
        lines = [f"{word(dice)} v{each}" for each in range(25)] + ["# none", "", "  b.c   two words  ", "x/y"]
        (folder / f"{name}.map").write_text("\n".join(lines))
        (folder / f"{name}.acl").write_text("\n".join(word(dice) for _ in range(8)))
        (folder / f"{name}.int").write_text(
            "\n".join(f"{word(dice)} {dice.choice(['7', '-5', '+3', '', '0'])}" for _ in range(25))
        )
        (folder / f"{name}.ip").write_text(
            "\n".join(f"{word(dice)} {dice.choice(['1.2.3.4', '::1'])}" for _ in range(25))
        )
    (folder / "ip.map").write_text("\n".join(f"{network(dice)} n{each}" for each in range(60)))
    (folder / "ip.int").write_text("\n".join(f"{network(dice)} {each}" for each in range(40)))
    (folder / "ip.acl").write_text("\n".join(network(dice) for _ in range(6)))
    (folder / "int.map").write_text("\n".join(f"{span(dice)} s{each}" for each in range(30)))
    (folder / "int.int").write_text("\n".join(f"{span(dice)} {each}" for each in range(30)))
    (folder / "int.acl").write_text("\n".join(f"{low}:{low + 2}" for low in range(0, 60, 7)))


def expressions(folder: Path) -> list[str]:
    found = [f"req.fhdr(x-t),map_{each}({folder}/{each}.map,none)" for each in WORDS]
    found += [f"req.fhdr(x-t),map({folder}/str.map)"]
    found += [f"req.fhdr(x-t),map_{each}_int({folder}/{each}.int,-1)" for each in WORDS]
    found += [f"req.fhdr(x-t),map_{each}_ip({folder}/{each}.ip)" for each in WORDS]
    found += [f"req.fhdr(x-i),map_ip({folder}/ip.map,none)", f"req.fhdr(x-i),map_ip_int({folder}/ip.int,-1)"]
    found += [f"req.fhdr(x-n),map_int({folder}/int.map,none)", f"req.fhdr(x-n),map_int_int({folder}/int.int)"]
    return found


def conditions(folder: Path) -> list[str]:
    found = [f"{{ req.fhdr(x-t) -m {each} -f {folder}/{each}.acl }}" for each in WORDS]
    found += [f"{{ req.fhdr(x-t) -i -m {each} -f {folder}/{each}.acl }}" for each in WORDS]
    found += [
        f"{{ req.fhdr(x-t) -m str -M -f {folder}/str.map }}",
        f"{{ req.fhdr(x-t) -m beg -f {folder}/str.acl nothing }}",
    ]
    found += [f"{{ req.fhdr(x-i) -m ip -f {folder}/ip.acl }}", f"{{ req.fhdr(x-n) -m int -f {folder}/int.acl }}"]
    found += [
        f"{{ req.fhdr(x-t) -m len -f {folder}/int.acl }}",
        f"{{ req.fhdr(x-t) -m str -f {folder}/str.acl -f {folder}/dir.acl }}",
    ]
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], list[str], list[Client]]]:
    folder = tmp_path_factory.mktemp("files")
    write(folder)
    shown, asked_ = expressions(folder), conditions(folder)
    with paired([shown], asked_, tmp_path_factory) as clients:
        yield shown, asked_, clients


def test_what_is_found_is_what_haproxy_finds(both: tuple[list[str], list[str], list[Client]]) -> None:
    shown, conditions_, clients = both
    dice = random.Random(8)
    for _ in range(150):
        fields = (
            "Host: lb.test",
            f"X-T: {word(dice)}",
            f"X-I: {network(dice).partition('/')[0] if dice.random() < 0.9 else word(dice)}",
            f"X-N: {dice.choice([str(dice.randrange(-9, 75)), word(dice)])}",
        )
        sent = tuple(each.encode().decode("latin-1") for each in fields)
        ours, theirs = (asked(client, "GET / HTTP/1.1", sent, "e0") for client in clients)
        found, expected = values(ours[1], shown), values(theirs[1], shown)
        assert not [(each, found[each], expected[each], fields) for each in shown if found[each] != expected[each]]
        for number in dice.sample(range(len(conditions_)), 5):
            answers = [asked(client, "GET / HTTP/1.1", sent, f"c{number}")[0] for client in clients]
            assert answers[0] == answers[1], (fields, conditions_[number])
