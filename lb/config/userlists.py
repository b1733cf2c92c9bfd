"""User lists: what is wrong with them, and their rows for the plan."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import UNSET

from lb.config.diagnostic import Finding, Path, line_text
from lb.config.secret import SecretError, is_reference, read_secret
from lb.config.suggestion import nearest
from lb.model.users import User, UserList, user_of

PASSWORD_MAX = 255  # bytes, as in base/password.pxd


class UserRow(NamedTuple):
    """One `user_t`."""

    name: bytes
    secret: bytes
    plain: bool


def userlist_rows(
    lists: Mapping[str, UserList], folder: str | None, report: Callable[[Finding], None]
) -> list[list[UserRow]]:
    """Return the rows of every list; mistakes are reported. Without a folder references are not read, and hashes not looked at."""
    return [_List(name, given, folder, report).rows for name, given in lists.items()]


class _List:
    """One list."""

    def __init__(self, name: str, given: UserList, folder: str | None, report: Callable[[Finding], None]) -> None:
        self.path: Path = ("userlists", name)
        self.subject = f"userlist '{name}'"
        self.folder = folder
        self.report = report
        self.rows: list[UserRow] = []
        if not given.users:
            self._wrong(("users",), "has no users", "write 'users: {alice: {password: ...}}'")
        for user, said in given.users.items():
            self._user(user, user_of(said))
        for group, users in given.groups.items():
            for index, user in enumerate(users):
                if user not in given.users:
                    near = nearest(user, given.users)
                    hint = f"did you mean '{near}'?" if near else "define him under 'users'"
                    self._wrong(("groups", group, index), f"group '{group}': unknown user '{line_text(user)}'", hint)

    def _wrong(self, path: Path, message: str, hint: str = "") -> None:
        self.report(Finding((*self.path, *path), self.subject, message, hint))

    def _user(self, name: str, user: User) -> None:
        path: Path = ("users", name)
        shown = f"user '{line_text(name)}'"
        if ":" in name or not name.isprintable():
            self._wrong(path, f"{shown}: his name cannot be sent", "a name has neither ':' nor control characters")
            return
        given = [word for word in ("password", "insecure_password") if getattr(user, word) is not UNSET]
        if len(given) != 1:
            message = f"{shown} has {'two passwords' if given else 'no password'}"
            self._wrong(path, message, "write 'password', a hash, or 'insecure_password'")
            return
        (word,) = given
        is_plain = word == "insecure_password"
        secret = self._secret((*path, word), shown, getattr(user, word))
        if secret is None:
            return
        if is_plain and len(secret) > PASSWORD_MAX:
            self._wrong((*path, word), f"{shown}: his password is longer than {PASSWORD_MAX} bytes")
        if not is_plain and self.folder is not None:
            problem = _hash_problem(secret)
            if problem:
                hint = "'mkpasswd' makes one; a password itself is 'insecure_password'"
                self._wrong((*path, word), f"{shown}: the password {problem}", hint)
        self.rows.append(UserRow(name.encode(), secret, is_plain))

    def _secret(self, path: Path, shown: str, given: str) -> bytes | None:
        if not is_reference(given):
            return given.encode()
        if self.folder is None:
            return None
        try:
            return read_secret(given, self.folder).encode()
        except SecretError as error:
            self._wrong(path, f"{shown}: the password {error}")
            return None


def _hash_problem(secret: bytes) -> str:
    # The one question here that only compiled code can answer: what libcrypt knows.
    from lb._speedups.face.users import problem

    return problem(secret)
