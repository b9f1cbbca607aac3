"""This host, as everything that copies to or from it acts on it."""

import msgspec

from hostagent.config import AgentConfig
from hostagent.driver import LibvirtDriver
from hostagent.inventory import Inventory, facts_of
from hostagent.ownership import Ownership
from wire.fleet import HostFacts


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """Its configuration, its libvirt, what it has, and who owns that."""

    config: AgentConfig
    driver: LibvirtDriver
    inventory: Inventory
    ownership: Ownership

    @property
    def facts(self) -> HostFacts:
        """This host's.

        Raises:
            GodwitError: ``LIBVIRT`` before libvirtd has answered.
        """
        return facts_of(self.inventory)
