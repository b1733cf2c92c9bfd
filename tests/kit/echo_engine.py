"""A stand-in for the engine: TCP echo in plain Python, with the contract of `face/engine.pyi`.

Tests of the supervisor need workers that obey, hang and die on demand. What a client sends as one line is echoed, but:

    who      pid, slot and generation of the worker
    hang     the worker stops moving for good
    die      the worker ends with status 3
    enter    book the connection in the gauge of its listener until it closes
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import time
from contextlib import suppress

STEP_AGAIN, STEP_ACCEPT, STEP_DRAINED, STEP_SWITCHED, STEP_LIMITED = 1, 2, 4, 8, 16
PIPES_MAX = 256
ACCEPT_LIMIT, ACCEPT_DESCRIPTORS, ACCEPT_OTHERS = -1, -2, -3

HEADER = struct.Struct("=IIQQ")  # plan_t: magic, version, size, generation


class Engine:
    def __init__(self, mapping, slot, *, eventfd=-1, debug=False, alone=False):
        self.mapping = mapping
        self.slot = slot
        self.epoll = select.epoll()
        self.eventfd = eventfd
        self.epoll.register(eventfd, select.EPOLLIN)
        self.generation = 0
        self.prepared = set()
        self.listeners = {}  # our descriptor -> (oid, socket)
        self.conns = {}  # descriptor -> (socket, oid)
        self.booked = set()
        self.switched = False
        self.draining = False
        self.closed = False
        mapping.beat(slot)
        if os.environ.get("ECHO_FAILS"):
            os._exit(4)

    def fileno(self):
        return self.epoll.fileno()

    def _switch(self):
        committed = self.mapping.generation
        if committed in self.prepared:
            self._use(committed)

    def _use(self, generation):
        self.generation = generation
        self.prepared = {number for number in self.prepared if number > generation}
        self.switched = True

    def step(self):
        self.mapping.beat(self.slot)
        self._switch()
        for descriptor, _ in self.epoll.poll(0, 256):
            if descriptor == self.eventfd:
                with suppress(BlockingIOError):
                    os.eventfd_read(self.eventfd)
            else:
                self._read(descriptor)
        bits = STEP_SWITCHED if self.switched else 0
        self.switched = False
        if self.draining and not self.conns:
            bits |= STEP_DRAINED
        return bits

    def _read(self, descriptor):
        sock, oid = self.conns[descriptor]
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        match data.strip():
            case b"":
                self._end(descriptor)
                return
            case b"who":
                data = b"%d %d %d\n" % (os.getpid(), self.slot, self.generation)
            case b"die":
                os._exit(3)
            case b"hang":
                while True:
                    time.sleep(60)
            case b"enter":
                if self.mapping.enter(self.slot, oid):
                    self.booked.add(descriptor)
        with suppress(OSError):
            sock.sendall(data)

    def _end(self, descriptor):
        sock, oid = self.conns.pop(descriptor)
        if descriptor in self.booked:
            self.booked.discard(descriptor)
            self.mapping.leave(self.slot, oid)
        self.epoll.unregister(descriptor)
        sock.close()

    def prepare(self, plan):
        with mmap.mmap(plan, 0, access=mmap.ACCESS_READ) as image:
            generation = HEADER.unpack_from(image)[3]
        if os.environ.get("ECHO_REFUSES") == str(generation) or os.path.exists(
            os.environ.get("ECHO_REFUSES_WHILE", "")
        ):
            raise ValueError("this plan is refused")
        self.prepared.add(generation)
        if self.generation == 0:
            self._use(generation)
        return generation

    def compile(self, generation):
        return True

    def discard(self, generation):
        self.prepared.discard(generation)

    def listen(self, oid, fd):
        sock = socket.socket(fileno=os.dup(fd))
        sock.setblocking(False)
        self.listeners[sock.fileno()] = (oid, sock)

    def listening(self):
        return [(oid, descriptor) for descriptor, (oid, _) in self.listeners.items()]

    def accept(self, fd, is_turn=False):
        self._switch()
        oid, listener = self.listeners[fd]
        for accepted in range(64):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return accepted
            sock.setblocking(False)
            self.conns[sock.fileno()] = (sock, oid)
            self.epoll.register(sock.fileno(), select.EPOLLIN)
        return 64

    def unlisten(self, fd, *, stays=False):
        while self.accept(fd):
            pass
        self.listeners.pop(fd)[1].close()

    def drain(self):
        self.draining = True

    def connections(self):
        return len(self.conns)

    def close(self):
        for descriptor in list(self.conns):
            self._end(descriptor)
        for _, sock in self.listeners.values():
            sock.close()
        self.epoll.close()
        self.closed = True

    def pools(self):
        live = len(self.conns)
        return {"conn": {"size": 256, "live": live, "peak": live, "cached": 0, "taken": live, "failed": 0}}

    def runnable(self):
        return 0

    def sessions(self):
        return []

    def chaos(self, seed):
        raise RuntimeError("no chaos here")
