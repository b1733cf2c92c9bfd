"""Secrets by reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from lb.config import ConfigError
from lb.config import compile as compile_configuration
from lb.config.secret import SECRET_MAX, SecretError, read_secret


def test_what_a_reference_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LB_TOKEN", " from the environment ")
    (tmp_path / "token").write_text("from a file\n")
    assert read_secret("env:LB_TOKEN", str(tmp_path)) == " from the environment "
    assert read_secret("file:token", str(tmp_path)) == "from a file"
    assert read_secret(f"file:{tmp_path}/token", "/nowhere") == "from a file"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("env:LB_NO_SUCH_TOKEN", "names the variable 'LB_NO_SUCH_TOKEN', and the environment has none"),
        ("file:none", "names the file 'none': no such file or directory"),
        ("file:empty", "names the file 'empty', which is empty"),
        ("file:long", f"names the file 'long', which is longer than {SECRET_MAX} bytes"),
        ("file:binary", "names the file 'binary', which is not text"),
        ("hush", "is not a reference; write 'env:NAME' or 'file:PATH', so that the secret stands elsewhere"),
        ("env:", "is not a reference; write 'env:NAME' or 'file:PATH', so that the secret stands elsewhere"),
    ],
)
def test_a_reference_to_nothing(tmp_path: Path, reference: str, reason: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "long").write_text("x" * (SECRET_MAX + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError) as error:
        read_secret(reference, str(tmp_path))
    assert str(error.value) == reason
    assert "hush" not in str(error.value)


def test_a_configuration_names_its_place_and_not_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "lb.yaml"
    file.write_text(
        'version: 1\nglobal:\n  http: {address: "127.0.0.1:0", token: "file:none"}\nfrontends:\n'
        '  web: {bind: ["127.0.0.1:0"], default_backend: app}\nbackends:\n  app: {servers: ["127.0.0.1:1"]}\n'
    )
    with pytest.raises(ConfigError) as error:
        compile_configuration(str(file))
    assert "lb.yaml:3: global: http.token names the file 'none': no such file or directory" in str(error.value)
