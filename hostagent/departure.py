"""What libvirt is told when a guest leaves: flags and parameters of ``virDomainMigrateToURI3``."""

from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import msgspec

from hostagent.bandwidth import start_mib_per_s
from hostagent.journal import Entry
from wire.agent import MigrateCommand
from wire.storage import IncomingFile

_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
)
RUNNING_XML = libvirt.VIR_DOMAIN_XML_MIGRATABLE
SAVED_XML = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_INACTIVE


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """How a guest leaves."""

    command: MigrateCommand
    unsafe: bool
    """Do not let libvirt refuse a path that it does not know as shared."""
    postcopy: bool
    """Make both QEMUs ready for post-copy."""
    max_bandwidth_bytes_per_s: int | None
    """The cap that holds at this moment."""
    resumes_postcopy: bool = False
    """Go on with a post-copy whose connection broke."""

    @property
    def flags(self) -> int:
        """``VIR_MIGRATE_...``, combined."""
        command = self.command
        flags: int = _FLAGS
        if self.unsafe:
            flags |= libvirt.VIR_MIGRATE_UNSAFE
        if command.options.enable_tls:
            flags |= libvirt.VIR_MIGRATE_TLS
        if self.postcopy:
            flags |= libvirt.VIR_MIGRATE_POSTCOPY
        if self.resumes_postcopy:
            flags |= libvirt.VIR_MIGRATE_POSTCOPY_RESUME
        elif command.disks:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
        return flags

    def parameters(self, domain: libvirt.virDomain) -> dict[str, Any]:
        """``VIR_MIGRATE_PARAM_...``. Blocks, since the domain is asked for its definition."""
        command, cap = self.command, self.max_bandwidth_bytes_per_s
        found: dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{command.target_address}",
            # always given: libvirt would go on with what an earlier, cancelled migration was given
            libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: start_mib_per_s(cap, len(command.disks)),
        }
        if self.postcopy:
            found[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY] = start_mib_per_s(cap, 0)
        if command.options.enable_tls:
            # the name that the target's certificate has to carry
            found[libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION] = command.target_host_name
        if command.disks and not self.resumes_postcopy:
            found |= {
                libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: [
                    disk.disk_target for disk in command.disks
                ],
                libvirt.VIR_MIGRATE_PARAM_DEST_XML: relocated(
                    domain.XMLDesc(RUNNING_XML), command.disks, running=True
                ),
                libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: relocated(
                    domain.XMLDesc(SAVED_XML), command.disks, running=False
                ),
            }
        return found


def departure_of(entry: Entry, *, resumes_postcopy: bool = False) -> Departure:
    """How the guest of a job leaves, or goes on leaving by post-copy."""
    return Departure(
        command=entry.command,
        unsafe=entry.unsafe,
        postcopy=not entry.no_postcopy,
        max_bandwidth_bytes_per_s=entry.max_bandwidth_bytes_per_s,
        resumes_postcopy=resumes_postcopy,
    )


def relocated(xml: str, disks: tuple[IncomingFile, ...], *, running: bool) -> str:
    """A domain's XML with the copied disks where they are on the target.

    A copied disk arrives flattened, so nothing is below it any more. In a running domain's XML an
    empty ``<backingStore/>`` says so; in a saved one nothing is said, and the image itself counts.

    Args:
        xml: as the source has it (``MIGRATABLE``).
        disks: those that are copied; others stay as they are.
        running: whether this is the XML of the running guest.
    """
    root = ET.fromstring(xml)  # noqa: S314 - libvirtd's own output
    arriving = {disk.disk_target: disk for disk in disks}
    for element in root.iterfind("devices/disk"):
        target = element.find("target")
        disk = None if target is None else arriving.get(target.get("dev", ""))
        if disk is None:
            continue
        element.set("type", "file")
        source = element.find("source")
        if source is None:
            source = ET.SubElement(element, "source")
        source.attrib.clear()
        source.set("file", disk.path)
        driver = element.find("driver")
        if driver is not None:
            driver.set("type", disk.format)
        for backing in element.findall("backingStore"):
            element.remove(backing)
        if running:
            ET.SubElement(element, "backingStore")
    return ET.tostring(root, encoding="unicode")
