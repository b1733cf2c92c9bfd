"""The door for bench/micro: rules and expressions repeated in compiled code. Also in the release build."""

class Judge:
    """A plan, and one request that its rules look at."""

    def __init__(self, image: bytes, head: bytes) -> None:
        """Keep both; raise ValueError for a plan or a head that is none."""

    def rules(self, n: int) -> int:
        """Run the first frontend's request rules n times and return what the last run answered (RULES_*)."""

    def sample(self, n: int, expr: int = 0) -> int:
        """Evaluate an expression n times and return what the last evaluation answered (SAMPLE_*)."""
