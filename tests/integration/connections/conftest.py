"""The stage of the relay chapter whose engine can be asked is used here too."""

from tests.integration.relay.conftest import still

__all__ = ["still"]
