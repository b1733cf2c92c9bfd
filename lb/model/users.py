"""User lists: names and passwords for rules that ask who somebody is."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Name, Text


class User(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One user. A text is short for `{password: ...}`."""

    password: Annotated[
        Text | UnsetType,
        Meta(
            description="What crypt(3) made of the password, such as `mkpasswd` prints: `$6$...`, `$y$...`, `$2b$...`; or where it "
            "stands: `env:NAME`, `file:PATH`.",
            examples=["$y$j9T$...", "env:ALICE"],
        ),
    ] = UNSET
    insecure_password: Annotated[
        Text | UnsetType,
        Meta(description="The password itself, or where it stands: `env:NAME`, `file:PATH`. Checked without delay."),
    ] = UNSET
    groups: Annotated[
        tuple[Name, ...], Meta(description="Groups that he is in.", extra={"kind": "list", "item": "admins"})
    ] = ()


class UserList(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Users and their groups, for `http_auth(list)` and `http_auth_group(list)`."""

    users: Annotated[
        dict[str, Text | User],
        Meta(description="Users by name, which has no `:`.", examples=[{"alice": {"password": "env:ALICE"}}]),
    ]
    groups: Annotated[
        dict[Name, tuple[Text, ...]],
        Meta(description="Groups by name: their users, beside those that name them."),
    ] = {}


def user_of(given: str | User) -> User:
    """Return the long form of a user."""
    return User(password=given) if isinstance(given, str) else given


def groups_of(given: UserList) -> dict[str, tuple[str, ...]]:
    """Return every group that is named, with its users."""
    made: dict[str, dict[str, None]] = {name: dict.fromkeys(users) for name, users in given.groups.items()}
    for name, user in given.users.items():
        for group in user_of(user).groups:
            made.setdefault(group, {})[name] = None
    return {name: tuple(users) for name, users in made.items()}
