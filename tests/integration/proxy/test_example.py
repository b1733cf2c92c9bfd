"""conf/proxy-protocol.yaml, driven: who is listed is believed, and each mail server is told in its way."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kit.client import Client
from kit.message import Request, ask, reply
from kit.proxy import Told, take, v2
from kit.server import Connection, answering
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.wire import Reset

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/proxy-protocol.yaml"
HEADER = v2("192.0.2.7", 40123, "198.51.100.2", 443)
GET = ask("/", host="a")


def whoami(request: Request) -> bytes:
    return reply(b",".join(request.values("x-forwarded-for")))


@pytest.mark.ours
def test_the_example_does_what_it_says(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    web, mail = settings["frontends"]["web"], settings["frontends"]["mail"]
    path = str(daemon.directory / "web.sock")
    refusing, unix, plain = web["bind"]
    # Clients come from loopback here, so the first list has it and the third has not.
    refusing |= {"address": LOOPBACK, "accept_proxy": [*refusing["accept_proxy"], "loopback"]}
    unix["address"] = path
    plain |= {"address": LOOPBACK, "name": "plain"}
    strict = {"address": LOOPBACK, "accept_proxy": refusing["accept_proxy"][:-1], "name": "strict"}
    web["bind"] = [refusing, plain, unix]
    mail["bind"] = [LOOPBACK]
    settings["frontends"]["strict"] = {**web, "bind": [strict]}
    told: list[Told] = []

    def greet(connection: Connection) -> None:
        told.append(take(connection))
        connection.send(b"220 ready\r\n")
        connection.wait_end()

    settings["backends"]["app"]["servers"] = [daemon.server(answering(whoami)).text for _ in range(2)]
    for i, given in enumerate(settings["backends"]["mail"]["servers"]):
        server: Settings = given if isinstance(given, dict) else {"address": given}
        settings["backends"]["mail"]["servers"][i] = {**server, "address": daemon.server(greet).text, "name": f"m{i}"}
    proxy = daemon.start({**settings, "global": {"workers": 1}})

    for address in (proxy.addresses["web"][0], path):
        with Client(address) as client:
            client.send(HEADER + GET)
            assert client.response().body == b"192.0.2.7"
    with Client(proxy.addresses["web"][1]) as client:
        assert client.get("/").body == b"127.0.0.1"
    with Client(proxy.addresses["strict"][0]) as client:
        try:
            client.send(HEADER + GET)
        except Reset:
            pass  # it is closed already
        client.expect_end()
        assert not client.received
    clients = [daemon.client("mail") for _ in range(3)]
    for client in clients:
        assert client.read_exactly(11) == b"220 ready\r\n"
    assert sorted(each.version for each in told) == [1, 2, 2]
    assert {each.source for each in told} == {client.local for client in clients}
    assert sorted(len(each.tlvs) for each in told) == [0, 0, 2]
