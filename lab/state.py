"""What a lab has made, written down first, so that it can be ended by id at any time."""

import fcntl
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from lab.errors import LabError
from lab.processes import ProcessId, boot_id
from lab.server import ServerSpec, usual_servers

LOCK_TIMEOUT_S = 60.0
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


def labs_root() -> Path:
    """The folder that holds every lab's folder."""
    return Path(os.environ.get("GODWIT_LAB_ROOT", "/var/lib/godwit-lab"))


def lab_folder(name: str) -> Path:
    """The folder that holds everything of one lab.

    Raises:
        LabError: the name is not fit to be a folder's.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise LabError(
            f"{name!r} cannot name a lab: use up to 31 of a-z, 0-9 and '-', and no '-' at first"
        )
    return labs_root() / name


def read_state(name: str) -> LabState | None:
    """What is recorded of a lab; None when there is no such lab."""
    return _read(lab_folder(name), LabState)


def read_resources(name: str) -> Resources | None:
    """What has to be ended with a lab; None when there is no such lab."""
    return _read(lab_folder(name), Resources)


def all_resources() -> list[Resources]:
    """Every lab that is recorded on this machine."""
    found = (_read(path.parent, Resources) for path in sorted(labs_root().glob("*/state.json")))
    return [resources for resources in found if resources is not None]


RecordT = TypeVar("RecordT", bound=Resources)


def _read(folder: Path, kind: type[RecordT]) -> RecordT | None:
    path = folder / "state.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LabError(f"{path} cannot be read: {error}") from None


def write_state(state: LabState) -> None:
    """Record a lab, whole or not at all."""
    path = lab_folder(state.name) / "state.json"
    fresh = path.with_name("state.json.new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
    fresh.replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against every other godwit-lab command.

    Raises:
        LabError: another command holds it for longer than a minute, or it is gone.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            raise LabError(f"{folder} is gone: another command has just ended this lab") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # `down` may have removed the folder that was opened here
            if os.fstat(handle).st_nlink > 0:
                yield
                return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LabError(
                    f"another godwit-lab command holds {folder} for {LOCK_TIMEOUT_S:.0f} s"
                ) from None
            time.sleep(0.05)
        finally:
            os.close(handle)
