"""What is wrong with a text of the rule language, and where."""


class LanguageError(ValueError):
    """Raise for a text that cannot be compiled: what is wrong, at which character (from 1), and the way out."""

    def __init__(self, message: str, at: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.hint = hint

    def moved(self, by: int) -> "LanguageError":
        """Return the same for a text that begins `by` characters further on in a longer one."""
        return LanguageError(self.message, self.at + by, self.hint)

    def __str__(self) -> str:
        return f"{self.message} (at character {self.at})" if self.at else self.message
