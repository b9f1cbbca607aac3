"""What a stored definition says of a server that is to be started anew on another host."""

from xml.etree import ElementTree as ET

import msgspec


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a domain's XML (``INACTIVE | MIGRATABLE``) that decide where it can start."""

    architecture: str = ""
    machine: str = ""
    virt_type: str = "kvm"
    cpu_xml: str = ""
    """A CPU that is asked for by name; empty where the new host gives what it has."""
    tied_to: tuple[str, ...] = ()
    """What of its host it uses and no other host has, in words."""
    fault: str = ""
    """Why nothing can be started by it, in one clause; empty if something can."""


def read_definition(server_name: str, xml: str) -> Definition:
    """Read a stored definition; an empty one is none. Takes about a millisecond."""
    if not xml:
        return Definition(fault=f"etcd keeps no definition of {server_name}")
    try:
        root = ET.fromstring(xml)  # noqa: S314 - libvirt's own output, written by agents alone
    except ET.ParseError as error:
        return _unreadable(server_name, str(error))
    if root.tag != "domain":
        return _unreadable(server_name, f"it is a <{root.tag}> and no <domain>")
    os_type, cpu = root.find("os/type"), root.find("cpu")
    by_name = cpu is not None and cpu.get("mode", "custom") == "custom"
    return Definition(
        architecture="" if os_type is None else os_type.get("arch", ""),
        machine="" if os_type is None else os_type.get("machine", ""),
        virt_type=root.get("type", "kvm"),
        cpu_xml=_on_one_line(cpu) if cpu is not None and by_name else "",
        tied_to=tuple(_tied_to(root)),
    )


def _unreadable(server_name: str, because: str) -> Definition:
    return Definition(
        fault=f"the definition of {server_name} that etcd keeps cannot be read: {because}"
    )


def _tied_to(root: ET.Element) -> list[str]:
    found = [f"the {tag} {path}" for tag in ("kernel", "initrd", "dtb") if (path := _os(root, tag))]
    devices = root.find("devices")
    for device in () if devices is None else devices:
        if device.tag == "hostdev":
            found.append(f"a {device.get('type', 'host')} device")
        elif device.tag == "interface" and device.get("type") in {"hostdev", "vdpa"}:
            found.append("a network card")
        elif device.tag == "tpm":
            found.append("a TPM")
        elif device.tag == "filesystem":
            source = device.find("source")
            found.append(f"the folder {'' if source is None else source.get('dir', '')}".rstrip())
    return found


def _os(root: ET.Element, tag: str) -> str:
    return root.findtext(f"os/{tag}", "").strip()


def _on_one_line(element: ET.Element) -> str:
    for each in element.iter():
        each.text = (each.text or "").strip() or None
        each.tail = None
    return ET.tostring(element, encoding="unicode")
