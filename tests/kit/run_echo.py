"""`lb run FILE` with the echo engine in its workers: run_echo.py FILE READY_FD."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from tests.kit import echo_engine

sys.modules["lb._speedups.face.engine"] = echo_engine

from lb.supervisor.run import main  # noqa: E402

sys.exit(main(sys.argv[1], int(sys.argv[2])))
