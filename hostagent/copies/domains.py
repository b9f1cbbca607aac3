"""Blocking libvirt calls that make and remove a stopped server; each runs in a thread."""

import contextlib
from collections.abc import Iterable

import libvirt

from hostagent.copies import definition as domain_xml
from hostagent.guest import find_domain
from wire.errors import conflict

_RECORDS = (
    libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
)


def define(handle: libvirt.virConnect, definition: str, snapshots: Iterable[str]) -> None:
    """Define a domain, stopped and without autostart, and libvirt's records of its snapshots."""
    domain = handle.defineXML(definition)
    domain.setAutostart(0)
    known = set(domain.snapshotListNames())
    for snapshot in snapshots:
        if domain_xml.snapshot_name(snapshot) in known:
            continue
        flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
        if domain_xml.is_current(snapshot):
            flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
        domain.snapshotCreateXML(snapshot, flags)


def undefine(handle: libvirt.virConnect, server_id: str) -> None:
    """Undefine a domain with libvirt's records of it; every file stays."""
    domain = find_domain(handle, server_id)
    if domain is not None:
        domain.undefineFlags(_RECORDS)


def undefine_stopped(handle: libvirt.virConnect, server_id: str) -> None:
    """The same for a domain that is to lose its files afterwards: one that is on stays defined.

    Between a look and the undefining a person may start it; afterwards nobody can.

    Raises:
        GodwitError: ``CONFLICT``, it is on.
    """
    domain = find_domain(handle, server_id)
    if domain is None:
        return
    saved = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    domain.undefineFlags(_RECORDS)
    if find_domain(handle, server_id) is not None:
        handle.defineXML(saved)
        raise conflict(f"the server {server_id} was just started: its files stay")


def destroy(handle: libvirt.virConnect, server_id: str) -> None:
    """End a domain that runs."""
    domain = find_domain(handle, server_id)
    if domain is not None and domain.isActive():
        domain.destroy()


def start(handle: libvirt.virConnect, server_id: str) -> None:
    """Start a domain that is stopped."""
    domain = find_domain(handle, server_id)
    if domain is not None and not domain.isActive():
        domain.create()


def saved_definition(handle: libvirt.virConnect, server_id: str) -> str:
    """A domain's XML; empty if this host does not have it."""
    domain = find_domain(handle, server_id)
    return "" if domain is None else domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)


def id_of_name(handle: libvirt.virConnect, name: str) -> str:
    """UUID of the domain of this name; empty if there is none."""
    try:
        return str(handle.lookupByName(name).UUIDString())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return ""
        raise


def refresh_pools(handle: libvirt.virConnect, names: Iterable[str]) -> None:
    """Let libvirt look what is in these pools; one that is busy is refreshed by the next."""
    for name in set(names):
        with contextlib.suppress(libvirt.libvirtError):
            handle.storagePoolLookupByName(name).refresh()
