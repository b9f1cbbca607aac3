"""Where the things of one lab lie, on the machine and as its hosts see them."""

from pathlib import Path

import msgspec

from lab.registry import lab_folder

LIBVIRT_PATH = Path("/var/lib/libvirt")
"""What each host has of its own, apart from the folders that are shared."""
SHARED_PATH = LIBVIRT_PATH / "shared"
"""Path of the shared pool in every host."""
LOCAL_PATH = LIBVIRT_PATH / "images"
"""Path of the local pool in every host."""
LOCAL_DISK_PATH = LIBVIRT_PATH / "local-disk"
"""Where a host has the disk of its local pool mounted while its space is limited."""
IMAGE_CACHE_PATH = LIBVIRT_PATH / "image-cache"
"""Path of the pool of base images in a host; each host has its own."""
NVRAM_PATH = LIBVIRT_PATH / "qemu" / "nvram"
"""Where libvirt keeps the variables of UEFI guests on a host."""
CONSOLES_PATH = LIBVIRT_PATH / "consoles"
"""Path of the guests' serial output in every host; shared, so that it follows a guest."""


class LabFolders(msgspec.Struct, frozen=True, kw_only=True):
    """Folders of a lab on the machine."""

    root: Path

    @classmethod
    def of(cls, name: str) -> "LabFolders":
        """The folders of the lab of this name."""
        return cls(root=lab_folder(name))

    @property
    def shared(self) -> Path:
        """Volumes of the shared pool."""
        return self.root / "shared"

    @property
    def consoles(self) -> Path:
        """Serial output of each guest."""
        return self.root / "consoles"

    @property
    def operator(self) -> Path:
        """CA, the operator's certificate and the tokens."""
        return self.root / "operator"

    def node(self, name: str) -> Path:
        """Everything of one node."""
        return self.root / name

    def etc(self, name: str) -> Path:
        """A node's /etc."""
        return self.root / name / "etc"

    def log(self, name: str) -> Path:
        """Output of each of a node's programs."""
        return self.root / name / "log"

    def clock(self, name: str) -> Path:
        """How far a node's wall clock is from the machine's (:mod:`lab.clock`)."""
        return self.root / name / "clock"

    @property
    def clock_library(self) -> Path:
        """What shifts the wall clocks."""
        return self.root / "stepped_clock.so"

    def local(self, name: str) -> Path:
        """Volumes of a host's local pool."""
        return self.root / name / "libvirt" / "images"

    def local_disk(self, name: str) -> Path:
        """Disk of a host's local pool while its space is limited (:mod:`lab.localpool`)."""
        return self.root / name / "local-disk.ext4"
