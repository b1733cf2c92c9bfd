"""conf/errors.yaml, driven: each of its pages is answered where its line says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kit.deadline import Late
from kit.message import Ended, reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

CONF = Path(__file__).resolve().parents[3] / "conf"


@pytest.mark.ours
def test_the_example_answers_as_it_says(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load((CONF / "errors.yaml").read_text())
    first, second = daemon.server(reply(b"1")), daemon.server(reply(b"2"))
    app = settings["backends"]["app"]["servers"]
    app[0]["address"], app[1]["address"] = first.text, second.text
    settings["backends"]["beta"]["servers"][0]["address"] = daemon.refused().text
    settings["backends"]["beta"]["retries"] = 0
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    pages = settings["http_errors"]["site"]
    pages[404]["file"] = str(CONF / pages[404]["file"])
    pages[503] = str(CONF / pages[503])
    pages[504]["lf_file"] = str(CONF / pages[504]["lf_file"])
    settings["http_errors"]["site"] = {str(code): page for code, page in pages.items()}
    settings["defaults"]["errors"] = {str(code): page for code, page in settings["defaults"]["errors"].items()}
    settings["backends"]["beta"]["errors"] = {"503": settings["backends"]["beta"]["errors"][503]}
    settings["frontends"]["web"]["rules"][3]["deny"]["errorfile"] = str(CONF / "pages/503.http")
    daemon.start({**settings, "global": {"workers": 1}})
    client = daemon.client()

    assert b"There is nothing here." in client.get("/private/x").body
    slow = client.get("/", "User-Agent: Crawler/1")
    assert (slow.status, slow.body, slow.value("retry-after")) == (429, b"please slow down\n", b"10")
    refused = client.get("/api/x")
    assert (refused.status, refused.body) == (403, b'{"error": "no key", "path": "/api/x"}')
    assert client.get("/api/x", "X-Key: 1").status == 200
    closed = client.get("/closed")
    assert (closed.status, closed.value("retry-after")) == (503, b"30")
    assert b"We are back soon." in closed.body
    assert {client.get("/", "X-First: 1").body for _ in range(3)} == {b"1"}
    sent = client.get("/", "Cookie: stage=beta")
    assert (sent.status, sent.value("location")) == (303, b"/")
    assert client.get("/", "Cookie: stage=none").status == 200
    dropped = daemon.client()
    dropped.sock.settimeout(0.2)
    with pytest.raises((Ended, Late)):
        dropped.get("/", "User-Agent: zgrab/0.x")
