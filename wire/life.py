"""What a host says of its own life: its health key, its fence, and that it is being shut down."""

from enum import StrEnum

import msgspec


class Fence(StrEnum):
    """How a host makes sure that its guests are dead when it loses etcd."""

    NONE = "none"
    """Nothing fences this host: its guests are never started elsewhere automatically."""
    WATCHDOG = "watchdog"
    """A watchdog card resets the host unless its guests that may be started elsewhere are dead
    before the lease can have run out."""


class HealthValue(msgspec.Struct, frozen=True, kw_only=True):
    """Value of ``/onecloud/kvm/host/health/<host_id>``, held under a lease by the host's agent.

    ``fence`` is what is in force: the card is armed before this says so, and this says no more so,
    acknowledged by etcd, before the card is disarmed.
    """

    boot_id: str
    """``/proc/sys/kernel/random/boot_id``; in the lab that of the namespace's start."""
    epoch: int
    """Counts the leases this host has taken; never decreases."""
    fence: Fence = Fence.NONE
    fence_detail: str = ""
    """Why there is none, in one clause: ``no /dev/watchdog``, ``automatic rescue is off``."""
    ttl_s: int = 0
    """Of the lease, as etcd granted it."""
    watchdog_timeout_s: int = 0
    """The card resets the host so long after it was last petted; 0 without one."""


class HostShutdown(msgspec.Struct, frozen=True, kw_only=True):
    """A host that is being shut down in order says so, with the time that its guests have left."""

    boot_id: str
    """Of the life that ends: the word is void after the next start."""
    asked_at_ms: int
    """Unix time in ms."""
    within_s: int
    """So long the shutdown waits for guests to leave."""
