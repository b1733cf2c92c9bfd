"""What people say of a server: in maintenance, draining, ready; with the numbers of `srv_admin_state` in `show servers state`."""

from __future__ import annotations

from enum import IntFlag


class Admin(IntFlag):
    """Administrative state; a server may have several at once."""

    READY = 0
    FORCED_MAINT = 0x01
    INHERITED_MAINT = 0x02  # of the server that it tracks
    CONFIGURED_MAINT = 0x04
    FORCED_DRAIN = 0x08
    INHERITED_DRAIN = 0x10

    @property
    def is_maint(self) -> bool:
        """Whether the server gets nothing at all, and nobody asks how it is."""
        return bool(self & MAINT)

    @property
    def is_drain(self) -> bool:
        """Whether it gets only what belongs to it."""
        return bool(self & DRAIN)


MAINT = Admin.FORCED_MAINT | Admin.INHERITED_MAINT | Admin.CONFIGURED_MAINT
DRAIN = Admin.FORCED_DRAIN | Admin.INHERITED_DRAIN
INHERITED = Admin.INHERITED_MAINT | Admin.INHERITED_DRAIN
FORCED = Admin.FORCED_MAINT | Admin.CONFIGURED_MAINT | Admin.FORCED_DRAIN
WORDS = {"ready": Admin.READY, "drain": Admin.FORCED_DRAIN, "maint": Admin.FORCED_MAINT}


def inherited(admin: Admin) -> Admin:
    """Return what a server takes over from one that it tracks and that is in this state."""
    taken = Admin.INHERITED_MAINT if admin.is_maint else Admin.READY
    return taken | (Admin.INHERITED_DRAIN if admin.is_drain else Admin.READY)
