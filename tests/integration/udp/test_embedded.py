"""Datagrams in `lb.running`: the engine in the caller's loop."""

from __future__ import annotations

import asyncio

import uvloop
from kit.datagram_stage import DNS, settings
from kit.datagrams import Server, Tally, ask_many, client, echoing, silent

import lb


def address_of(running: lb.embedded.Running) -> tuple[str, int]:
    host, _, port = running.addresses["dns"][0].rpartition(":")
    return host, int(port)


def run(main: object) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)  # type: ignore[arg-type]


def test_it_answers_reloads_and_drains() -> None:
    servers = [Server(name="s1"), Server(name="s2")]
    config = settings(servers, DNS, process={"workers": 0, "log": []})

    async def main() -> None:
        async with lb.running(config) as running:
            tally: Tally = await asyncio.to_thread(ask_many, address_of(running), 500)
            assert (tally.answered, set(tally.by_text)) == (500, {"s1", "s2"})
            await running.reload(settings(servers[:1], DNS, process={"workers": 0, "log": []}))
            tally = await asyncio.to_thread(ask_many, address_of(running), 100)
            assert (tally.answered, set(tally.by_text)) == (100, {"s1"})
            (row,) = [each for each in running.stats() if each["svname"] == "FRONTEND"]
            assert (row["mode"], row["stot"], row["scur"]) == ("udp", 600, 0)
            await asyncio.wait_for(running.drain(), 10)
        assert not any(pool["live"] for pool in running.pools().values())

    run(main())
    for server in servers:
        server.close()


def test_a_drain_waits_for_what_is_due() -> None:
    server = Server(silent)
    config = settings([server], DNS, process={"workers": 0, "log": []})

    async def main() -> None:
        async with lb.running(config) as running:
            with client(address_of(running)) as c:
                c.send(b"question")
                await asyncio.to_thread(server.wait, 1)
                draining = asyncio.create_task(running.drain())
                await asyncio.sleep(0)
                assert not draining.done()
                server.sock.sendto(b"answer", server.seen[0][1])
                assert await asyncio.to_thread(c.receive) == b"answer"
                await asyncio.wait_for(draining, 10)

    run(main())
    server.close()


def test_the_end_leaves_nothing_of_open_sessions() -> None:
    server = Server(echoing)
    config = settings([server], process={"workers": 0, "log": []})

    async def main() -> None:
        async with lb.running(config) as running:
            with client(address_of(running)) as c:
                assert await asyncio.to_thread(c.talk, b"x") == b"x"
            assert running.pools()["udp session"]["live"] == 1
        assert not any(pool["live"] for pool in running.pools().values())

    run(main())
    server.close()
