"""Which hosts each server may go to now, cheaply for tens of thousands of servers.

Servers that look alike to every filter share one answer, and answers hold until a host's facts,
status, policy or incoming moves change, or its memory changes by more than :data:`DAMPING`.
"""

import msgspec

from backend.fleet.host_view import host_status
from backend.fleet.known import Fleet
from backend.fleet.server_view import owner_report, standing
from backend.scheduler.candidates import LIVE_FILTERS
from backend.scheduler.host import NotTheSource
from backend.scheduler.move import HostState, Move
from backend.scheduler.storage import filled_disks
from wire.fleet import HostFacts, HostMeters, HostPolicy, ServerRecord, ServerStatus

DAMPING = 0.02
"""Share of a host's memory that has to change before lists of targets are made anew."""

_FILTERS = tuple(rule for rule in LIVE_FILTERS if not isinstance(rule, NotTheSource))


class _Kind(msgspec.Struct, frozen=True):
    """All that the filters look at, save which host the server is on."""

    hypervisor: str
    cpu_architecture: str
    cpu_model_name: str
    microcode: str
    kernel: str
    page_size_bytes: int
    virt_type: str
    machine: str
    memory_bytes: int
    pools: frozenset[tuple[str, bool]]


def move_of(fleet: Fleet, record: ServerRecord) -> Move | None:
    """A server as the filters see it; None when its host is unknown or does not report it."""
    source = fleet.facts.get(record.owner.host_id)
    report = owner_report(fleet, record)
    if source is None or report is None:
        return None
    now = standing(fleet, record)
    return Move(server=report, status=now.status, status_reason=now.reason, source=source)


def host_states(fleet: Fleet) -> list[HostState]:
    """Every host as a target, with what is on its way to it."""
    moves = [one for one in fleet.migrations.values() if not one.state.ended]
    states = []
    for facts in fleet.facts.values():
        status, reason = host_status(fleet, facts)
        incoming = [one for one in moves if one.target_host_id == facts.host_id]
        memory = [
            fleet.records[one.server_id].memory_bytes
            for one in incoming
            if one.server_id in fleet.records
        ]
        states.append(
            HostState(
                facts=facts,
                status=status,
                status_reason=reason,
                policy=fleet.policies.get(facts.host_id, HostPolicy()),
                meters=fleet.link(facts.host_id).meters,
                incoming_bytes=sum(memory),
                incoming_moves=len(incoming),
            )
        )
    return states


class Targets:
    """Remembers answers until :meth:`refresh` finds that they may have changed."""

    def __init__(self) -> None:
        self._hosts: list[HostState] = []
        self._meters: dict[str, HostMeters] = {}
        self._fitting: dict[_Kind, tuple[HostFacts, ...]] = {}
        self._names: dict[tuple[_Kind, str], tuple[str, ...]] = {}

    def refresh(self, fleet: Fleet, *, placement_changed: bool) -> bool:
        """Forget all answers if placement or some host's memory changed; say whether it did."""
        moved = [
            (host_id, link.meters)
            for host_id, link in fleet.links.items()
            if link.meters is not None and self._moved(fleet, host_id, link.meters)
        ]
        if not placement_changed and not moved:
            return False
        self._meters.update(moved)
        self._hosts = [
            msgspec.structs.replace(state, meters=self._meters.get(state.facts.host_id))
            for state in host_states(fleet)
        ]
        self._fitting.clear()
        self._names.clear()
        return True

    def names(self, fleet: Fleet, record: ServerRecord) -> tuple[str, ...]:
        """Names of the hosts that one server may go to, sorted."""
        move = move_of(fleet, record)
        if move is None or move.status is not ServerStatus.RUNNING:
            return ()
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
            for host in self._hosts
            if not any(rule.refusal(move, host) for rule in _FILTERS)
        ]
        return tuple(sorted(fitting, key=lambda facts: facts.name))

    def _moved(self, fleet: Fleet, host_id: str, meters: HostMeters) -> bool:
        known, facts = self._meters.get(host_id), fleet.facts.get(host_id)
        if known is None or facts is None:
            return known is None
        moved = abs(known.memory_used_bytes - meters.memory_used_bytes)
        return moved > DAMPING * facts.memory_total_bytes


def _kind(move: Move) -> _Kind:
    source, server = move.source, move.server
    return _Kind(
        source.hypervisor,
        source.cpu_architecture,
        source.cpu_model_name,
        source.microcode,
        source.kernel,
        source.page_size_bytes,
        server.virt_type,
        server.machine,
        server.memory_bytes,
        frozenset((disk.pool_id, disk.shared) for disk in filled_disks(move)),
    )
