"""Hosts and servers: what agents publish, and what the backend shows.

All structs are frozen: a change is a new struct. Sizes are bytes, times carry their unit.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from wire.life import HealthValue


class StoragePool(msgspec.Struct, frozen=True, kw_only=True):
    """A libvirt storage pool on one host. Shared pools have the same ``pool_id`` on every host."""

    pool_id: str
    """The pool's libvirt UUID."""
    name: str
    shared: bool
    """Declared shared in the agent's configuration, or of a network type (netfs, rbd, iscsi...)."""
    path: str
    capacity_bytes: int
    available_bytes: int
    kind: str = "dir"
    """libvirt's type of pool: ``dir``, ``netfs``, ``logical``..."""

    @property
    def holds_files(self) -> bool:
        """Whether its volumes are files; else they are block devices or network disks."""
        return self.kind in {"dir", "fs", "netfs", "vstorage"}


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a host is. Stored without a lease, so that a dead host keeps its row."""

    host_id: str
    """libvirt's host UUID (``virConnectGetCapabilities``)."""
    name: str
    """The host's own hostname, unique in a fleet."""
    address: str
    """Where other hosts send migrations to."""
    agent_url: str
    """``https://address:port`` of the host agent."""
    hypervisor: str = "kvm"
    cpu_architecture: str
    cpu_model_name: str
    """``model name`` of ``/proc/cpuinfo``."""
    microcode: str
    """``microcode`` of ``/proc/cpuinfo``, such as ``0x42e``; empty where the CPU has none."""
    kernel: str
    """``/proc/sys/kernel/osrelease``."""
    cpu_count: int
    page_size_bytes: int
    memory_total_bytes: int
    libvirt_cpu_model: str
    """CPU model that libvirt recognised (``<host><cpu><model>`` of the capabilities)."""
    cpu_features: tuple[str, ...]
    """libvirt's CPU features beyond that model, sorted."""
    machine_types: tuple[str, ...]
    """Machine types that this host's QEMU knows, sorted."""
    virt_types: tuple[str, ...]
    """``kvm`` and/or ``qemu`` (software emulation)."""
    qemu_version: str
    libvirt_version: str
    agent_version: str
    pools: tuple[StoragePool, ...]
    guest_cpus: tuple[str, ...] = ()
    """``qemu:<digest>``: for each kind of virtualization the CPU that libvirt gives to guests at
    most (``host-model`` of the domain capabilities). Equal ones judge a guest's CPU alike."""
    postcopy: bool = False
    """Whether QEMU on this host may fetch memory by post-copy (userfaultfd)."""
    link_bytes_per_s: int = 0
    """What the card of the migration network says of itself
    (``/sys/class/net/<interface>/speed``); 0 if it does not."""


class HostPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What operators decided about a host. Written by the backend."""

    maintenance: bool = False
    auto_migrate_on_host_down: bool = False
    """Start its running servers elsewhere when it dies; its agent arms the fence for that."""
    auto_migrate_on_host_shutdown: bool = False
    """Move its servers away when it is shut down in order; only together with the one above."""


class RescuePriority(StrEnum):
    """Which servers are started first when a host has died."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for those that come first."""
        return list(RescuePriority).index(self)


class ServerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What operators decided about a server. Written by the backend."""

    rescue_priority: RescuePriority = RescuePriority.MEDIUM


class HostMeters(msgspec.Struct, frozen=True, kw_only=True):
    """Volatile figures of one host, streamed and never stored."""

    cpu_percent: float
    """Busy share of all CPUs over the last interval, 0 to 100 (``virNodeGetCPUStats``)."""
    memory_used_bytes: int
    """Total less available as the kernel counts it (``virNodeGetMemoryStats``)."""


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of a server."""

    target: str
    """Device name in the guest: ``vda``, ``hda``."""
    source: str
    """Path or network name of the image; empty for an empty drive."""
    kind: Literal["file", "block", "network", "other"] = "file"
    """What ``source`` is: only a file is copied to another host."""
    device: Literal["disk", "cdrom", "floppy", "lun"] = "disk"
    format: str = "raw"
    pool_id: str = ""
    """The pool that holds it; empty when no pool of the host does."""
    pool_name: str = ""
    shared: bool = False
    capacity_bytes: int = 0
    allocation_bytes: int = 0
    backing_paths: tuple[str, ...] = ()
    """Images below this one, the nearest first."""


class PowerState(StrEnum):
    """What libvirt says of a domain (``virDomainState``), in few words."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUT_OFF = "shut_off"
    ABSENT = "absent"
    """The hypervisor does not know this domain."""


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A server as its host sees it: definition in brief and present state."""

    server_id: str
    """The domain's libvirt UUID."""
    name: str
    vcpu_count: int
    memory_bytes: int
    disks: tuple[Disk, ...] = ()
    cpu_model: str = ""
    """CPU the guest was started with; empty for the emulator's default."""
    machine: str = ""
    virt_type: str = "kvm"
    state: PowerState = PowerState.SHUT_OFF
    state_detail: str = ""
    """libvirt's reason for the state: ``migrating``, ``user``, ``io-error``..."""
    incoming: bool = False
    """Paused because it is the receiving side of a migration."""
    cpu_xml: str = ""
    """libvirt's ``<cpu>`` element that the guest runs with; empty if it has none."""
    architecture: str = ""
    """``x86_64``."""
    passthrough: tuple[str, ...] = ()
    """Devices of the host that the guest holds, in words: ``PCI device 0000:3b:00.0``."""
    snapshot_names: tuple[str, ...] = ()
    """Snapshots that libvirt keeps records of."""
    nvram_path: str = ""
    """The UEFI variables' file; empty for a BIOS guest."""


class OwnerPhase(StrEnum):
    """What is being done with a server's ownership."""

    SETTLED = "settled"
    MIGRATING = "migrating"
    LOST = "lost"
    """A migration ended with the guest on neither host, or the owner's libvirt has come back
    without the domain: its record and definition are kept until it has the domain again."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Which host may run a server. Changes only by compare-and-swap."""

    host_id: str
    epoch: int
    generation: int
    """Grows with each change of owner; agents refuse an older one."""
    phase: OwnerPhase = OwnerPhase.SETTLED
    target_host_id: str = ""
    migration_id: str = ""


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Value of ``/godwit/servers/<server_id>``: small, without the definition."""

    server_id: str
    name: str
    vcpu_count: int
    memory_bytes: int
    disks: tuple[Disk, ...]
    owner: Owner
    wanted_on: bool
    """Whether the server should run: its power state when last changed by a person."""
    suspended: bool = False
    """Paused by a person: its memory dies with its host, so it is not started elsewhere unasked."""
    bound_by: str = ""
    """Why it cannot be started on another host, in one clause; empty if it can. Its agent alone
    decides: what it says here, its fence leaves alive and nobody rescues."""

    @property
    def runs_again(self) -> bool:
        """Whether its host starts it by itself when it is off: wanted on, and not suspended."""
        return self.wanted_on and not self.suspended


class HostStatus(StrEnum):
    """Whether a host answers, as an operator needs it."""

    ONLINE = "online"
    """Health key present and agent stream connected."""
    UNREACHABLE = "unreachable"
    """Health key present, yet the backend has no stream from its agent."""
    OFFLINE = "offline"
    """Health key absent, seen in a linearizable read."""
    UNKNOWN = "unknown"
    """etcd does not answer, or its health key cannot be read, so nobody can say."""


class ServerStatus(StrEnum):
    """Status words as climc shows them."""

    READY = "ready"
    """Stopped."""
    RUNNING = "running"
    SUSPEND = "suspend"
    """Paused."""
    UNKNOWN = "unknown"
    START_MIGRATE = "start_migrate"
    MIGRATING = "migrating"
    LIVE_MIGRATING = "live_migrating"
    MIGRATE_FAILED = "migrate_failed"


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """A host as the API shows it."""

    facts: HostFacts
    status: HostStatus
    status_reason: str = ""
    """One sentence when the status is not online."""
    health: HealthValue | None = None
    late: bool = False
    """Health key present, yet its agent has missed refreshes: it may be lost soon."""
    dead: bool = False
    """Offline, and proven or declared to be off: its guests may be started elsewhere."""
    incident_id: str = ""
    """The incident that is open about it; empty if none."""
    evacuation_id: str = ""
    """The evacuation or return that is open about it; empty if none."""
    shutting_down: bool = False
    """It is being shut down in order."""
    policy: HostPolicy = HostPolicy()
    meters: HostMeters | None = None
    server_count: int = 0
    running_server_count: int = 0
    server_memory_bytes: int = 0
    """Memory that running servers on this host were given."""
    seen_at_ms: int = 0
    """When its agent last said anything, Unix time in ms; 0 if never."""


class ServerView(msgspec.Struct, frozen=True, kw_only=True):
    """A server as the API shows it."""

    server_id: str
    name: str
    status: ServerStatus
    status_reason: str = ""
    host_id: str
    host_name: str
    vcpu_count: int
    memory_bytes: int
    disks: tuple[Disk, ...] = ()
    storage: Literal["shared", "local", "mixed", "none"] = "none"
    target_host_names: tuple[str, ...] = ()
    """Hosts that it may go to now by every filter: live if it is on, cold if it is stopped."""
    migration_id: str = ""
    """The migration under way; empty if none."""
    generation: int = 0
    rescue_priority: RescuePriority = RescuePriority.MEDIUM
    wanted_on: bool = False
    """It runs, or ran when its host was lost: :attr:`ServerRecord.wanted_on`."""
