"""Access log lines in HAProxy's format, read strictly: a line that does not parse fails the test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HEAD = (
    r"(?P<client>\S+) \[(?P<date>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] "
    r"(?P<frontend>\S+) (?P<backend>[^/\s]+)/(?P<server>\S+) "
)
_COUNTS = (
    r"(?P<actconn>\d+)/(?P<feconn>\d+)/(?P<beconn>\d+)/(?P<srvconn>\d+)/(?P<retries>\+?\d+) "
    r"(?P<srvqueue>\d+)/(?P<bequeue>\d+)"
)
HTTP = re.compile(
    _HEAD + r"(?P<timers>-?\d+/-?\d+/-?\d+/-?\d+/\+?\d+) (?P<status>-?\d+) \+?(?P<bytes>\d+) - - (?P<state>\S{4}) "
    + _COUNTS + r' "(?P<request>.*)"'
)  # fmt: skip
TCP = re.compile(_HEAD + r"(?P<timers>-?\d+/-?\d+/\+?\d+) \+?(?P<bytes>\d+) (?P<state>\S{2}) " + _COUNTS)


@dataclass(frozen=True)
class Record:
    """One stream's line."""

    client: str
    date: str
    frontend: str
    backend: str
    server: str
    timers: tuple[int, ...]
    """http: TR, Tw, Tc, Tr, Ta; tcp: Tw, Tc, Tt. In ms, -1 for what was not reached."""
    status: int
    """-1 for none; 0 in mode tcp."""
    bytes: int
    state: str
    """Termination state: the first two letters, such as `--`, `CD`, `sH`."""
    retries: int
    redispatched: bool
    request: str
    line: str


def parse(line: str) -> Record:
    """Read one line of either format."""
    found = HTTP.fullmatch(line) or TCP.fullmatch(line)
    if found is None:
        raise AssertionError(f"not a log line in HAProxy's format: {line!r}")
    parts = found.groupdict()
    return Record(
        client=parts["client"],
        date=parts["date"],
        frontend=parts["frontend"],
        backend=parts["backend"],
        server=parts["server"],
        timers=tuple(int(timer) for timer in parts["timers"].split("/")),
        status=int(parts.get("status") or 0),
        bytes=int(parts["bytes"]),
        state=parts["state"][:2],
        retries=int(parts["retries"]),
        redispatched=parts["retries"].startswith("+"),
        request=parts.get("request") or "",
        line=line,
    )


class LogFile:
    """An access log that lb writes into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[str]:
        """Return the whole lines so far."""
        if not self.path.exists():
            return []
        text = self.path.read_bytes().decode("ascii")
        return text.split("\n")[:-1]
