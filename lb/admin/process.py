"""What the admin commands need of the running process."""

from __future__ import annotations

from typing import Protocol

from lb._speedups.face.mapping import Mapping
from lb.admin.rates import Rates
from lb.checks.states import States
from lb.config.part import Bind
from lb.supervisor.generation import Generation
from lb.supervisor.journal import Journal
from lb.supervisor.references import References


class Process(Protocol):
    """The supervisor, as its admin socket sees it."""

    mapping: Mapping
    journal: Journal
    started: float  # seconds since the epoch
    reloads: int
    descriptor_limit: int
    is_stopping: bool
    rates: Rates
    states: States
    references: References

    @property
    def generation(self) -> Generation | None:
        """Return the generation in force."""

    @property
    def dropped_logs(self) -> int:
        """Return how many records log targets did not take."""

    def places(self) -> list[tuple[Bind, str]]:
        """Return where each bind really listens."""

    async def ask(self, question: str) -> dict[int, object]:
        """Ask every worker; return the answers by slot."""

    async def glance(self, question: str) -> dict[int, object]:
        """Ask every worker; return the answers by slot at once, of a slow one the previous answer."""

    def is_beating(self) -> bool:
        """Return whether every worker has shown signs of life of late."""

    async def reload(self) -> bool:
        """Read the configuration anew; whether that worked."""
