"""Stages for integration tests.

`stage` runs a test on every plane that carries traffic inside this process: the plain transport, the `twisted` one,
and `engine.chaos` with the seed LB_TEST_CHAOS_SEED. `daemon` runs it on `lb run`. LB_TEST_PLANES names other planes;
`LB_TEST_PLANES=haproxy` runs what is not marked `ours` on HAProxy, which shows that a test is right before lb is asked.
The chapters http, forwarded, mirror, proxy and rules also run on `mux`, with the multiplexing codec between two engines, but
for what is marked `h1_only`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.chained import MuxPlane
from kit.daemon import DaemonPlane
from kit.haproxy import HaproxyPlane
from kit.inprocess import InProcessPlane
from kit.plane import Plane
from kit.stage import Stage

import lb

NAMED = os.environ.get("LB_TEST_PLANES", "")
ON_PEER = NAMED == "haproxy"
PLANES: dict[str, Callable[[], Plane]] = {
    "tcp": InProcessPlane,
    # Small pieces in every direction: what is large elsewhere takes too long here.
    "twisted": lambda: InProcessPlane("twisted", transport="twisted", bulk=1 << 19),
    "chaos": lambda: InProcessPlane("chaos", chaos=CHAOS_SEED, bulk=1 << 18),
    "mux": MuxPlane,
    "mux-twisted": lambda: MuxPlane("mux-twisted", transport="twisted", bulk=1 << 16),
    "mux-chaos": lambda: MuxPlane("mux-chaos", chaos=CHAOS_SEED, bulk=1 << 16),
    "daemon": DaemonPlane,
    "haproxy": HaproxyPlane,
}
CHAPTERS = Path(__file__).parent
MUX_CHAPTERS = ("http", "forwarded", "mirror", "proxy", "rules")
CHAOS_SEED = int(os.environ.get("LB_TEST_CHAOS_SEED", "1"))
# The release build has no devices that disturb.
IS_RELEASE = "release" in Path(lb.__file__).parts
RELAY = NAMED.split(",") if NAMED else ["tcp"] if IS_RELEASE else ["tcp", "twisted", "chaos"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "plane" in metafunc.fixturenames:
        over_mux = (
            not NAMED and not IS_RELEASE and metafunc.definition.path.relative_to(CHAPTERS).parts[0] in MUX_CHAPTERS
        )
        metafunc.parametrize("plane", [*RELAY, "mux"] if over_mux else RELAY, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = [item for item in items if not is_beside_the_point(item)]
    config.hook.pytest_deselected(items=[item for item in items if is_beside_the_point(item)])
    items[:] = chosen


def is_beside_the_point(item: pytest.Item) -> bool:
    """Whether a test says nothing on its plane."""
    if ON_PEER and item.get_closest_marker("ours"):
        return True
    plane = getattr(item, "callspec", None) and item.callspec.params.get("plane", "")
    return bool(plane and plane.startswith("mux") and item.get_closest_marker("h1_only"))


@pytest.fixture
def plane(request: pytest.FixtureRequest) -> Plane:
    """A plane by name."""
    return PLANES[request.param]()


@pytest.fixture
def stage(plane: Plane, tmp_path: Path) -> Iterator[Stage]:
    """What one relay test uses, on every plane."""
    stage = Stage(plane, tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Stage]:
    """What one test of real processes uses."""
    stage = Stage(HaproxyPlane() if ON_PEER else DaemonPlane(), tmp_path)
    yield stage
    stage.close()
