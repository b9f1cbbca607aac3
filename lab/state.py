"""What a lab has made, written down first, so that it can be ended by id at any time."""

import uuid
from typing import Literal

import msgspec

from lab.errors import LabError
from lab.processes import ProcessId, boot_id
from lab.server import ServerSpec, usual_servers

CONTROLLER = "controller"
CONTROLLER_NUMBER = 2
FIRST_HOST_NUMBER = 11


class LinkLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What slows a host's link, in each direction."""

    rate_bits_per_s: int = 0
    """0 leaves the rate alone."""
    delay_ms: float = 0.0
    """Added to every packet; a round trip takes twice as much."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A host, or the controller."""

    name: str
    number: int
    """Last part of its address."""
    process: ProcessId | None = None
    """The ``unshare`` that holds the node's PID 1; None when it is off."""
    begun: bool = False
    """Whether that PID 1 was told to begin; one that never was ends by itself."""
    partitioned: bool = False
    limit: LinkLimit = LinkLimit()


class ServerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A server that the lab has given to a host; where it is now, libvirt knows."""

    spec: ServerSpec
    server_id: str
    made: bool = False
    """Whether its host has it; a start that was broken off makes it later."""


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be ended with a lab; any version of this program reads it of any other's lab."""

    name: str
    lab_id: str
    boot_id: str
    """Of the machine; after its reboot no recorded process lives."""
    subnet: int
    """K of 10.77.K.0/24, and of the bridge's name."""
    nodes: tuple[Node, ...]
    """The controller first."""

    @property
    def bridge(self) -> str:
        """Name of the lab's bridge."""
        return f"godwit{self.subnet}"

    def address(self, number: int) -> str:
        """IPv4 address of the node with this number; number 1 is the bridge itself."""
        return f"10.77.{self.subnet}.{number}"

    def port(self, number: int) -> str:
        """Name of the bridge's port that leads to a node."""
        return f"gw{self.subnet}-{number}"

    def mac(self, number: int) -> str:
        """Address by which a port or the bridge (0) is known to be this lab's own."""
        one, two, three = uuid.UUID(self.lab_id).bytes[:3]
        return f"02:67:{one:02x}:{two:02x}:{three:02x}:{number:02x}"


class LabState(Resources, frozen=True, kw_only=True):
    """Value of ``state.json`` in the lab's folder."""

    prepared: bool = False
    """Whether every node's files are written."""
    virt_type: Literal["", "qemu", "kvm"] = ""
    """How guests run; empty until it was tried."""
    servers: tuple[ServerEntry, ...] = ()

    @property
    def hosts(self) -> tuple[Node, ...]:
        """All nodes but the controller."""
        return self.nodes[1:]

    def node(self, name: str) -> Node:
        """Find a node by its name.

        Raises:
            LabError: there is none of that name.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise LabError(f"lab {self.name} has no host {name!r}; it has {known}")

    def derived_uuid(self, what: str) -> uuid.UUID:
        """A UUID of this lab alone, the same each time for the same words."""
        return uuid.uuid5(uuid.UUID(self.lab_id), what)


def new_state(name: str, *, subnet: int, host_count: int, server_count: int) -> LabState:
    """A lab of which nothing has been made yet."""
    hosts = tuple(
        Node(name=f"kvm-{index + 1:02d}", number=FIRST_HOST_NUMBER + index)
        for index in range(host_count)
    )
    specs = usual_servers([host.name for host in hosts], server_count)
    return LabState(
        name=name,
        lab_id=str(uuid.uuid4()),
        boot_id=boot_id(),
        subnet=subnet,
        nodes=(Node(name=CONTROLLER, number=CONTROLLER_NUMBER), *hosts),
        servers=tuple(ServerEntry(spec=spec, server_id=str(uuid.uuid4())) for spec in specs),
    )
