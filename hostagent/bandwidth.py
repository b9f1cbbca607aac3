"""One cap on all that a migration sends, divided among memory and the disks that are copied.

libvirt's own limit holds for each stream by itself, in whole MiB/s. Memory is limited by
``virDomainMigrateSetMaxSpeed``, each disk's mirror through QEMU's monitor, in bytes: libvirt's call
for it waits until the migration is over.
"""

from collections.abc import Iterable

import msgspec

MIB = 1 << 20
NO_LIMIT_MIB_PER_S = (1 << 63) // MIB - 1
"""What libvirt holds for no limit (``QEMU_DOMAIN_MIG_BANDWIDTH_MAX``)."""
_WAITING = 16
"""Memory that waits for the disks, and disks that wait for other disks, get this part each."""
_MIRRORED = 4
"""While memory is copied, the guest's writes to copied disks get this part."""


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """The copy of one disk by QEMU (``query-block-jobs``)."""

    device: str
    """QEMU's name of the job: ``drive-virtio-disk0``."""
    speed_bytes_per_s: int
    """Its limit now; 0 for none."""
    ready: bool
    """All is copied, and what the guest writes follows."""


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """A cap divided; the sum is never above it, save that each stream gets its least."""

    memory_mib_per_s: int
    """At least 1, which is the least that libvirt can say."""
    mirrors: dict[str, int]
    """Bytes per second by device; 0 for no limit."""


def start_mib_per_s(total_bytes_per_s: int | None, disk_count: int) -> int:
    """What each stream may send until the agent has divided the cap, in MiB/s."""
    if total_bytes_per_s is None:
        return NO_LIMIT_MIB_PER_S
    if disk_count == 0:
        return _whole_mib(total_bytes_per_s)
    return _whole_mib(total_bytes_per_s // max(_WAITING, disk_count + 1))


def divided(
    total_bytes_per_s: int | None, mirrors: Iterable[Mirror], *, memory_copied: bool
) -> Shares:
    """Divide a cap.

    Before memory is copied, its share is what it will begin with, so that nothing is above the cap
    in the moment between libvirt's first byte of memory and the agent's noticing.

    Args:
        total_bytes_per_s: the cap; None for none.
        mirrors: of all disks that are copied.
        memory_copied: whether memory is being sent by now.
    """
    mirrors = tuple(mirrors)
    if total_bytes_per_s is None:
        return Shares(
            memory_mib_per_s=NO_LIMIT_MIB_PER_S, mirrors={mirror.device: 0 for mirror in mirrors}
        )
    if not mirrors:
        return Shares(memory_mib_per_s=_whole_mib(total_bytes_per_s), mirrors={})
    if memory_copied:
        memory_mib = _whole_mib(total_bytes_per_s - total_bytes_per_s // _MIRRORED)
        each = _rest(total_bytes_per_s, memory_mib) // len(mirrors)
        return Shares(
            memory_mib_per_s=memory_mib,
            mirrors={mirror.device: max(each, 1) for mirror in mirrors},
        )
    memory_mib = start_mib_per_s(total_bytes_per_s, len(mirrors))
    rest = _rest(total_bytes_per_s, memory_mib)
    copying = [mirror for mirror in mirrors if not mirror.ready]
    ready_each = rest // (_WAITING * len(mirrors)) if copying else rest // len(mirrors)
    copying_rest = rest - ready_each * (len(mirrors) - len(copying))
    return Shares(
        memory_mib_per_s=memory_mib,
        mirrors={
            mirror.device: max(ready_each if mirror.ready else copying_rest // len(copying), 1)
            for mirror in mirrors
        },
    )


def holding_text(total_bytes_per_s: int) -> str:
    """What has to be said about a cap that libvirt cannot hold exactly; empty if nothing."""
    if total_bytes_per_s >= MIB:
        return ""
    return (
        f"memory may take 1.0 MiB/s although the cap is {total_bytes_per_s / MIB:.2g} MiB/s: "
        "libvirt's least is 1 MiB/s"
    )


def _whole_mib(bytes_per_s: int) -> int:
    return max(1, bytes_per_s // MIB)


def _rest(total_bytes_per_s: int, memory_mib: int) -> int:
    """What is left for mirrors; a quarter where memory's least takes (nearly) all."""
    return max(total_bytes_per_s - memory_mib * MIB, total_bytes_per_s // _MIRRORED)
