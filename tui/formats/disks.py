"""One disk of a server in one line, for the command line and the console alike."""

from tui.formats.units import bytes_text
from wire.fleet import Disk


def disk_text(disk: Disk) -> str:
    """``local, pool images, qcow2, 20 GiB, 3.1 GiB in use, /srv/web-1.img``."""
    if not disk.source:
        return f"empty {disk.device}"
    kind = "shared" if disk.shared else "local"
    pool = f"pool {disk.pool_name}" if disk.pool_name else "in no pool"
    sizes = f"{bytes_text(disk.capacity_bytes)}, {bytes_text(disk.allocation_bytes)} in use"
    return f"{kind}, {pool}, {disk.format}, {sizes}, {disk.source}"
