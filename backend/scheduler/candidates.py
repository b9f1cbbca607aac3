"""Every host with every filter's verdict, best first."""

from collections.abc import Collection, Iterable

from backend.scheduler.compatibility import Equal
from backend.scheduler.devices import Media, Passthrough, Snapshots
from backend.scheduler.emulator import MachineType, VirtType
from backend.scheduler.features import CpuFeatures
from backend.scheduler.host import Hypervisor, InService, NotTheSource, Online, StaysUp
from backend.scheduler.memory import Memory
from backend.scheduler.move import Filter, HostState, Move, Skips, Weigher
from backend.scheduler.risk import weighed
from backend.scheduler.state import Status
from backend.scheduler.storage import InPools, LocalPools, SharedDisks, SharedPools
from backend.scheduler.weighers import (
    FewerIncomingMoves,
    MoreFreeCpu,
    MoreFreeMemory,
    Spreading,
    risk_weight,
)
from wire.candidates import Candidate, FilterVerdict

LIVE_FILTERS: tuple[Filter, ...] = (
    Status(),
    NotTheSource(),
    Online(),
    InService(),
    StaysUp(),
    Hypervisor(),
    Equal("cpu_architecture"),
    Equal("cpu_model"),
    Equal("microcode"),
    CpuFeatures(),
    Equal("kernel"),
    Equal("page_size"),
    VirtType(),
    MachineType(),
    Passthrough(),
    Media(),
    Snapshots(),
    InPools(),
    SharedPools(),
    LocalPools(),
    Memory(),
)
"""In the order in which their reasons are told."""

_ONLY_LIVE = {
    "cpu_model",
    "microcode",
    "cpu_features",
    "kernel",
    "page_size",
    "media",
    "snapshots",
}
"""A stopped server starts anew: nothing of a running one has to be the same."""

COLD_FILTERS: tuple[Filter, ...] = tuple(
    rule for rule in LIVE_FILTERS if rule.name not in _ONLY_LIVE
)

RESCUE_FILTERS: tuple[Filter, ...] = (
    NotTheSource(),
    Online(),
    InService(),
    StaysUp(),
    Hypervisor(),
    Equal("cpu_architecture"),
    CpuFeatures(),
    VirtType(),
    MachineType(),
    Passthrough(),
    SharedDisks(),
    SharedPools(),
    Memory(),
)
"""A server that is started anew, from disks that its dead host leaves to others."""

WEIGHERS: tuple[Weigher, ...] = (
    MoreFreeMemory(),
    MoreFreeCpu(),
    Spreading(),
    FewerIncomingMoves(),
)

_LIFTED_WITH_CPU = {"cpu_model", "microcode", "cpu_features"}
_LIFTED_WITH_KERNEL = {"kernel"}


def filters_of(kind: str) -> tuple[Filter, ...]:
    """The filters of a kind of migration."""
    if kind == "rescue":
        return RESCUE_FILTERS
    return COLD_FILTERS if kind == "cold" else LIVE_FILTERS


def lifted(rule: Filter, skips: Skips) -> bool:
    """Whether the operator lifted this filter."""
    return (skips.cpu and rule.name in _LIFTED_WITH_CPU) or (
        skips.kernel and rule.name in _LIFTED_WITH_KERNEL
    )


def lifting(refused: Collection[str]) -> Skips | None:
    """Which checks an operator would have to skip to lift these filters; None if that is no way."""
    names = set(refused)
    if not names or not names <= _LIFTED_WITH_CPU | _LIFTED_WITH_KERNEL:
        return None
    return Skips(cpu=bool(names & _LIFTED_WITH_CPU), kernel=bool(names & _LIFTED_WITH_KERNEL))


def candidate(move: Move, host: HostState) -> Candidate:
    """Judge one host by every filter, also by those after the first that refuses."""
    verdicts = []
    for rule in filters_of(move.kind):
        reason = rule.refusal(move, host)
        wanted, found = rule.values(move, host)
        skipped = bool(reason) and lifted(rule, move.skips)
        verdicts.append(
            FilterVerdict(
                filter=rule.name,
                passed=not reason or skipped,
                reason=reason,
                wanted=wanted,
                found=found,
                skipped=skipped,
            )
        )
    lifted_verdicts = tuple(one for one in verdicts if one.skipped)
    weight = sum(weigher.weight(move, host) for weigher in WEIGHERS)
    weight += risk_weight(host, [one.filter for one in lifted_verdicts])
    risk, safe = weighed(move, host, lifted_verdicts)
    return Candidate(
        host_id=host.facts.host_id,
        host_name=host.facts.name,
        verdicts=tuple(verdicts),
        weight=round(weight, 4),
        risk=risk,
        safe=safe,
    )


def candidates(move: Move, hosts: Iterable[HostState]) -> tuple[Candidate, ...]:
    """Judge every host: those that fit by falling weight, then the others by name."""
    judged = [candidate(move, host) for host in hosts]
    return tuple(
        sorted(
            judged, key=lambda one: (not one.fits, -one.weight if one.fits else 0, one.host_name)
        )
    )
