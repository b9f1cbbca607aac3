"""What libvirt tells the agent, as events of our own."""

from enum import StrEnum

import libvirt
import msgspec

from wire.migration import Statistics


class Connected(msgspec.Struct, frozen=True):
    """A new connection to libvirtd: whatever was known must be read again."""


class Disconnected(msgspec.Struct, frozen=True):
    """libvirtd is gone; what is known may be stale."""

    reason: str


class Change(StrEnum):
    """What a lifecycle event says, as far as the agent acts on it."""

    POWERED_ON = "powered on"
    POWERED_OFF = "powered off"
    """By the guest or by a person; a crash or a migration is none."""
    SWITCHING_OVER = "switching over"
    """The source paused the guest to send the rest."""
    OTHER = "other"


class DomainChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A domain appeared, changed its state or definition, or went."""

    server_id: str
    change: Change


class PassBegan(msgspec.Struct, frozen=True, kw_only=True):
    """QEMU began another walk through dirty memory."""

    server_id: str
    iteration: int
    """QEMU's own count; see ``memory_iteration``."""


class JobCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """A job succeeded; libvirt says so on the source."""

    server_id: str
    statistics: Statistics


class PoolsChanged(msgspec.Struct, frozen=True):
    """A storage pool was started, stopped, defined, removed or refreshed."""


LibvirtEvent = Connected | Disconnected | DomainChanged | PassBegan | JobCompleted | PoolsChanged

_CHANGES = {
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED): Change.POWERED_ON,
    (
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN,
    ): Change.POWERED_OFF,
    (
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED,
    ): Change.POWERED_OFF,
    (
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED,
    ): Change.SWITCHING_OVER,
}


def lifecycle_change(event: int, detail: int) -> Change:
    """Name a lifecycle event (``VIR_DOMAIN_EVENT_ID_LIFECYCLE``)."""
    return _CHANGES.get((event, detail), Change.OTHER)
