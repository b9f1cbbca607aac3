"""Devices of the host that a guest holds, in words."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET


def passthrough_devices(domain: ET.Element) -> tuple[str, ...]:
    """All of them, in the order of the domain's XML."""
    devices = domain.find("devices")
    return () if devices is None else tuple(_found(devices))


def _found(devices: ET.Element) -> Iterator[str]:
    for device in devices:
        if device.tag == "hostdev":
            yield _hostdev(device)
        elif device.tag == "interface" and device.get("type") == "hostdev":
            yield f"network card, {_pci(device)}"
        elif device.tag == "interface" and device.get("type") == "vdpa":
            yield f"vDPA network card {_attribute(device, 'source', 'dev')}".rstrip()
        elif device.tag == "tpm" and device.find("backend[@type='passthrough']") is not None:
            yield f"TPM {_attribute(device, 'backend/device', 'path')}".rstrip()


def _hostdev(device: ET.Element) -> str:
    match device.get("type", ""):
        case "pci":
            return _pci(device)
        case "usb":
            return f"USB device {_usb(device)}".rstrip()
        case "mdev":
            return f"mediated device {_attribute(device, 'source/address', 'uuid')}".rstrip()
        case "scsi":
            return f"SCSI device {_attribute(device, 'source/adapter', 'name')}".rstrip()
        case "scsi_host":
            return f"SCSI host {_attribute(device, 'source', 'wwpn')}".rstrip()
        case kind:
            return f"{kind or 'unnamed'} device of the host"


def _pci(device: ET.Element) -> str:
    address = device.find("source/address")
    if address is None:
        return "PCI device"
    domain, bus, slot, function = (
        int(address.get(part, "0"), 0) for part in ("domain", "bus", "slot", "function")
    )
    return f"PCI device {domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _usb(device: ET.Element) -> str:
    vendor, product = (_attribute(device, f"source/{part}", "id") for part in ("vendor", "product"))
    if vendor and product:
        return f"{vendor.removeprefix('0x')}:{product.removeprefix('0x')}"
    bus, number = (_attribute(device, "source/address", part) for part in ("bus", "device"))
    return f"{bus}-{number}" if bus and number else ""


def _attribute(element: ET.Element, path: str, name: str) -> str:
    found = element.find(path)
    return "" if found is None else found.get(name, "")
