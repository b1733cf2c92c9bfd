"""What the supervisor and its children say to each other, all of it.

Written by one side and read by the other at the same version: a field may change freely, nothing is stored.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from lb.config.part import Balance, ObjectKind

Listening = tuple[int, int]
"""(object id of the listener, number of the socket)."""


class Spawn(Struct, tag=True, frozen=True):
    """Supervisor to zygote: fork a child of this kind; the descriptor is the child's end of its channel."""

    kind: str
    slot: int


class Spawned(Struct, tag=True, frozen=True):
    """Zygote to supervisor, in the order of the Spawns: the new child's pid, or 0 and why there is none."""

    pid: int
    reason: str = ""


class Sockets(Struct, tag=True, frozen=True):
    """Supervisor to worker: listening sockets with these numbers; the descriptors are in the same order."""

    numbers: list[int]


class Prepare(Struct, tag=True, frozen=True):
    """Supervisor to worker: make this generation ready; the descriptor is its plan image.

    `listening` is everything the worker listens on from the commit on; a socket that is not in it any more is given up
    then. `grace_ms` is how long the worker may drain if the supervisor dies.
    """

    generation: int
    listening: list[Listening]
    grace_ms: int


class Prepared(Struct, tag=True, frozen=True):
    """Worker to supervisor: this generation is ready, or cannot be and why."""

    generation: int
    error: str = ""


class Discard(Struct, tag=True, frozen=True):
    """Supervisor to worker: this prepared generation will not be committed; sockets that only it named are given up."""

    generation: int


class Switched(Struct, tag=True, frozen=True):
    """Worker to supervisor: this generation is in use and its sockets are served."""

    generation: int


class Drain(Struct, tag=True, frozen=True):
    """Supervisor to worker: accept nothing new, end when the last connection has gone.

    `alone`: no other worker takes its sockets over, so sessions of datagrams go on being read.
    """

    alone: bool = False


class Stop(Struct, tag=True, frozen=True):
    """Supervisor to worker: end every connection and exit now."""


class Ask(Struct, tag=True, frozen=True):
    """Supervisor to worker: answer this question ("pools", "load", "sessions") under this number."""

    number: int
    question: str


class Answer(Struct, tag=True, frozen=True):
    """Worker to supervisor: the answer to the question with this number."""

    number: int
    content: Any


class Compile(Struct, tag=True, frozen=True):
    """Supervisor to compiler: read the configuration in this file."""

    path: str


class Faults(Struct, tag=True, frozen=True):
    """Compiler to supervisor: the configuration cannot be used; every diagnostic, one line each."""

    lines: list[str]


class Compiled(Struct, tag=True, frozen=True):
    """Compiler to supervisor: what needs an object id or a balance, and the supervisor's own part (msgpack)."""

    objects: list[tuple[ObjectKind, int, str]]
    balances: list[Balance]
    part: bytes
    warnings: list[str]


class Numbers(Struct, tag=True, frozen=True):
    """Supervisor to compiler: the object ids and the arena offsets, in the order of Compiled."""

    generation: int
    oids: list[int]
    offsets: list[int]


class Image(Struct, tag=True, frozen=True):
    """Compiler to supervisor, its last words: the descriptor is the sealed plan image."""


Message = (
    Spawn
    | Spawned
    | Sockets
    | Prepare
    | Prepared
    | Discard
    | Switched
    | Drain
    | Stop
    | Ask
    | Answer
    | Compile
    | Faults
    | Compiled
    | Numbers
    | Image
)
