"""Checking passwords as a worker does, for tests."""

class Passwords:
    """What one worker knows of passwords; 128 waiters by number."""

    wakeup: int
    checked: int
    running: bool

    def close(self) -> None:
        """End the thread and give everything back."""

    def known(self, hash: bytes, password: bytes, told: int | None = None) -> str:
        """Ask without waiting, perhaps for a waiter that was told; `unknown` is noted as wanted."""

    def ask(self, waiter: int, who: int = 0) -> str:
        """Have what was wanted checked: `wait` or `busy`."""

    def forget(self, waiter: int) -> None:
        """The waiter waits no more."""

    def collect(self) -> dict[int, str]:
        """Return all answers that are there, by waiter."""
