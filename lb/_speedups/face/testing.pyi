IS_SANITIZED: bool

def check_invariant(holds: bool) -> None:
    """Abort the process with one line on stderr if `holds` is false."""

class Clock:
    """A `clock_t_` of its own."""

    def mono_us(self) -> int: ...
    def mono_ms(self) -> int: ...
    def real_us(self) -> int: ...
    def fake(self, mono_us: int, real_us: int) -> int:
        """Stop the clock; 0, or -1 without LB_DEBUG."""

    def advance(self, us: int) -> int:
        """Move a stopped clock; 0, or -1 if it is not stopped."""
