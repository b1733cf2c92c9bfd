"""Messages and descriptors between two processes."""

from __future__ import annotations

import asyncio
import gc
import os
import socket

import pytest

from lb.supervisor.channel import HEADER, PAYLOAD, BlockingChannel, Channel, ChannelBroken, pair
from lb.supervisor.messages import Answer, Ask, Message, Prepare, Sockets


def ends() -> tuple[BlockingChannel, BlockingChannel]:
    one, other = pair()
    return BlockingChannel(one), BlockingChannel(other)


def test_a_message_arrives_as_it_was_sent() -> None:
    one, other = ends()
    sent = Prepare(7, [(1, 2), (3, 4)], 30_000)
    one.send(sent)
    assert other.receive() == (sent, [])
    one.close()
    other.close()


@pytest.mark.parametrize("size", [0, 1, PAYLOAD - 30, PAYLOAD, PAYLOAD * 2, PAYLOAD * 2 + 1])
def test_a_message_of_any_length_arrives_whole(size: int) -> None:
    one, other = ends()
    one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
    one.send(Answer(1, "x" * size))
    one.send(Ask(2, "next"))
    message, _ = other.receive()
    assert message == Answer(1, "x" * size)
    assert other.receive() == (Ask(2, "next"), [])
    one.close()
    other.close()


def test_descriptors_are_copied_and_not_inheritable() -> None:
    one, other = ends()
    read, write = os.pipe()
    one.send(Sockets([1, 2]), [read, write])
    os.close(write)
    os.close(read)
    _, (got_read, got_write) = other.receive()
    assert not os.get_inheritable(got_read)
    os.write(got_write, b"x")
    assert os.read(got_read, 1) == b"x"
    for each in (got_read, got_write):
        os.close(each)
    one.close()
    other.close()


def test_an_end_that_went_is_told_after_its_last_words() -> None:
    one, other = ends()
    one.send(Ask(1, "last"))
    one.close()
    assert other.receive()[0] == Ask(1, "last")
    with pytest.raises(ChannelBroken):
        other.receive()
    with pytest.raises(ChannelBroken):
        other.send(Ask(1, "x"))
    other.close()


@pytest.mark.parametrize(
    "packet", [b"short", HEADER.pack(0, 1) + b"\xc1", HEADER.pack(3, 4) + b"x", HEADER.pack(0, 1 << 30) + b"x"]
)
def test_nonsense_breaks_the_channel(packet: bytes) -> None:
    one, other = ends()
    one.sock.send(packet)
    with pytest.raises(ChannelBroken):
        other.receive()
    one.close()
    other.close()


class Inbox:
    """What a channel of a loop has received."""

    def __init__(self, sock: socket.socket) -> None:
        self.messages: list[Message] = []
        self.descriptors: list[int] = []
        self.closed = asyncio.get_running_loop().create_future()
        self.channel = Channel(asyncio.get_running_loop(), sock, self.hear, self.closed.set_result)
        self.heard = asyncio.Event()

    def hear(self, message: Message, descriptors: list[int]) -> None:
        self.messages.append(message)
        self.descriptors += descriptors
        self.heard.set()

    async def wait(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.messages) < number:
                self.heard.clear()
                await self.heard.wait()


def test_a_full_channel_waits_without_blocking_and_loses_nothing() -> None:
    async def main() -> None:
        one, other = pair()
        sender, receiver = Inbox(one), Inbox(other)
        read, write = os.pipe()
        number = 200
        for index in range(number):
            sender.channel.send(Answer(index, "x" * 50_000), [write] if index == number - 1 else [])
        os.close(write)  # the one that waits to be sent is a copy
        await receiver.wait(number)
        assert [message.number for message in receiver.messages if isinstance(message, Answer)] == list(range(number))
        (copy,) = receiver.descriptors
        os.write(copy, b"x")
        assert os.read(read, 1) == b"x"
        os.close(copy)
        os.close(read)
        sender.channel.close()
        assert await receiver.closed == "closed"
        assert not sender.closed.done()  # who closes is not told

    asyncio.run(main())


def test_what_waits_for_an_end_that_went_is_dropped_with_its_descriptors() -> None:
    async def main() -> None:
        gc.collect()  # what tests before have left in cycles must not close meanwhile
        before = len(os.listdir("/proc/self/fd"))
        one, other = pair()
        sender = Inbox(one)
        read, write = os.pipe()
        for index in range(50):
            sender.channel.send(Answer(index, "x" * 60_000), [write])
        other.close()
        assert await sender.closed == "closed"
        sender.channel.send(Ask(1, "nobody hears this"))
        os.close(read)
        os.close(write)
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(main())
