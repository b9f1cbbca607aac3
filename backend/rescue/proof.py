"""Is a host dead, so that its servers may be started elsewhere? Decision 0018, second party.

Everything here is arithmetic on CLOCK_BOOTTIME of this machine; nothing is asked of anybody.
"""

import msgspec

from backend.health.sightings import UNKNOWN_TTL_S
from wire.life import Fence, HealthValue

GUARD_S = 1.0
"""Passes between the sight of the key's absence and the first claim: clocks drift."""
LOOK_S = 1.0
"""Leases are looked at this often."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one host. Moments are seconds of CLOCK_BOOTTIME."""

    host_name: str
    life: HealthValue
    """The last life that the host wrote itself."""
    absent_since_s: float | None
    """When its health key was first seen to be absent; None while it is there."""
    cannot_live_before_s: float | None
    """Until then the host's lease, as last read from etcd, may live: it is not dead before. None
    while nobody has looked at it since its key was gone."""
    watching_since_s: float
    """When this backend began to lead, or got etcd back after it had not answered."""
    declared_off_by: str = ""
    """Who said, in this life of the host, that it is switched off."""
    left_s: int | None = None
    """What etcd gave the lease when it was last read; only while the key is there."""
    etcd_error: str = ""
    unreadable: str = ""
    """What cannot be read of its lives, in one clause: a newer one may be hidden there."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    reason: str = ""
    """Why the host counts as dead, in one sentence; empty if it does not."""
    needs: str = ""
    """What only a person or the host itself can change, in one clause; empty if nothing."""
    waits_for: str = ""
    """What time alone will bring, in one clause; empty if nothing."""
    again_in_s: float = 0.0
    """When time will have brought it; 0 if nothing is waited for."""

    @property
    def dead(self) -> bool:
        """Whether one may act on the host's servers."""
        return bool(self.reason)

    @property
    def missing(self) -> str:
        """All that is missing now, with the seconds that are to go; empty for a dead host."""
        waits = f"{self.waits_for}: {self.again_in_s:.1f} s to go" if self.waits_for else ""
        return "; ".join(part for part in (self.needs, waits) if part)


def prove(evidence: Evidence, *, now_s: float) -> Proof:
    """Decide whether a host is dead, or say what is missing."""
    name = evidence.host_name
    if evidence.etcd_error:
        return Proof(needs=f"nobody knows how {name} is: {evidence.etcd_error}")
    if evidence.absent_since_s is None:
        left = "" if evidence.left_s is None else f", with {evidence.left_s} s left"
        return Proof(needs=f"{name} still holds its health key{left}")
    needs = evidence.unreadable or _unfenced(evidence)
    if evidence.cannot_live_before_s is None:
        return Proof(needs=needs, waits_for=f"a look at the lease of {name}", again_in_s=LOOK_S)
    until_s, waits_for = max(_waits(evidence, evidence.absent_since_s))
    if now_s < until_s:
        return Proof(needs=needs, waits_for=waits_for, again_in_s=until_s - now_s)
    if needs:
        return Proof(needs=needs)
    return Proof(reason=_reason(evidence))


def _unfenced(evidence: Evidence) -> str:
    if evidence.life.fence is Fence.WATCHDOG or evidence.declared_off_by:
        return ""
    name, detail = evidence.host_name, evidence.life.fence_detail
    because = f" ({detail})" if detail else ""
    return (
        f"{name} is unfenced{because}, so its guests may still run: switch it off, then say so "
        f"with godwit host-declare-off {name}"
    )


def _waits(evidence: Evidence, absent_since_s: float) -> list[tuple[float, str]]:
    """Each moment before which nothing is done, and why."""
    ttl_s = evidence.life.ttl_s or UNKNOWN_TTL_S
    lease_s = evidence.cannot_live_before_s or 0.0
    return [
        (absent_since_s + GUARD_S, f"the guard of {GUARD_S:g} s since its key was seen gone"),
        (lease_s, "its lease as last read from etcd may live"),
        (
            evidence.watching_since_s + ttl_s + GUARD_S,
            f"this backend has not watched etcd for a whole lease of {ttl_s} s",
        ),
    ]


def _reason(evidence: Evidence) -> str:
    name = evidence.host_name
    if evidence.declared_off_by:
        return (
            f"{evidence.declared_off_by} has declared that {name} is switched off, and its lease "
            "has run out in full"
        )
    return (
        f"the lease of {name} has run out in full, before which its watchdog had to reset it or "
        "its guests were dead"
    )
