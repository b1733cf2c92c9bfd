"""Random streams, ends and failures on the multiplexing codec: nothing is left, and the protocol is kept."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

import h11
import pytest
from kit.inprocess import InProcessPlane
from kit.message import Ended, Truncated, ask
from kit.mux import CANCEL, NONE, REFUSED, STREAMS, MuxClient, Stream, StreamReset, response_fields, serving
from kit.server import Connection
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.wire import Reset

import lb

MUX: Settings = {"debug": {"codec": "mux"}}
CUTS = (StreamReset, Truncated, Reset, Ended, OSError, h11.RemoteProtocolError)
ROUNDS = 12

pytestmark = pytest.mark.skipif("release" in Path(lb.__file__).parts, reason="built into debug builds only")


def moody(seed: int) -> Callable[[Connection], None]:
    """Make a server that answers, resets, answers early, breaks off or hangs up, as it likes."""
    dice = random.Random(seed)

    def answer(stream: Stream) -> None:
        stream.next_head()
        mood = dice.randrange(10)
        if mood == 0:
            stream.reset(dice.choice([CANCEL, REFUSED]))
        elif mood == 1:
            stream.respond(b"early", 413)
            stream.reset(NONE)
        elif mood == 2:
            stream.send_head(response_fields(200, [(b"content-length", b"1000")]))
            stream.send_data(b"x" * dice.randrange(500))
            stream.reset()
        elif mood == 3 and dice.randrange(4) == 0:
            with contextlib.suppress(OSError):  # the proxy was first
                stream.mux.wire.sock.shutdown(2)
        else:
            stream.send_head(response_fields(103))
            stream.respond(stream.body(), length=bool(dice.randrange(2)))

    return serving(answer)


def mux_user(stage: Stage, seed: int) -> None:
    """Open streams, some of which are given up, some of whose connections are."""
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        client = MuxClient(stage.address())
        try:
            for _ in range(3):
                bodies = [dice.randbytes(dice.randrange(600)) for _ in range(dice.randrange(1, STREAMS + 1))]
                streams = [client.post("/", body, length=bool(dice.randrange(2))) for body in bodies]
                for stream, body in zip(streams, bodies, strict=True):
                    use(stream, body, dice.randrange(8))
                if dice.randrange(6) == 0:
                    break
        except CUTS:
            pass
        client.close()  # fails for what broke the protocol


def use(stream: Stream, body: bytes, mood: int) -> None:
    """Read an answer or give it up."""
    try:
        if mood == 0:
            stream.reset()
            return
        response = stream.response()
        if response.status == 200:
            assert response.body == body
    except StreamReset:
        pass


def h1_user(stage: Stage, seed: int) -> None:
    """Send requests, and leave some of them alone."""
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        try:
            with stage.client("h1") as client:
                for _ in range(3):
                    body = dice.randbytes(dice.randrange(600))
                    client.send(ask("/", method="POST", body=body))
                    if dice.randrange(8) == 0:
                        break
                    response = client.response("POST")
                    assert response.status != 200 or response.body == body
                    if b"close" in response.values("connection"):
                        break
        except CUTS:
            pass


@pytest.mark.parametrize("scarce", [0, 40], ids=["plenty", "scarce"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_happens_nothing_is_left(tmp_path: Path, seed: int, scarce: int) -> None:
    stage = Stage(InProcessPlane("storm", chaos=seed, scarce=scarce), tmp_path)
    servers = [stage.server(moody(seed + i)) for i in range(2)]
    stage.start({
        "version": 1,
        "defaults": {"retries": 1, "timeouts": {"connect": "100ms", "client": "5s", "server": "5s"}},
        "frontends": {
            "web": {"mode": "http", "bind": [{"address": LOOPBACK, **MUX}], "default_backend": "app"},
            "h1": {"mode": "http", "bind": [{"address": LOOPBACK}], "default_backend": "app"},
        },
        "backends": {"app": {"servers": [{"address": server.text, **MUX} for server in servers]}},
    })  # fmt: skip
    failures: list[BaseException] = []

    def run(user: Callable[[Stage, int], None], number: int) -> None:
        try:
            user(stage, number)
        except BaseException as e:
            failures.append(e)

    users = [
        threading.Thread(target=run, args=(user, seed * 100 + i)) for i, user in enumerate([mux_user, h1_user] * 3)
    ]
    for user in users:
        user.start()
    for user in users:
        user.join()
    try:
        assert not failures, failures
    finally:
        stage.close()
