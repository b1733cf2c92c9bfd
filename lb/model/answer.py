"""What an answer that is made here says: of rules, and of error pages."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Name, Text

Status = Annotated[int, Meta(ge=200, le=599)]
Error = Annotated[int, Meta(ge=400, le=599)]

_FILE = "read when the configuration is; a relative path begins at its folder."


class Content(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most one of `body`, `string`, `file`, `lf_file` says what the body is."""

    content_type: Annotated[
        Text | UnsetType,
        Meta(description="Content-Type, a format; if not given what a file's name tells, else `text/plain`."),
    ] = UNSET
    body: Annotated[
        str | UnsetType,
        Meta(description="The body, a format of at most 8,192 bytes when written (HAProxy's `lf-string`)."),
    ] = UNSET
    string: Annotated[str | UnsetType, Meta(description="The body as it stands here.")] = UNSET
    file: Annotated[Text | UnsetType, Meta(description="A file with the body, at most 1 MiB; " + _FILE)] = UNSET
    lf_file: Annotated[
        Text | UnsetType, Meta(description="A file with a format that makes the body, as `body`; " + _FILE)
    ] = UNSET
    headers: Annotated[dict[str, str], Meta(description="Fields of the answer: name and format.")] = {}


class Template(Content, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An answer of a rule: `errorfile`, `errorfiles` or `default_errorfiles` take an error page instead of a body."""

    errorfile: Annotated[
        Text | UnsetType,
        Meta(description="A file with a whole answer, from the status line on (HAProxy's `.http` files); " + _FILE),
    ] = UNSET
    errorfiles: Annotated[
        Name | UnsetType, Meta(description="The page that this group of `http_errors` has for the status.")
    ] = UNSET
    default_errorfiles: Annotated[
        bool | UnsetType,
        Meta(description="`true`: the error page that the backend or frontend has for the status, else lb's own."),
    ] = UNSET


class Return(Template, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An answer made here. A number is short for `{status: ...}`."""

    status: Annotated[
        Status | UnsetType, Meta(description="Status of the answer; 200, or that of its `errorfile`.")
    ] = UNSET


class Deny(Template, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An error that a rule answers with. A number is short for `{status: ...}`, `true` for `{}`."""

    status: Annotated[
        Error | UnsetType,
        Meta(description="Status of the answer; 403 of requests, 502 of responses, 500 of `tarpit`."),
    ] = UNSET


class Page(Content, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer to an error. A text is short for a file: see `file`."""

    status: Annotated[Status | UnsetType, Meta(description="Another status than that of the error.")] = UNSET
    file: Annotated[
        Text | UnsetType,
        Meta(
            description="A file with the body, or with a whole answer from its status line on (HAProxy's `errorfile`): what "
            "begins with `HTTP/` is one. An empty file closes the connection without an answer. At most 1 MiB; "
            + _FILE,
            examples=["errors/503.http", "errors/503.html"],
        ),
    ] = UNSET
    location: Annotated[
        Text | UnsetType,
        Meta(
            description="Send the client there instead, a format (HAProxy's `errorloc`).",
            examples=["https://status.example.com/"],
        ),
    ] = UNSET
    code: Annotated[
        Annotated[int, Meta(ge=301, le=308)] | UnsetType,
        Meta(description="With `location`: 302, or 301, 303, 307, 308."),
    ] = UNSET


Pages = Annotated[
    dict[str, Text | Page],
    Meta(
        description="Answers to errors by their status: a file, or what the answer says.",
        examples=[{"503": "errors/503.http"}],
    ),
]

ErrorFiles = Annotated[
    Text | tuple[Text, ...],
    Meta(
        description="Groups of `http_errors` whose pages hold here; `errors` says otherwise, and of groups the last one.",
        extra={"kind": "list", "item": "site"},
    ),
]


def groups_of(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of groups of error pages."""
    return (given,) if isinstance(given, str) else given
