"""What a peer claims about the client reaches servers only if somebody trusted says it: every header, every spelling."""

from __future__ import annotations

import pytest
from kit.settings import Settings
from kit.stage import Stage

pytestmark = pytest.mark.ours

CLAIM = "192.0.2.66"
ALL: Settings = {
    "forwarded_for": True,
    "forwarded": {"for": "address", "host": True, "by": "_lb"},
    "x_forwarded": ["proto", "host", "port", "real_ip"],
    "request_id": True,
}
CLAIMS = {
    "X-Forwarded-For": CLAIM,
    "Forwarded": f"for={CLAIM}",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Port": "666",
    "X-Real-IP": CLAIM,
    "X-Request-ID": "evil-666",
}
# Never written, but believed by some servers.
OTHERS = {
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Ssl": "evil",
    "X-Forwarded-Server": "evil",
    "X-Forwarded-Scheme": "evil",
}
STRANGER = ["10.0.0.0/8", "unix"]
FRIEND = ["127.0.0.1"]


def spellings(name: str) -> list[str]:
    return [name, name.lower(), name.upper(), name.replace("-", "_"), name.replace("-", "_", 1).lower()]


def seen(stage: Stage, frontend: Settings, *fields: str) -> list[tuple[str, bytes]]:
    """Send a request with these fields; return all that the server got, names as it may read them."""
    server = stage.server()
    stage.http(server, frontend=frontend)
    assert stage.client().get("/", *fields).status == 200
    return [(name.lower().decode().replace("_", "-"), value) for name, value in server.requests[0].fields]


@pytest.mark.smoke
@pytest.mark.parametrize("trusted", [None, [], STRANGER], ids=["nobody is named", "nobody", "others"])
def test_nothing_that_a_stranger_claims_reaches_a_server(stage: Stage, trusted: list[str] | None) -> None:
    frontend = ALL if trusted is None else {**ALL, "trusted_proxies": trusted}
    fields = [f"{spelled}: {value}" for name, value in CLAIMS.items() for spelled in spellings(name)]
    got = seen(stage, frontend, *fields, "X-Kept: yes")
    for name, value in CLAIMS.items():
        values = [each for key, each in got if key == name.lower()]
        assert len(values) == 1, (name, values)
        assert value.encode() not in values[0], name
    assert ("x-kept", b"yes") in got


@pytest.mark.parametrize("name", CLAIMS)
def test_each_header_alone_is_kept_from_servers(stage: Stage, name: str) -> None:
    """Whatever else is written or not: the header that is configured is clean."""
    alone: dict[str, Settings] = {
        "X-Forwarded-For": {"forwarded_for": True},
        "Forwarded": {"forwarded": True},
        "X-Forwarded-Proto": {"x_forwarded": ["proto"]},
        "X-Forwarded-Host": {"x_forwarded": ["host"]},
        "X-Forwarded-Port": {"x_forwarded": ["port"]},
        "X-Real-IP": {"x_forwarded": ["real_ip"]},
        "X-Request-ID": {"request_id": True},
    }
    fields = [f"{spelled}: {CLAIMS[name]}" for spelled in spellings(name)]
    got = seen(stage, alone[name], *fields, *fields)
    values = [value for key, value in got if key == name.lower()]
    assert len(values) == 1
    assert CLAIMS[name].encode() not in values[0]


def test_a_list_of_proxies_alone_keeps_the_usual_headers_from_servers(stage: Stage) -> None:
    claims = CLAIMS | OTHERS
    claims.pop("X-Request-ID")
    got = seen(stage, {"trusted_proxies": STRANGER}, *(f"{n}: {v}" for n, v in claims.items()))
    assert got == [("host", b"lb.test")]


def test_without_any_of_it_heads_pass_untouched(stage: Stage) -> None:
    claims = CLAIMS | OTHERS
    got = seen(stage, {}, *(f"{n}: {v}" for n, v in claims.items()))
    assert got == [("host", b"lb.test"), *((n.lower(), v.encode()) for n, v in claims.items())]


def test_what_a_trusted_proxy_says_is_kept_and_added_to(stage: Stage) -> None:
    claims = CLAIMS | OTHERS
    got = seen(stage, {**ALL, "trusted_proxies": FRIEND}, *(f"{n}: {v}" for n, v in claims.items()))
    assert got == [
        ("host", b"lb.test"),
        *((n.lower(), v.encode()) for n, v in claims.items()),
        ("x-forwarded-for", b"127.0.0.1"),
        ("forwarded", b"proto=http;host=lb.test;by=_lb;for=127.0.0.1"),
    ]


def test_a_trusted_proxy_passes_on_other_spellings_unread(stage: Stage) -> None:
    """A proxy that writes X-Forwarded-For lets X_Forwarded_For of its client through; a server may take it for the same."""
    fields = [f"{name.replace('-', '_')}: {value}" for name, value in CLAIMS.items() if "-" in name]
    got = seen(stage, {**ALL, "trusted_proxies": FRIEND}, *fields)
    for name, value in CLAIMS.items():
        assert value.encode() not in [each for key, each in got if key == name.lower()]


@pytest.mark.parametrize("trusted", [STRANGER, FRIEND])
def test_connection_removes_none_of_it(stage: Stage, trusted: list[str]) -> None:
    names = [name for name in CLAIMS if name != "X-Request-ID"]
    got = seen(
        stage,
        {**ALL, "trusted_proxies": trusted},
        "Connection: " + ", ".join(names),
        *(f"{n}: {v}" for n, v in CLAIMS.items()),
    )
    for name in names:
        values = [value for key, value in got if key == name.lower()]
        assert values
        assert (CLAIMS[name].encode() in values) == (trusted is FRIEND)


@pytest.mark.h1_only
def test_the_second_request_of_a_connection_is_judged_like_the_first(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"forwarded_for": True})
    client = stage.client()
    for _ in range(3):
        client.get("/", f"X-Forwarded-For: {CLAIM}")
    assert [request.values("x-forwarded-for") for request in server.requests] == [[b"127.0.0.1"]] * 3
