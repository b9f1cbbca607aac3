"""Which images a disk's image stands on."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from hostagent.calls import CALL_TIMEOUT_S

_MOST_REMEMBERED = 1_000
_remembered: dict[tuple[str, int], tuple[str, ...]] = {}


def chain_of_xml(disk: ET.Element) -> tuple[str, ...] | None:
    """Images below a disk's as libvirt tells of a running guest; None where it does not say."""
    if disk.find("backingStore") is None:
        return None
    return tuple(_below(disk))


def _below(element: ET.Element) -> Iterator[str]:
    backing = element.find("backingStore")
    while backing is not None:
        source = backing.find("source")
        where = {} if source is None else source.attrib
        path = where.get("file") or where.get("dev") or where.get("name") or ""
        if path:
            yield path
        backing = backing.find("backingStore")


def chain_of_image(path: str, image_format: str) -> tuple[str, ...]:
    """Images below one, by their headers (``qemu-img info``). Blocks.

    Remembered until the image is written to. Empty if it cannot be read.

    Args:
        path: of the image.
        image_format: as declared; it is not guessed from what a guest may have written.
    """
    try:
        key = (path, Path(path).stat().st_mtime_ns)
    except OSError:
        return ()
    if key not in _remembered:
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[key] = _read_chain(path, image_format)
    return _remembered[key]


def _read_chain(path: str, image_format: str) -> tuple[str, ...]:
    # a guest may hold the image's lock: its header can be read all the same
    asked = ["qemu-img", "info", "--force-share", "--output=json", "--backing-chain"]
    asked += ["-f", image_format, path]
    try:
        done = subprocess.run(asked, capture_output=True, check=True, timeout=CALL_TIMEOUT_S)
        images = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    return tuple(image["filename"] for image in images[1:])
