"""Captures: parts of requests and responses that records show."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Header, Text

Length = Annotated[int, Meta(ge=1, le=2048)]


class CaptureSlot(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A place for one value. Without `header` it is filled by rules."""

    header: Annotated[
        Header | UnsetType, Meta(description="The last field of this name is captured, before any rule.")
    ] = UNSET
    len: Annotated[Length, Meta(description="Bytes of the value that are kept.")]


class Captures(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Slots of a frontend, in the order in which `%hr` and `%hs` show them, counted from 0."""

    request: Annotated[tuple[CaptureSlot, ...], Meta(description="Slots of requests.")] = ()
    response: Annotated[tuple[CaptureSlot, ...], Meta(description="Slots of responses.")] = ()


class RuleCapture(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Capture the value of an expression."""

    expression: Annotated[Text, Meta(description="What is captured, as text.", examples=["req.cook(session)"])]
    len: Annotated[
        Length | UnsetType, Meta(description="Requests: capture into a slot of its own, of so many bytes.")
    ] = UNSET
    id: Annotated[
        Annotated[int, Meta(ge=0, le=63)] | UnsetType, Meta(description="Instead: into this declared slot.")
    ] = UNSET
