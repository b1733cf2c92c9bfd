"""A worker: a loop that accepts connections and drives the engine, and nothing else.

`Driver` is the meeting of a loop and an engine: the loop watches the engine's epoll descriptor and each listening socket,
and calls back once per batch of events, never per request. It serves workers and `lb.running` alike.

`main` is the life of a worker process. Besides the driver its loop has one more reader, the control channel, and no other
thread ever runs in it. The collector is off: nothing on the way of a batch makes a cycle, and the rare messages that do
(a new generation) are followed by a collection.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import socket
import sys
from collections.abc import Callable, Sequence

import uvloop

from lb._speedups.face.engine import (
    ACCEPT_DESCRIPTORS,
    ACCEPT_LIMIT,
    ACCEPT_OTHERS,
    STEP_ACCEPT,
    STEP_AGAIN,
    STEP_DRAINED,
    STEP_LIMITED,
    STEP_SWITCHED,
    Engine,
)
from lb._speedups.face.process import set_name
from lb.supervisor.channel import Channel
from lb.supervisor.messages import (
    Answer,
    Ask,
    Discard,
    Drain,
    Listening,
    Message,
    Prepare,
    Prepared,
    Sockets,
    Stop,
    Switched,
)
from lb.supervisor.zygote import EXIT_FAULT, Heritage

# Without a free descriptor accept() fails at once, again and again; meanwhile connections wait in the kernel.
DESCRIPTOR_PAUSE_S = 0.1

# How long a worker that is ahead leaves a shared socket to the others; when they did not come, it goes on.
OTHERS_PAUSE_S = 0.001


class Driver:
    """Drive an engine by a loop.

    `switched` is called when the engine has taken another generation into use, `drained` when the last connection has
    gone after `drain`, `warn` with what an operator should know.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        switched: Callable[[], None],
        drained: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._engine = engine
        self._switched = switched
        self._drained = drained
        self._warn = warn
        self._limits = 0  # of regular expressions, when that was said last
        self._is_again = False
        self._paused: set[int] = set()  # engine's descriptors that wait for STEP_ACCEPT
        self._serving: dict[Listening, int] = {}  # (oid, socket number) -> engine's descriptor
        self._is_closed = False
        loop.add_reader(engine.fileno(), self.step)

    def step(self) -> None:
        """Let the engine do one bounded pass."""
        bits = self._engine.step()
        if bits:
            self._follow(bits)

    def _follow(self, bits: int) -> None:
        if bits & STEP_AGAIN and not self._is_again:
            # The run list does not make the epoll descriptor readable.
            self._is_again = True
            self._loop.call_soon(self._step_again)
        if bits & STEP_ACCEPT:
            paused, self._paused = self._paused, set()
            for descriptor in paused:
                self._loop.add_reader(descriptor, self._accept, descriptor)
        if bits & STEP_SWITCHED:
            self._switched()
        if bits & STEP_LIMITED:
            self._limited()
        if bits & STEP_DRAINED:
            self._drained()

    def _limited(self) -> None:
        seen = self._engine.regexes()
        count, self._limits = seen["limits"] - self._limits, seen["limits"]
        pattern = seen["limited"].decode("utf-8", "backslashreplace")
        which = f", '{pattern}' last" if pattern else ""
        self._warn(
            f"regular expressions reached a limit ({count} times{which}): rules that refuse did so, others were left out"
        )

    def _step_again(self) -> None:
        self._is_again = False
        if not self._is_closed:
            self.step()

    def _accept(self, descriptor: int, is_turn: bool = False) -> None:
        accepted = self._engine.accept(descriptor, is_turn)
        if accepted > 0:
            self.step()
        elif accepted == ACCEPT_LIMIT:
            self._loop.remove_reader(descriptor)
            self._paused.add(descriptor)
        elif accepted == ACCEPT_DESCRIPTORS:
            self._loop.remove_reader(descriptor)
            self._loop.call_later(DESCRIPTOR_PAUSE_S, self._accept_again, descriptor)
        elif accepted == ACCEPT_OTHERS:
            self._loop.remove_reader(descriptor)
            self._loop.call_later(OTHERS_PAUSE_S, self._accept_again, descriptor, True)

    def _accept_again(self, descriptor: int, is_turn: bool = False) -> None:
        if descriptor in self._serving.values():
            self._loop.add_reader(descriptor, self._accept, descriptor)
            if is_turn:
                self._accept(descriptor, is_turn)

    def serve(self, wanted: Sequence[Listening], descriptors: dict[int, int], *, stays: bool = False) -> None:
        """Listen on exactly these (oid, number) of the engine's generation; `descriptors` by number stay the caller's.

        A socket that is not wanted any more is emptied, then closed; with `stays` one of datagrams is read on until its
        sessions have ended. Raise OSError, ValueError.
        """
        for listening in wanted:
            if listening not in self._serving:
                self._serving[listening] = self._listen(listening[0], descriptors[listening[1]])
        for listening in [held for held in self._serving if held not in wanted]:
            descriptor = self._serving.pop(listening)
            self._loop.remove_reader(descriptor)
            self._paused.discard(descriptor)
            self._engine.unlisten(descriptor, stays=stays)

    def _listen(self, oid: int, descriptor: int) -> int:
        before = {held for _, held in self._engine.listening()}
        is_read_inside = self._engine.listen(oid, descriptor)
        (held,) = {held for _, held in self._engine.listening()} - before
        if not is_read_inside:
            self._loop.add_reader(held, self._accept, held)
        return held

    def drain(self, *, stays: bool = False) -> None:
        """Accept nothing new and let connections end; `drained` is called after the last one. `stays` as for `serve`."""
        self.serve([], {}, stays=stays)
        self._engine.drain()
        self.step()

    def close(self) -> None:
        """Stop watching and end the engine with all its connections."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._engine.fileno())
        for descriptor in self._serving.values():
            self._loop.remove_reader(descriptor)
        self._serving.clear()
        self._paused.clear()
        self._engine.close()


class Process:
    """A worker process: what the supervisor says, done with the driver."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine, sock: socket.socket) -> None:
        self._loop = loop
        self._engine = engine
        self._driver = Driver(loop, engine, self._switched, loop.stop, _warn)
        self._channel = Channel(loop, sock, self._hear, self._lost)
        self._descriptors: dict[int, int] = {}  # received listening sockets by number
        self._prepared: dict[int, Prepare] = {}
        self._serving: list[Listening] = []
        self._grace_s = 0.0
        self._is_draining = False

    def _hear(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case Sockets(numbers):
                self._descriptors.update(zip(numbers, descriptors, strict=True))
            case Prepare():
                self._prepare(message, descriptors[0])
            case Discard(generation):
                self._discard(generation)
            case Drain(alone):
                self._drain(alone)
            case Stop():
                self._loop.stop()
            case Ask(number, question):
                self._channel.send(Answer(number, self._answer(question)))
            case _:
                raise ValueError(f"the supervisor does not say {type(message).__name__}")

    def _prepare(self, message: Prepare, image: int) -> None:
        try:
            missing = [n for _, n in message.listening if n not in self._descriptors]
            if missing:
                raise ValueError(f"listening socket {missing[0]} has not come")
            self._engine.prepare(image)
        except (OSError, ValueError) as error:
            self._channel.send(Prepared(message.generation, str(error)))
            return
        finally:
            os.close(image)
        self._prepared[message.generation] = message
        if self._engine.generation == message.generation:
            self._switched()
            self._channel.send(Prepared(message.generation))
        else:
            self._compile(message.generation)

    def _compile(self, generation: int) -> None:
        """Compile what the plan needs, a little in each turn of the loop, and say when it is ready."""
        if generation in self._prepared:
            try:
                is_ready = self._engine.compile(generation)
            except (MemoryError, ValueError) as error:
                self._discard(generation)
                self._channel.send(Prepared(generation, str(error) or "out of memory"))
                return
            if not is_ready:
                self._loop.call_soon(self._compile, generation)
                return
            # The commit may have come before this message was read.
            self._driver.step()
        elif self._engine.generation != generation:
            return  # it was given up meanwhile
        self._channel.send(Prepared(generation))

    def _switched(self) -> None:
        message = self._prepared.pop(self._engine.generation, None)
        if message is None:  # it took its first plan at once, and says so again in its first step
            return
        self._prepared = {n: p for n, p in self._prepared.items() if n > message.generation}
        self._grace_s = message.grace_ms / 1000
        if not self._is_draining:
            before, self._serving = self._serving, message.listening
            # Our copies go first, so that a removed socket dies right after its queue was emptied.
            self._forget({number for _, number in before})
            self._driver.serve(self._serving, self._descriptors)
        self._channel.send(Switched(message.generation))
        gc.collect()

    def _discard(self, generation: int) -> None:
        message = self._prepared.pop(generation, None)
        if message is None:
            return
        self._engine.discard(generation)
        self._forget({number for _, number in message.listening})

    def _forget(self, numbers: set[int]) -> None:
        """Close our copies of these sockets unless they are served or about to be."""
        named = [self._serving, *(message.listening for message in self._prepared.values())]
        for number in numbers - {number for listening in named for _, number in listening}:
            os.close(self._descriptors.pop(number))

    def _drain(self, alone: bool = False) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        self._driver.drain(stays=alone)

    def _lost(self, reason: str) -> None:
        # The supervisor has died. What is open is served to its end; the addresses are free for a new one at once.
        self._drain()
        self._loop.call_later(self._grace_s, self._loop.stop)

    def _answer(self, question: str) -> object:
        match question:
            case "pools":
                return self._engine.pools()
            case "load":
                return {"runnable": self._engine.runnable(), "pools": self._engine.pools()}
            case "sessions":
                return self._engine.sessions()
            case _:
                return None

    def close(self) -> int:
        """End everything; return the exit status: a live pool object after that is a leak, and said."""
        self._channel.close()
        self._driver.close()
        leaks = {name: pool["live"] for name, pool in self._engine.pools().items() if pool["live"]}
        for name, live in leaks.items():
            print(f"lb: error: worker {os.getpid()}: {live} objects of pool '{name}' were left", file=sys.stderr)
        return EXIT_FAULT if leaks else 0


def _warn(text: str) -> None:
    print(f"lb: warning: worker {os.getpid()}: {text}", file=sys.stderr, flush=True)


def main(heritage: Heritage, slot: int, sock: socket.socket) -> int:
    """Live the life of worker `slot`."""
    set_name(f"lb worker {slot}")
    gc.disable()
    # SIGABRT from the supervisor shows where a stuck worker stood.
    faulthandler.enable()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_end_on_fault)
    engine = Engine(heritage.mapping, slot, eventfd=heritage.eventfds[slot - 1], alone=True)
    process = Process(loop, engine, sock)
    loop.run_forever()
    return process.close()


def _end_on_fault(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """End the process: an unforeseen exception leaves a worker that nobody can trust; its successor is clean."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        sys.excepthook(type(error), error, error.__traceback__)
    else:
        print(f"lb: error: worker: {context.get('message')}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(EXIT_FAULT)
