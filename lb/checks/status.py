"""What a check can find: HAProxy's codes, numbers and descriptions, which its tools and its log readers know."""

from __future__ import annotations

from enum import Enum, IntEnum


class Result(IntEnum):
    """What a status means for the server; the numbers of `srv_check_result` in `show servers state`."""

    UNKNOWN = 0  # says nothing: neither counts
    NEUTRAL = 1
    FAILED = 2
    PASSED = 3
    CONDITIONAL = 4  # passed, but the server wants no new users


class Status(Enum):
    """(number, code, description, result); the numbers are those of `srv_check_status` in `show servers state`."""

    UNK = 0, "UNK", "Unknown", Result.UNKNOWN
    INI = 1, "INI", "Initializing", Result.UNKNOWN
    HANA = 4, "HANA", "Health analyze", Result.FAILED
    SOCKERR = 5, "SOCKERR", "Socket error", Result.FAILED
    L4OK = 6, "L4OK", "Layer4 check passed", Result.PASSED
    L4TOUT = 7, "L4TOUT", "Layer4 timeout", Result.FAILED
    L4CON = 8, "L4CON", "Layer4 connection problem", Result.FAILED
    L7TOUT = 12, "L7TOUT", "Layer7 timeout", Result.FAILED
    L7RSP = 13, "L7RSP", "Layer7 invalid response", Result.FAILED
    L7OK = 15, "L7OK", "Layer7 check passed", Result.PASSED
    L7OKC = 16, "L7OKC", "Layer7 check conditionally passed", Result.CONDITIONAL
    L7STS = 17, "L7STS", "Layer7 wrong status", Result.FAILED

    def __init__(self, number: int, code: str, text: str, result: Result) -> None:
        self.number = number
        self.code = code
        self.text = text
        self.result = result

    @property
    def has_code(self) -> bool:
        """Whether a code of layer 7 comes with it."""
        return self.number > 14
