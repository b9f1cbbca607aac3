"""Which hosts each server may go to now, cheaply for tens of thousands of servers.

Servers that look alike to every filter share one answer, and answers hold until a host's facts,
status, policy or incoming moves change, or its memory changes by more than :data:`DAMPING`. What
libvirt says of CPUs is only looked up, never asked for here.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from backend.fleet.cpus import Comparisons
from backend.fleet.host_view import host_status, shutting_down
from backend.fleet.known import Fleet
from backend.fleet.server_view import owner_report, standing
from backend.scheduler.candidates import filters_of
from backend.scheduler.host import NotTheSource
from backend.scheduler.move import Filter, HostState, Move, Skips
from backend.scheduler.state import MOVES_COLD, MOVES_LIVE
from backend.scheduler.storage import carried, pool_needs
from wire.fleet import HostFacts, HostMeters, HostPolicy, ServerRecord
from wire.migration import Migration, MigrationKind

DAMPING = 0.02
"""Share of a host's memory that has to change before lists of targets are made anew."""


def _without_the_source(kind: str) -> tuple[Filter, ...]:
    return tuple(rule for rule in filters_of(kind) if not isinstance(rule, NotTheSource))


_FILTERS = {kind: _without_the_source(kind) for kind in ("live", "cold")}


class _Kind(msgspec.Struct, frozen=True):
    """All that the filters look at, save which host the server is on."""

    kind: str
    hypervisor: str
    cpu_architecture: str
    cpu_model_name: str
    microcode: str
    kernel: str
    page_size_bytes: int
    virt_type: str
    machine: str
    cpu_xml: str
    memory_bytes: int
    shared_pools: frozenset[str]
    local_pools: frozenset[tuple[str, int]]
    tied: bool
    """Holds something that keeps it where it is, whatever the target."""


def move_of(
    fleet: Fleet,
    record: ServerRecord,
    *,
    kind: MigrationKind = "live",
    auto_start: bool = False,
    skips: Skips | None = None,
) -> Move | None:
    """A server as the filters see it; None when its host is unknown or does not report it."""
    source = fleet.facts.get(record.owner.host_id)
    report = owner_report(fleet, record)
    if source is None or report is None:
        return None
    now = standing(fleet, record)
    return Move(
        server=report,
        status=now.status,
        status_reason=now.reason,
        source=source,
        kind=kind,
        auto_start=auto_start,
        skips=skips or Skips(),
    )


def host_states(fleet: Fleet, *, wishes: bool = True) -> list[HostState]:
    """Every host as a target, with what is on its way to it.

    Args:
        fleet: hosts, servers and moves.
        wishes: a move whose target is not chosen yet counts where it wishes to go. Not so for the
            choice itself: of two that want the last room the first one gets it.
    """
    incoming: dict[str, list[Migration]] = {}
    for one in fleet.migrations.values():
        if not one.state.ended:
            host_id = one.target_host_id or (_wished(fleet, one) if wishes else "")
            incoming.setdefault(host_id, []).append(one)
    return [_state(fleet, facts, incoming.get(facts.host_id, [])) for facts in fleet.facts.values()]


def _wished(fleet: Fleet, migration: Migration) -> str:
    """The id of the only host that a move may go to; empty if it may go to any.

    Rescues are counted by who begins them.
    """
    wish = "" if migration.kind == "rescue" else migration.options.prefer_host
    if not wish or wish in fleet.facts:
        return wish
    return next((one.host_id for one in fleet.facts.values() if one.name == wish), "")


def _state(fleet: Fleet, facts: HostFacts, incoming: list[Migration]) -> HostState:
    status, reason = host_status(fleet, facts)
    memory_bytes = 0
    pools: Counter[str] = Counter()
    for one in incoming:
        record = fleet.records.get(one.server_id)
        if record is None:
            continue
        if one.kind == "live" or one.options.auto_start:
            memory_bytes += record.memory_bytes
        pools += pool_needs(record.disks, one.kind)
    return HostState(
        facts=facts,
        status=status,
        status_reason=reason,
        shutting_down=shutting_down(fleet, facts.host_id),
        policy=fleet.policies.get(facts.host_id, HostPolicy()),
        meters=fleet.link(facts.host_id).meters,
        server_count=len(fleet.owned.get(facts.host_id, ())),
        incoming_bytes=memory_bytes,
        incoming_moves=len(incoming),
        incoming_pool_bytes=pools,
    )


class Targets:
    """Remembers answers until :meth:`refresh` finds that they may have changed."""

    def __init__(self, comparisons: Comparisons) -> None:
        self._comparisons = comparisons
        self._asked = 0
        self._hosts: list[HostState] = []
        self._meters: dict[str, HostMeters] = {}
        self._fitting: dict[_Kind, tuple[HostFacts, ...]] = {}
        self._names: dict[tuple[_Kind, str], tuple[str, ...]] = {}

    def refresh(self, fleet: Fleet, *, placement_changed: bool) -> bool:
        """Forget all answers if placement, a CPU or a host's memory changed; say whether it did."""
        moved = [
            (host_id, link.meters)
            for host_id, link in fleet.links.items()
            if link.meters is not None and self._moved(fleet, host_id, link.meters)
        ]
        learned = self._asked != self._comparisons.answered
        if not placement_changed and not moved and not learned:
            return False
        self._asked = self._comparisons.answered
        self._meters.update(moved)
        self._hosts = [
            msgspec.structs.replace(state, meters=self._meters.get(state.facts.host_id))
            for state in host_states(fleet)
        ]
        self._fitting.clear()
        self._names.clear()
        return True

    def names(self, fleet: Fleet, record: ServerRecord) -> tuple[str, ...]:
        """Names of the hosts that one server may go to, sorted: live if it is on, else cold."""
        move = move_of(fleet, record)
        if move is None or move.status not in MOVES_LIVE | MOVES_COLD:
            return ()
        if move.status in MOVES_COLD:
            move = msgspec.structs.replace(move, kind="cold")
        kind = _kind(move)
        key = (kind, move.source.host_id)
        if key not in self._names:
            fitting = self._fitting.get(kind)
            if fitting is None:
                fitting = self._fitting[kind] = self._fit(move)
            self._names[key] = tuple(
                facts.name for facts in fitting if facts.host_id != move.source.host_id
            )
        return self._names[key]

    def _fit(self, move: Move) -> tuple[HostFacts, ...]:
        fitting = [
            host.facts
            for host in self._with_cpus(move)
            if not any(rule.refusal(move, host) for rule in _FILTERS[move.kind])
        ]
        return tuple(sorted(fitting, key=lambda facts: facts.name))

    def _with_cpus(self, move: Move) -> Iterable[HostState]:
        if move.kind == "cold" or not move.server.cpu_xml:
            return self._hosts
        return self._comparisons.known_states(move, self._hosts)

    def _moved(self, fleet: Fleet, host_id: str, meters: HostMeters) -> bool:
        known, facts = self._meters.get(host_id), fleet.facts.get(host_id)
        if known is None or facts is None:
            return known is None
        moved = abs(known.memory_used_bytes - meters.memory_used_bytes)
        return moved > DAMPING * facts.memory_total_bytes


def _kind(move: Move) -> _Kind:
    source, server = move.source, move.server
    live = move.kind == "live"
    return _Kind(
        move.kind,
        source.hypervisor,
        source.cpu_architecture,
        source.cpu_model_name if live else "",
        source.microcode if live else "",
        source.kernel if live else "",
        source.page_size_bytes if live else 0,
        server.virt_type,
        server.machine,
        server.cpu_xml if live else "",
        server.memory_bytes,
        frozenset(disk.pool_id for disk in server.disks if disk.source and disk.shared),
        frozenset(pool_needs(server.disks, move.kind).items()),
        _tied(move),
    )


def _tied(move: Move) -> bool:
    server = move.server
    if server.passthrough or any(not one.pool_id for one in carried(server.disks, move.kind)):
        return True
    if move.kind == "cold":
        return False
    local_media = len(carried(server.disks, "cold")) > len(carried(server.disks, "live"))
    return bool(server.snapshot_names) or local_media
