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
MOST_HOSTS = 32
LONGEST_LEASE_TTL_S = 300
LEASE_TTL_S = 10
"""What Godwit's own configuration says if nobody gives another one."""


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
    card: ProcessId | None = None
    """A host's watchdog card (:mod:`lab.card`), which lives as long as its ``unshare``."""
    begun: bool = False
    """Whether that PID 1 was told to begin; one that never was ends by itself."""
    partitioned: bool = False
    backend_lacks: tuple[int, ...] = ()
    """Of the controller: the ports that its backend does not reach, etcd's and the agents'."""
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
        return self._mac(0x67, number)

    def card_mac(self, number: int) -> str:
        """Address of a node's own network card."""
        return self._mac(0x68, number)

    def _mac(self, kind: int, number: int) -> str:
        one, two, three = uuid.UUID(self.lab_id).bytes[:3]
        return f"02:{kind:02x}:{one:02x}:{two:02x}:{three:02x}:{number:02x}"


class LabShape(msgspec.Struct, frozen=True, kw_only=True):
    """What a new lab is asked to be; nothing of it changes later."""

    host_count: int = 3
    server_count: int = 5
    lease_ttl_s: int = LEASE_TTL_S
    etcd_members: Literal[1, 3] = 1
    """One on the controller; two more are nodes of their own, ``etcd-2`` and ``etcd-3``."""
    stepped_clocks: bool = False
    """Whether the clocks that Godwit's programs see can be set (:mod:`lab.clock`)."""


def check_shape(shape: LabShape) -> None:
    """See whether a lab can be made so.

    Raises:
        LabError: a figure is out of its range.
    """
    if not 1 <= shape.host_count <= MOST_HOSTS:
        raise LabError(f"{shape.host_count} hosts cannot be made: give 1 to {MOST_HOSTS}")
    if shape.server_count < 0:
        raise LabError(f"{shape.server_count} servers cannot be made: give 0 or more")
    if not 2 <= shape.lease_ttl_s <= LONGEST_LEASE_TTL_S:
        raise LabError(
            f"a lease cannot live {shape.lease_ttl_s} s: give 2 to {LONGEST_LEASE_TTL_S}"
        )


class LabState(Resources, frozen=True, kw_only=True):
    """Value of ``state.json`` in the lab's folder."""

    lease_ttl_s: int = LEASE_TTL_S
    stepped_clocks: bool = False
    prepared: bool = False
    """Whether every node's files are written."""
    virt_type: Literal["", "qemu", "kvm"] = ""
    """How guests run; empty until it was tried."""
    servers: tuple[ServerEntry, ...] = ()

    @property
    def hosts(self) -> tuple[Node, ...]:
        """All nodes that run guests."""
        return tuple(node for node in self.nodes if node.number >= FIRST_HOST_NUMBER)

    @property
    def etcd_members(self) -> tuple[Node, ...]:
        """All nodes that run a member of etcd, the controller first."""
        return tuple(node for node in self.nodes if node.number < FIRST_HOST_NUMBER)

    @property
    def watchdog_timeout_s(self) -> int:
        """Of each host's card: a fifth of the lease."""
        return max(1, self.lease_ttl_s // 5)

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


def new_state(name: str, *, subnet: int, shape: LabShape) -> LabState:
    """A lab of which nothing has been made yet."""
    members = (
        Node(name=f"etcd-{index}", number=CONTROLLER_NUMBER + index - 1)
        for index in range(2, shape.etcd_members + 1)
    )
    hosts = tuple(
        Node(name=f"kvm-{index + 1:02d}", number=FIRST_HOST_NUMBER + index)
        for index in range(shape.host_count)
    )
    specs = usual_servers([host.name for host in hosts], shape.server_count)
    return LabState(
        name=name,
        lab_id=str(uuid.uuid4()),
        boot_id=boot_id(),
        subnet=subnet,
        nodes=(Node(name=CONTROLLER, number=CONTROLLER_NUMBER), *members, *hosts),
        lease_ttl_s=shape.lease_ttl_s,
        stepped_clocks=shape.stepped_clocks,
        servers=tuple(ServerEntry(spec=spec, server_id=str(uuid.uuid4())) for spec in specs),
    )
