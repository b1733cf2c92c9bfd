"""User lists in a configuration: what is refused, and what becomes of groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lb.config import ConfigError, compile  # noqa: A004
from lb.config.userlists import UserRow

HASH = "$6$rounds=1000$saltsalt$" + "x" * 86


def document(users: dict[str, Any], condition: str = "{ http_auth(staff) }", **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "userlists": {"staff": {"users": users, **more}},
        "frontends": {
            "web": {"bind": [":80"], "rules": [{"auth": True, "unless": condition}], "default_backend": "app"}
        },
        "backends": {"app": {"servers": ["10.0.0.1:80"]}},
    }


def messages(folder: Path, given: dict[str, Any]) -> list[str]:
    file = folder / "lb.yaml"
    file.write_text(yaml.safe_dump(given))
    try:
        compile(file)
    except ConfigError as error:
        return [str(each) for each in error.errors]
    return []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (document({}), "userlist 'staff': has no users"),
        (document({"a": {}}), "user 'a' has no password"),
        (document({"a": {"password": HASH, "insecure_password": "x"}}), "user 'a' has two passwords"),
        (document({"a:b": HASH}), "his name cannot be sent"),
        (document({"a": "secret"}), "user 'a': the password is no hash that libcrypt knows; 'mkpasswd' makes one"),
        (document({"a": {"password": "env:LB_NOBODY_SETS_THIS"}}), "the environment has none"),
        (document({"a": {"insecure_password": "x" * 256}}), "longer than 255 bytes"),
        (document({"alice": HASH}, groups={"admins": ["alise"]}), "unknown user 'alise'; did you mean 'alice'?"),
        (document({"a": HASH}, "{ http_auth(stuff) }"), "'http_auth': unknown userlist 'stuff'"),
        (document({"a": HASH}, "{ http_auth_group(staff) admins }"), "unknown group 'admins'"),
        (document({"a": HASH}, "{ http_auth_group(staff) }"), "needs the name of a group"),
    ],
)
def test_what_is_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    found = messages(tmp_path, given)
    assert len(found) == 1
    assert message in found[0]


def test_rows_and_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALICE", HASH)
    (tmp_path / "bob").write_text("secret\n")
    users = {"alice": "env:ALICE", "bob": {"insecure_password": "file:bob", "groups": ["ops"]}}
    given = document(users, "{ http_auth_group(staff) ops admins }", groups={"admins": ["alice", "bob"]})
    file = tmp_path / "lb.yaml"
    file.write_text(yaml.safe_dump(given))
    rows = compile(file).rows
    assert rows.userlists == [[UserRow(b"alice", HASH.encode(), False), UserRow(b"bob", b"secret", True)]]
    assert rows.program is not None
    (patterns,) = rows.program.sets
    assert sorted(patterns.words) == [b"alice", b"bob"]  # groups are their users
