"""Which files of the host a domain's XML names, and the same XML with other paths."""

from collections.abc import Iterator, Mapping
from typing import Literal
from xml.etree import ElementTree as ET

import msgspec


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A disk, CD-ROM or floppy with something in it."""

    target: str
    kind: Literal["file", "block", "network", "volume", "other"]
    path: str
    pool_name: str = ""
    """Of a volume: ``path`` is its name."""
    format: str = "raw"
    media: bool = False


def sources(definition: str) -> tuple[Source, ...]:
    """Every drive of a domain that holds something."""
    found = []
    for disk in _parse(definition).iterfind("devices/disk"):
        source, target, driver = disk.find("source"), disk.find("target"), disk.find("driver")
        if source is None or not source.attrib:
            continue
        kind = disk.get("type", "file")
        where = source.attrib
        path = where.get("file") or where.get("dev") or where.get("volume") or where.get("name", "")
        found.append(
            Source(
                target="" if target is None else target.get("dev", ""),
                kind=kind if kind in {"file", "block", "network", "volume"} else "other",  # type: ignore[arg-type]  # narrowed by the test
                path=path or kind,
                pool_name=where.get("pool", ""),
                format="raw" if driver is None else driver.get("type", "raw"),
                media=disk.get("device") in {"cdrom", "floppy"},
            )
        )
    return tuple(found)


def nvram_path(definition: str) -> str:
    """The file of UEFI variables; empty for a BIOS guest."""
    return _parse(definition).findtext("os/nvram", "").strip()


def obstacles(definition: str) -> Iterator[str]:
    """What a domain uses on its host beside drives, and no copy takes along: one clause each."""
    root = _parse(definition)
    for tag in ("kernel", "initrd", "dtb"):
        path = root.findtext(f"os/{tag}")
        if path:
            yield f"it boots the {tag} {path} of its host: boot it from a disk"
    if root.find("devices/tpm/backend[@type='emulator']") is not None:
        yield "its emulated TPM keeps its state on its host: remove the TPM first"
    for folder in root.iterfind("devices/filesystem/source[@dir]"):
        yield f"it shares the folder {folder.get('dir')} of its host: detach that first"


def memory_files(snapshot: str) -> tuple[str, ...]:
    """Files that hold the memory of a snapshot."""
    memory = _parse(snapshot).find("memory[@snapshot='external']")
    return () if memory is None else (memory.get("file", ""),)


def name_and_id(definition: str) -> tuple[str, str]:
    """A domain's name and UUID."""
    root = _parse(definition)
    return root.findtext("name", ""), root.findtext("uuid", "")


def snapshot_name(snapshot: str) -> str:
    """A snapshot's name."""
    return _parse(snapshot).findtext("name", "")


def marked_current(snapshot: str) -> str:
    """A snapshot's XML with the mark that libvirt's own files carry on the current one."""
    root = _parse(snapshot)
    if root.find("active") is None:
        ET.SubElement(root, "active").text = "1"
    return ET.tostring(root, encoding="unicode")


def is_current(snapshot: str) -> bool:
    """Whether a snapshot's XML carries that mark."""
    return _parse(snapshot).findtext("active") == "1"


def with_paths(xml: str, paths: Mapping[str, str]) -> str:
    """Domain or snapshot XML with files in other places; unchanged if none of them moves."""
    moved = {old: new for old, new in paths.items() if old != new}
    if not moved:
        return xml
    root = _parse(xml)
    for element in root.iter():
        if element.tag == "source":
            for name in ("file", "dev"):
                path = element.get(name, "")
                if path in moved:
                    element.set(name, moved[path])
        elif element.tag == "nvram" and (element.text or "").strip() in moved:
            element.text = moved[(element.text or "").strip()]
    return ET.tostring(root, encoding="unicode")


def _parse(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 - libvirtd's own output, handed on by the backend
