"""Captures: what records show of heads. A slot is declared by a frontend, or comes with a rule that has one of its own."""

from msgspec import UNSET

from lb.language.expression import ARG_INT, Arg
from lb.model import Configuration, Frontend
from lb.model.capture import CaptureSlot, RuleCapture

SLOTS_MAX = 64
"""Of requests, and of responses, of a frontend."""


class Slots:
    """The slots that the rules of a proxy capture into."""

    def __init__(self, request: list[int], response: list[int]) -> None:
        self.request = request  # how long each may be
        self.response = response

    def add(self, length: int) -> int:
        """Give a rule a slot of its own and return its number."""
        self.request.append(length)
        return len(self.request) - 1


def slots_of(frontend: Frontend) -> tuple[int, int]:
    """Return how many slots a frontend has for requests and for responses, those of its rules included."""
    request, response = declared(frontend)
    rules = [rule.capture for rule in frontend.rules if isinstance(rule.capture, RuleCapture)]
    return len(request) + sum(each.len is not UNSET for each in rules), len(response)


def declared(frontend: Frontend) -> tuple[tuple[CaptureSlot, ...], tuple[CaptureSlot, ...]]:
    """Return the declared slots of a frontend."""
    if frontend.captures is UNSET:
        return (), ()
    return frontend.captures.request, frontend.captures.response


def slots(frontend: Frontend) -> Slots:
    """Return the declared slots, for the rules of a frontend."""
    request, response = declared(frontend)
    return Slots([each.len for each in request], [each.len for each in response])


def shared_slots(configuration: Configuration) -> Slots:
    """Return the slots for rules of backends: each as long as the shortest that a frontend declares under its number."""
    request: list[int] = []
    response: list[int] = []
    for frontend in configuration.frontends.values():
        for into, given in zip((request, response), declared(frontend), strict=True):
            for index, each in enumerate(given):
                if index < len(into):
                    into[index] = min(into[index], each.len)
                else:
                    into.append(each.len)
    return Slots(request, response)


def arguments(slot: int, length: int, expression: Arg, *, response: bool) -> list[Arg]:
    """Return the arguments of the action `capture`."""
    return [Arg(ARG_INT, slot), Arg(ARG_INT, length), expression, Arg(ARG_INT, int(response))]
