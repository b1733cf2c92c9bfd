"""PROXY headers that a connection rule asks for, as HAProxy's `expect-proxy layer4`."""

from __future__ import annotations

import pytest
from kit.inprocess import InProcess
from kit.proxy import v1, v2
from kit.server import echoing
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.wire import Reset

SOURCE, TARGET = ("192.0.2.7", 40123), ("198.51.100.2", 443)
EXPECT: Settings = {"expect_proxy": "layer4", "if": "{ src 127.0.0.0/8 }"}


def ruled(stage: Stage, rules: list[Settings], **frontend: object) -> None:
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {
                    "mode": "tcp",
                    "bind": [{"address": LOOPBACK}],
                    "default_backend": "app",
                    "connection_rules": rules,
                    **frontend,
                }
            },
            "backends": {"app": {"servers": [stage.server(echoing).text]}},
        }
    )


@pytest.mark.h1_only
@pytest.mark.parametrize("header", [v1(*SOURCE, *TARGET), v2(*SOURCE, *TARGET)], ids=["v1", "v2"])
def test_the_session_has_the_client_of_the_header(stage: Stage, header: bytes) -> None:
    """Connection rules see who connects, session rules whom the header names."""
    ruled(stage, [EXPECT], session_rules=[{"reject": True, "unless": "{ src 192.0.2.7 } { src_port 40123 }"}])
    client = stage.client()
    client.send_bytewise(header)
    client.send(b"hello")
    assert client.read_exactly(5) == b"hello"
    client.close()
    assert stage.record().client == "192.0.2.7:40123"


@pytest.mark.h1_only
def test_what_is_no_header_is_refused(stage: Stage) -> None:
    ruled(stage, [EXPECT])
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises((EOFError, Reset)):
        client.read_exactly(1)
    assert stage.record().state == "PR"


@pytest.mark.h1_only
def test_rules_behind_it_still_decide(stage: Stage) -> None:
    ruled(stage, [EXPECT, {"reject": True}])
    client = stage.client()
    with pytest.raises((EOFError, Reset)):
        client.read_exactly(1)
    assert isinstance(stage.proxy, InProcess)
    assert stage.proxy.counters("web")["denied_conn"] == 1


@pytest.mark.h1_only
@pytest.mark.parametrize("phase", ["connection_rules", "session_rules", "content_rules"])
def test_a_silent_drop_lets_nobody_in(stage: Stage, phase: str) -> None:
    rules: list[Settings] = [{"silent_drop": True}]
    ruled(
        stage, rules if phase == "connection_rules" else [], **({} if phase == "connection_rules" else {phase: rules})
    )
    client = stage.client()
    assert isinstance(stage.proxy, InProcess)
    stage.proxy.settle()
    counters = stage.proxy.counters("web")
    assert counters["denied_conn"] + counters["denied_sess"] + counters["denied_req"] == 1
    client.close()
