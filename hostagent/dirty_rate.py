"""How many bytes a guest dirtied within a window: libvirt's question, and what its answer means.

QEMU hashes 512 pages in each GiB of the guest, waits, and hashes them again
(``virDomainStartDirtyRateCalc``, page sampling). It says whole MiB/s, rounded down. The question
itself takes libvirt a few milliseconds; the hashing is a few MiB in each GiB.
"""

from collections.abc import Mapping
from typing import Any

import libvirt
import msgspec

from hostagent.domain import describe_state
from hostagent.guest import find_domain
from hostagent.statistics import job_idle
from wire.fleet import PowerState

_MIB = 1 << 20
_KIB = 1 << 10
_STATISTICS = libvirt.VIR_DOMAIN_STATS_DIRTYRATE | libvirt.VIR_DOMAIN_STATS_BALLOON


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """libvirt's answer."""

    window_ms: int
    dirtied_bytes: int
    resident_bytes: int


def start(handle: libvirt.virConnect, server_id: str, window_s: int) -> bool:
    """Let QEMU begin to measure; False for a guest that does not run undisturbed. Blocks.

    libvirt would let the question wait for a job's end.
    """
    domain = find_domain(handle, server_id)
    if domain is None or describe_state(*domain.state()).power is not PowerState.RUNNING:
        return False
    if not job_idle(domain.jobStats()):
        return False
    domain.startDirtyRateCalc(window_s, libvirt.VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING)
    return True


def read(handle: libvirt.virConnect, server_id: str) -> Measured | None:
    """What was measured; None while QEMU still measures, or if it cannot. Blocks."""
    domain = find_domain(handle, server_id)
    if domain is None:
        return None
    told = handle.domainListGetStats(
        [domain], _STATISTICS, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    )
    return None if not told else measured(told[0][1], huge_pages="<hugepages" in domain.XMLDesc())


def measured(told: Mapping[str, Any], *, huge_pages: bool) -> Measured | None:
    """The answer in our terms; None if it is none.

    QEMU says -1 where it found nothing to sample. Guests of less than 128 MiB are sampled, too: the
    least block of QEMU 7.2 is 128 KiB, whatever its comment says. A rate is taken for half a MiB/s
    more than QEMU says, which drops the fraction. Memory in huge pages is not part of ``rss``.
    """
    rate_mib = told.get("dirtyrate.megabytes_per_second")
    if (
        told.get("dirtyrate.calc_status") != libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED
        or rate_mib is None
        or rate_mib < 0
    ):
        return None
    window_s = int(told["dirtyrate.calc_period"])
    halves = 2 * int(rate_mib) + (1 if rate_mib else 0)
    return Measured(
        window_ms=window_s * 1000,
        dirtied_bytes=halves * window_s * _MIB // 2,
        resident_bytes=0 if huge_pages else int(told.get("balloon.rss", 0)) * _KIB,
    )
