"""`lb run FILE` with the echo engine in its workers: run_echo.py FILE READY_FD."""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from tests.kit import echo_engine

sys.modules["lb._speedups.face.engine"] = echo_engine

from lb.supervisor import workers  # noqa: E402
from lb.supervisor.run import main  # noqa: E402

# Ten seconds are too long for a test, and mean the same as one.
workers.LATE_MS = int(os.environ.get("ECHO_LATE_MS", workers.LATE_MS))
workers.STUCK_MS = int(os.environ.get("ECHO_STUCK_MS", workers.STUCK_MS))

sys.exit(main(sys.argv[1], int(sys.argv[2])))
