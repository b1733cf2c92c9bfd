"""The hammer on an engine in this process, and the books that must agree afterwards."""

from __future__ import annotations

import asyncio
import itertools

import h11

from kit.hammer import Ask, Hammer, Tally
from kit.inprocess import InProcess, InProcessPlane
from kit.log import parse
from kit.settings import Settings, relay
from kit.stage import Stage

PLANES = {
    "tcp": lambda seed: InProcessPlane("tcp"),
    "twisted": lambda seed: InProcessPlane("twisted", transport="twisted"),
    "chaos": lambda seed: InProcessPlane("chaos", chaos=seed),
    "scarce": lambda seed: InProcessPlane("scarce", chaos=seed, scarce=97),
}


class Copies(Hammer):
    """Servers for copies of what another hammer asks: none may be cut, none may come twice."""

    def __init__(self, original: Hammer) -> None:
        super().__init__(original.seed + 1, scarce=original.scarce)
        self.tally.asked = original.tally.asked

    async def _body(self, connection: h11.Connection, reader: asyncio.StreamReader, order: Ask, slow: bool) -> None:
        try:
            await super()._body(connection, reader, order, slow)
        except (ConnectionError, h11.RemoteProtocolError):
            # What was answered before it had ended is not sent to its end.
            if order.kind != "early" and not self.scarce:
                self.tally.wrong.append(f"{order.target}: a copy was cut")
            raise


async def hammer(stage: Stage, seed: int, connections: int, *, scarce: bool, reloads: bool = False,
                 mirror: bool = False, judged: bool = False) -> None:  # fmt: skip
    """Run the hammer on a stage, perhaps with reloads meanwhile, mirrored requests or rules, and compare the books."""
    hammer = Hammer(seed, scarce=scarce, judged=judged)
    await hammer.listen(3)
    configurations = variants([f"{host}:{port}" for host, port in hammer.addresses])
    copies = Copies(hammer)
    if mirror:
        await copies.listen(2)
        for i, configuration in enumerate(configurations):
            add_mirror(configuration, [f"{host}:{port}" for host, port in copies.addresses], i)
    if judged:
        for i, configuration in enumerate(configurations):
            add_rules(configuration, i)
    proxy = await asyncio.to_thread(stage.start, configurations[0])
    assert isinstance(proxy, InProcess)
    hammer.describe = lambda: proxy.ask(proxy.engine.sessions)
    over = asyncio.Event()
    storm = asyncio.create_task(reload_until(over, proxy, configurations if reloads else []))
    try:
        await hammer.run(proxy.addresses["web"][0], connections)
    finally:
        over.set()
        count = await storm
        proxy.calm()
        await hammer.close()
        await copies.close()
    await asyncio.to_thread(proxy.settle)
    tally = hammer.tally
    tally.wrong += copies.tally.wrong
    assert not tally.wrong, "\n".join(explained(proxy, tally))
    assert len(tally.answered) > connections // 2
    check_books(proxy, hammer)
    assert count > 5 or not reloads
    if mirror:
        check_copies(proxy, copies)


def variants(servers: list[str]) -> list[Settings]:
    """Return configurations with servers and backends that come, go and change their address under the same name."""
    one, two, three = servers
    forwarded: Settings = {"forwarded_for": True}
    found = [
        relay("http", one, two, frontend=forwarded),
        relay("http", one, two, three, frontend=forwarded),
        relay("http", three, frontend=forwarded),
        relay("http", two, one, frontend=forwarded),
        relay("http", {"address": one, "weight": 5}, {"address": three, "weight": 200}, frontend=forwarded),
    ]
    other = relay("http", one, frontend=forwarded | {"default_backend": "other"})
    other["backends"]["other"] = {"servers": [{"name": "o1", "address": two}]}
    return [*found, other]


def add_mirror(settings: Settings, servers: list[str], number: int) -> None:
    """Have the requests of `web` copied for a backend `shadow`; the options differ by `number`."""
    mirror = {"to": "shadow", "max_body": ("100k", "16m", "20k")[number % 3], "max_copies": (16, 200)[number % 2]}
    settings["frontends"]["web"]["mirror"] = mirror
    names = [{"name": f"m{i}", "address": address} for i, address in enumerate(servers)]
    settings["backends"]["shadow"] = {"servers": names[number % 2 :]}


def add_rules(settings: Settings, number: int) -> None:
    """Have requests and answers judged and edited, everything forwarded, PROXY headers read, connections reused otherwise."""
    web = settings["frontends"]["web"]
    web["bind"] = [{**web["bind"][0], "accept_proxy": ["any"]}]
    web |= {"forwarded": True, "x_forwarded": ["proto", "host", "port"], "via": True, "request_id": True}
    web["acls"] = {
        "some": "req.hdr(x-token) -m end 0 2 4 6 8 a c e",
        "long": ["req.hdr(x-long) -m sub -- 0-", "path_len ge 40"],
    }
    web["rules"] = [
        {"set_header": ["x-before", "%[req.hdr(x-token),upper]-%[src]"]},
        {"deny": 502, "if": "{ path_beg /denied/ }"},
        {
            "return": {"body": "%[path,field(3,/)]-", "headers": {"X-Token": "%[path,word(2,/)]"}},
            "if": "{ path_dir returned }",
        },
        {"set_pathq": "%[pathq]", "if": "some long or !some"},
        {"set_header": ["X-Token", "%[req.hdr(x-token)]"]},
        {"use_backend": "third", "if": "some !long"},
        {"del_header": "x-before", "unless": "long"},
    ]
    web["response_rules"] = [
        {"deny": 502, "if": "{ path -m beg /veiled/ }"},
        {"set_header": ["X-Token", "%[res.hdr(x-token)]"]},
    ]
    app = settings["backends"]["app"]
    app["rules"] = [{"add_header": ["x-be", "%[be_name]-%[nbsrv]-%[unique-id]"], "if": "{ req.hdr_cnt(host) 1 }"}]
    app["response_rules"] = [{"add_header": ["x-served", "%[srv_name]"], "if": "{ status 200 }"}]
    settings["backends"]["third"] = {"servers": [dict(each) for each in app["servers"]]}
    for i, backend in enumerate(settings["backends"].values()):
        backend["http_reuse"] = ("always", "safe", "never", "aggressive")[(number + i) % 4]


def check_copies(proxy: InProcess, copies: Copies) -> None:
    """Compare what the servers of the copies saw with the counters."""
    web, shadow = proxy.counters("web"), proxy.counters("shadow")
    assert (web["mirrored"], web["mirror_dropped"]) == (shadow["mirrored"], shadow["mirror_dropped"])
    assert shadow["mirrored"] == shadow["req_total"] > 10
    assert shadow["retries"] == 0
    served = copies.tally.served
    assert 10 < len(served) <= shadow["mirrored"]
    assert set(served.values()) == {1}


async def reload_until(over: asyncio.Event, proxy: InProcess, configurations: list[Settings]) -> int:
    """Reload one configuration after the other; return how often."""
    count = 0
    for configuration in itertools.cycle(configurations):
        if over.is_set():
            break
        await asyncio.to_thread(proxy.reload, configuration)
        count += 1
    return count


def explained(proxy: InProcess, tally: Tally) -> list[str]:
    """Return what went wrong, and what the log has of the same requests."""
    wrong = tally.wrong[:10]
    lines = [
        line for line in proxy.log_lines() for token in tally.asked if any(token in w for w in wrong) and token in line
    ]
    return wrong + lines


def check_books(proxy: InProcess, hammer: Hammer) -> None:
    """Compare what clients saw with the log and the counters."""
    tally = hammer.tally
    records = [parse(line) for line in proxy.log_lines()]
    web, app = proxy.counters("web"), proxy.counters("app")
    assert web["log_dropped"] == 0
    if hammer.judged:  # who leaves before its PROXY header is there has asked for nothing
        records = [record for record in records if record.line.startswith("192.0.2.")]
    assert web["req_total"] == len(records)
    logged: dict[str, int] = {}
    refused = 0
    for record in records:
        parts = record.request.split(" ")
        token = parts[1].split("/")[2] if len(parts) == 3 and parts[1].count("/") == 5 else ""
        if not token:
            refused += 1
            continue
        assert token in tally.asked, record.line
        assert token not in logged, f"logged twice: {record.line}"
        logged[token] = record.status
    for token, status in tally.answered.items():
        assert logged.get(token) == status, (tally.asked[token], logged.get(token), status)
    assert refused >= tally.refused
    for name in proxy.oids:
        assert proxy.counters(name)["cur"] == 0, name
    assert app["connects"] + app["reuses"] == app["chosen"]
