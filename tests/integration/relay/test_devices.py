"""What only debug builds have cannot be reached in a release."""

from __future__ import annotations

from pathlib import Path

import pytest

import lb
from lb._speedups.face.engine import Engine
from lb._speedups.face.mapping import Mapping
from lb.config import compile as compile_configuration

IS_RELEASE = "release" in Path(lb.__file__).parts


@pytest.mark.smoke
@pytest.mark.parametrize("debug", [{"codec": "mux"}, {"transport": "twisted"}], ids=["mux", "twisted"])
@pytest.mark.parametrize("where", ["listener", "server"])
def test_a_release_refuses_a_plan_with_a_test_device(
    monkeypatch: pytest.MonkeyPatch, debug: dict[str, str], where: str
) -> None:
    monkeypatch.setenv("LB_DEBUG_CONFIG", "1")
    bind = {"address": "127.0.0.1:1", **({"debug": debug} if where == "listener" else {})}
    server = {"address": "127.0.0.1:1", **({"debug": debug} if where == "server" else {})}
    compiled = compile_configuration({
        "version": 1,
        "frontends": {"web": {"mode": "http", "bind": [bind], "default_backend": "app"}},
        "backends": {"app": {"servers": [server]}},
    })  # fmt: skip
    mapping = Mapping.create()
    engine = Engine(mapping, 1)
    image = compiled.image(1, list(range(1, len(compiled.objects) + 1)), [0] * len(compiled.balances))
    if IS_RELEASE:
        with pytest.raises(ValueError, match="not a plan image"):
            engine.prepare(image)
    else:
        assert engine.prepare(image) == 1
    engine.close()
    mapping.close()
