"""Every host with every filter's verdict, best first."""

from collections.abc import Iterable

from backend.scheduler.compatibility import Equal
from backend.scheduler.emulator import MachineType, VirtType
from backend.scheduler.host import Hypervisor, InService, NotTheSource, Online
from backend.scheduler.memory import FewerIncomingMoves, FreeMemory, MoreFreeMemory
from backend.scheduler.move import Filter, HostState, Move, Weigher
from backend.scheduler.state import Running
from backend.scheduler.storage import LocalDisks, SharedPools
from wire.fleet import Candidate, FilterVerdict

LIVE_FILTERS: tuple[Filter, ...] = (
    Running(),
    NotTheSource(),
    Online(),
    InService(),
    Hypervisor(),
    Equal("cpu_architecture"),
    Equal("cpu_model"),
    Equal("microcode"),
    Equal("kernel"),
    Equal("page_size"),
    VirtType(),
    MachineType(),
    LocalDisks(),
    SharedPools(),
    FreeMemory(),
)
"""In the order in which their reasons are told."""

WEIGHERS: tuple[Weigher, ...] = (MoreFreeMemory(), FewerIncomingMoves())


def candidate(move: Move, host: HostState) -> Candidate:
    """Judge one host by every filter, also by those after the first that refuses."""
    verdicts = []
    for rule in LIVE_FILTERS:
        reason = rule.refusal(move, host)
        verdicts.append(FilterVerdict(filter=rule.name, passed=not reason, reason=reason))
    return Candidate(
        host_id=host.facts.host_id,
        host_name=host.facts.name,
        verdicts=tuple(verdicts),
        weight=round(sum(weigher.weight(move, host) for weigher in WEIGHERS), 4),
    )


def candidates(move: Move, hosts: Iterable[HostState]) -> tuple[Candidate, ...]:
    """Judge every host: those that fit by falling weight, then the others by name."""
    judged = [candidate(move, host) for host in hosts]
    return tuple(
        sorted(
            judged, key=lambda one: (not one.fits, -one.weight if one.fits else 0, one.host_name)
        )
    )


def fits(move: Move, host: HostState) -> bool:
    """Whether every filter lets this host through; stops at the first that does not."""
    return not any(rule.refusal(move, host) for rule in LIVE_FILTERS)
