"""What libvirt tells the agent, as events of our own."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any

import libvirt
import msgspec

from hostagent.statistics import final_statistics
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


def subscribe(
    handle: libvirt.virConnect, emit: Callable[[LibvirtEvent], None]
) -> list[Callable[[], object]]:
    """Register for all events; ``emit`` is called in the thread of libvirt's event loop. Blocks.

    Returns what takes each registration back.
    """

    def on_lifecycle(_: Any, domain: Any, event: int, detail: int, __: Any) -> None:
        change = lifecycle_change(event, detail)
        emit(DomainChanged(server_id=domain.UUIDString(), change=change))

    def on_iteration(_: Any, domain: Any, iteration: int, __: Any) -> None:
        emit(PassBegan(server_id=domain.UUIDString(), iteration=iteration))

    def on_job_completed(_: Any, domain: Any, stats: dict[str, Any], __: Any) -> None:
        emit(JobCompleted(server_id=domain.UUIDString(), statistics=final_statistics(stats)))

    def on_pool(*_: Any) -> None:
        emit(PoolsChanged())

    undo: list[Callable[[], object]] = []
    for event_id, callback in (
        (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle),
        (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, on_iteration),
        (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, on_job_completed),
    ):
        number = handle.domainEventRegisterAny(None, event_id, callback, None)
        undo.append(partial(handle.domainEventDeregisterAny, number))
    for event_id in (
        libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
        libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH,
    ):
        number = handle.storagePoolEventRegisterAny(None, event_id, on_pool, None)
        undo.append(partial(handle.storagePoolEventDeregisterAny, number))
    return undo
