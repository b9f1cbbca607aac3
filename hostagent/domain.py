"""libvirt's domains as servers: definition and state."""

from typing import Literal, get_args
from xml.etree import ElementTree as ET

import libvirt
import msgspec

from hostagent.backing import chain_of_xml
from hostagent.passthrough import passthrough_devices
from wire.fleet import Disk, PowerState, ServerFacts

_Device = Literal["disk", "cdrom", "floppy", "lun"]
_Kind = Literal["file", "block", "network", "other"]


class DiskDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A disk as the domain's XML has it."""

    disk: Disk
    """Without pool and sizes, which the XML does not tell; a pool's volume counts as a file."""
    writable: bool
    """Holds an image that the guest may write."""
    pool_name: str = ""
    """Set when the XML names a pool and volume instead of a path."""
    backing_known: bool = False
    """Whether the XML says which images are below this one; it does for a running guest."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a domain's XML says, as far as placement and migration need it."""

    server_id: str
    name: str
    vcpu_count: int
    memory_bytes: int
    cpu_model: str
    machine: str
    virt_type: str
    disks: tuple[DiskDefinition, ...]
    architecture: str = ""
    cpu_xml: str = ""
    passthrough: tuple[str, ...] = ()
    nvram_path: str = ""


def parse_definition(xml: str) -> Definition:
    """Read a domain's XML (``virDomainGetXMLDesc``, which gives all memory in KiB)."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirtd's own output
    os_type, cpu = root.find("os/type"), root.find("cpu")
    cpu_mode = "" if cpu is None else cpu.get("mode", "")
    return Definition(
        server_id=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        vcpu_count=int(root.findtext("vcpu", "1")),
        memory_bytes=int(root.findtext("memory", "0")) * 1024,
        cpu_model=root.findtext("cpu/model", "") or cpu_mode,
        machine="" if os_type is None else os_type.get("machine", ""),
        virt_type=root.get("type", ""),
        disks=tuple(_disk(element) for element in root.iterfind("devices/disk")),
        architecture="" if os_type is None else os_type.get("arch", ""),
        cpu_xml="" if cpu is None else _on_one_line(cpu),
        passthrough=passthrough_devices(root),
        nvram_path=_nvram_path(root),
    )


def _on_one_line(element: ET.Element) -> str:
    """An element's XML without the spaces between its tags."""
    for each in element.iter():
        each.text = (each.text or "").strip() or None
        each.tail = None
    return ET.tostring(element, encoding="unicode")


def _nvram_path(root: ET.Element) -> str:
    source = root.find("os/nvram/source")
    return root.findtext("os/nvram", "").strip() if source is None else source.get("file", "")


def _disk(element: ET.Element) -> DiskDefinition:
    source, target = element.find("source"), element.find("target")
    driver = element.find("driver")
    where = {} if source is None else source.attrib
    path = where.get("file") or where.get("dev") or where.get("volume") or where.get("name") or ""
    device = element.get("device", "disk")
    backing_paths = chain_of_xml(element)
    return DiskDefinition(
        disk=Disk(
            target="" if target is None else target.get("dev", ""),
            source=path,
            kind=_kind(element.get("type", "file")),
            device=_device(device),
            format="raw" if driver is None else driver.get("type", "raw"),
            backing_paths=backing_paths or (),
        ),
        writable=bool(path) and element.find("readonly") is None and device != "cdrom",
        pool_name=where.get("pool", ""),
        backing_known=backing_paths is not None,
    )


def _kind(name: str) -> _Kind:
    if name == "volume":
        return "file"
    return next((known for known in get_args(_Kind) if known == name), "other")


def _device(name: str) -> _Device:
    return next((known for known in get_args(_Device) if known == name), "disk")


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A domain's state with libvirt's reason."""

    power: PowerState
    detail: str


def describe_state(state: int, reason: int) -> State:
    """Put ``virDomainGetState`` into our words; reasons are those of ``virsh domstate``."""
    return State(
        power=_POWER.get(state, PowerState.RUNNING),
        detail=_REASONS.get(state, {}).get(reason, "") or _ODD_STATES.get(state, ""),
    )


_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUT_OFF,
}
_ODD_STATES = {
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended by the guest",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
}
_REASONS = {
    libvirt.VIR_DOMAIN_RUNNING: {
        libvirt.VIR_DOMAIN_RUNNING_BOOTED: "booted",
        libvirt.VIR_DOMAIN_RUNNING_MIGRATED: "migrated",
        libvirt.VIR_DOMAIN_RUNNING_RESTORED: "restored",
        libvirt.VIR_DOMAIN_RUNNING_FROM_SNAPSHOT: "from snapshot",
        libvirt.VIR_DOMAIN_RUNNING_UNPAUSED: "unpaused",
        libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED: "migration canceled",
        libvirt.VIR_DOMAIN_RUNNING_SAVE_CANCELED: "save canceled",
        libvirt.VIR_DOMAIN_RUNNING_WAKEUP: "event wakeup",
        libvirt.VIR_DOMAIN_RUNNING_CRASHED: "crashed",
        libvirt.VIR_DOMAIN_RUNNING_POSTCOPY: "post-copy",
        libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED: "post-copy failed",
    },
    libvirt.VIR_DOMAIN_PAUSED: {
        libvirt.VIR_DOMAIN_PAUSED_USER: "user",
        libvirt.VIR_DOMAIN_PAUSED_MIGRATION: "migrating",
        libvirt.VIR_DOMAIN_PAUSED_SAVE: "saving",
        libvirt.VIR_DOMAIN_PAUSED_DUMP: "dumping",
        libvirt.VIR_DOMAIN_PAUSED_IOERROR: "io-error",
        libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "watchdog",
        libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT: "from snapshot",
        libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: "shutting down",
        libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: "creating snapshot",
        libvirt.VIR_DOMAIN_PAUSED_CRASHED: "crashed",
        libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: "starting up",
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: "post-copy",
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: "post-copy failed",
    },
    libvirt.VIR_DOMAIN_SHUTOFF: {
        libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "shutdown",
        libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "destroyed",
        libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "crashed",
        libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: "migrated",
        libvirt.VIR_DOMAIN_SHUTOFF_SAVED: "saved",
        libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "failed",
        libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT: "from snapshot",
        libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: "daemon",
    },
}


def server_facts(
    definition: Definition,
    state: State,
    *,
    disks: tuple[Disk, ...],
    incoming: bool,
    snapshot_names: tuple[str, ...],
) -> ServerFacts:
    """The message about a server."""
    return ServerFacts(
        server_id=definition.server_id,
        name=definition.name,
        vcpu_count=definition.vcpu_count,
        memory_bytes=definition.memory_bytes,
        disks=disks,
        cpu_model=definition.cpu_model,
        machine=definition.machine,
        virt_type=definition.virt_type,
        state=state.power,
        state_detail=state.detail,
        incoming=incoming,
        cpu_xml=definition.cpu_xml,
        architecture=definition.architecture,
        passthrough=definition.passthrough,
        snapshot_names=snapshot_names,
        nvram_path=definition.nvram_path,
    )
