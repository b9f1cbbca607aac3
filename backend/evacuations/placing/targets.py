"""Giving targets in turn: the hardest to place first, and each placement counts for the next."""

import heapq
from collections.abc import Collection, Iterable, Mapping

import msgspec

from backend.evacuations.placing.alike import Alike, Verdict, bound, has_room
from backend.evacuations.placing.lines import Line
from backend.evacuations.placing.rooms import taken
from backend.evacuations.placing.spare import Guest, Spare
from backend.scheduler.candidates import WEIGHERS, candidate, lifting
from backend.scheduler.host import InService
from backend.scheduler.move import HostState, Move, Skips
from backend.scheduler.storage import pool_needs
from backend.scheduler.weighers import MoreFreeMemory
from wire.candidates import Candidate

_OF_THE_SERVER = [one for one in WEIGHERS if isinstance(one, MoreFreeMemory)]
_OF_THE_HOST = [one for one in WEIGHERS if one not in _OF_THE_SERVER]
"""What these say depends on the host alone: it is asked once until something is placed there."""
_Ranked = tuple[bool, float, str, int, str, float]
"""Late, negated weight, name, version, id, risk weight of a host: the least is the best."""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """The target of one server, or why it has none."""

    host_id: str = ""
    why: str = ""
    """Without a target: the reason of the nearest host. With one: what it risks."""
    lever: Skips | None = None
    """Without a target: the checks that would have to be skipped for one; None if that is no
    way."""


class Placing:
    """Hands out room, once."""

    def __init__(
        self,
        states: Mapping[str, HostState],
        alike: Alike,
        *,
        left_out: Mapping[str, str],
        late: Collection[str],
        spare: Spare | None,
    ) -> None:
        """Begin.

        Args:
            states: every host that may be a target, by id and in the order of names.
            alike: verdicts on the same hosts.
            left_out: host_id → why it is no target, of hosts that are emptied.
            late: ids of hosts that may be lost soon: taken only where there is no other one.
            spare: asked for each server that will run, unless nobody wants that.
        """
        self._states = dict(states)
        self._alike = alike
        self._left_out = left_out
        self._late = late
        self._spare = spare
        self._versions = dict.fromkeys(states, 0)
        self._queues: dict[tuple[object, ...], list[_Ranked]] = {}
        self._ranks: dict[tuple[object, ...], list[_Ranked]] = {}
        self._weights: dict[str, tuple[int, float]] = {}
        """host_id → version, and what it weighs whichever server it is."""

    def give(self, lines: Iterable[Line]) -> dict[str, Placed]:
        """Give every server that leaves a target, or say why there is none; by server id."""
        leaving = [(line, line.move) for line in lines if line.move is not None]
        turns = sorted(leaving, key=lambda each: self._turn(*each))
        return {line.record.server_id: self._placed(line, move) for line, move in turns}

    def _turn(self, line: Line, move: Move) -> tuple[bool, int, int, int, str, str]:
        """Pinned ones first, then those that the fewest hosts take, then the largest."""
        hosts = sum(len(one.host_ids) for one in self._alike.verdicts(move) if not one.refused)
        disks = sum(pool_needs(move.server.disks, move.kind).values())
        record = line.record
        pinned = bool(line.wish.target_host_id)
        return not pinned, hosts, -line.size_bytes, -disks, record.name, record.server_id

    def _placed(self, line: Line, move: Move) -> Placed:
        wanted = line.only_target_id or line.wish.target_host_id
        if wanted:
            return self._on(line, move, wanted)
        if not self._states:
            return Placed(why="there is no other host")
        if why := bound(move, next(iter(self._states.values()))):
            return Placed(why=why)
        verdicts = self._alike.verdicts(move)
        fitting = [one for one in verdicts if not one.refused]
        if line.avoid:
            listed = [one for one in self._ranking(move, fitting) if one[4] not in line.avoid]
            heapq.heapify(listed)
            found, _ = self._first(line, move, listed)
            if found is not None:
                return found
        found, unspared = self._first(line, move, self._queue(move, fitting, line.size_bytes))
        if found is not None or unspared:
            return found or Placed(why=unspared)
        return Placed(why=self._nearest(move, verdicts), lever=self._lever(move, verdicts))

    def _first(self, line: Line, move: Move, queue: list[_Ranked]) -> tuple[Placed | None, str]:
        """Take the best host of a heap that has room, or say of one that only lacks a spare."""
        unspared = ""
        while queue:
            _, _, _, version, host_id, risk_weight = queue[0]
            host = self._states[host_id]
            if version != self._versions[host_id]:
                heapq.heapreplace(queue, self._ranked(move, host, risk_weight))
            elif not has_room(move, host):
                heapq.heappop(queue)
            elif refusal := self._take(line, host_id):
                unspared = unspared or f"{host.facts.name} takes it only without a spare: {refusal}"
                heapq.heappop(queue)
            else:
                return self._risking(move, host), ""
        return None, unspared

    def _on(self, line: Line, move: Move, host_id: str) -> Placed:
        """The only host that will do, or why it does not."""
        host = self._states.get(host_id)
        if host is None:
            why = self._left_out.get(host_id, "the host that it is to go to is not known any more")
            return Placed(why=why)
        judged = self._judged(move, host)
        if not judged.fits:
            refused = [one.filter for one in judged.verdicts if not one.passed]
            return Placed(why="; ".join(judged.reasons), lever=lifting(refused))
        if refusal := self._take(line, host_id):
            return Placed(why=f"{host.facts.name} takes it only without a spare: {refusal}")
        return self._risking(move, host)

    def _take(self, line: Line, host_id: str) -> str:
        """Promise a host's room, unless then not any one host could be spared: say which not."""
        if self._spare is not None and line.size_bytes:
            refusal = self._spare.take(host_id, Guest(line.size_bytes, line.record.name))
            if refusal:
                return refusal
        host = self._states[host_id]
        runs = bool(line.size_bytes)
        self._states[host_id] = taken(host, line.record, line.kind, runs=runs)
        self._versions[host_id] += 1
        return ""

    def _queue(self, move: Move, verdicts: list[Verdict], size_bytes: int) -> list[_Ranked]:
        """The hosts that the filters leave for servers like this one, the best first."""
        needs = frozenset(pool_needs(move.server.disks, move.kind).items())
        hosts = tuple((one.host_ids[0], one.risk_weight) for one in verdicts)
        alike = (hosts, move.server.memory_bytes)
        key = (*alike, move.kind, size_bytes, needs)
        if key not in self._queues:
            if alike not in self._ranks:
                self._ranks[alike] = self._ranking(move, verdicts)
            self._queues[key] = self._ranks[alike].copy()
        return self._queues[key]

    def _ranking(self, move: Move, verdicts: list[Verdict]) -> list[_Ranked]:
        """A heap of these hosts."""
        queue = [
            self._ranked(move, self._states[host_id], one.risk_weight)
            for one in verdicts
            for host_id in one.host_ids
        ]
        heapq.heapify(queue)
        return queue

    def _ranked(self, move: Move, host: HostState, risk_weight: float) -> _Ranked:
        facts = host.facts
        host_id = facts.host_id
        version = self._versions[host_id]
        known = self._weights.get(host_id)
        if known is None or known[0] != version:
            weight = sum(each.weight(move, host) for each in _OF_THE_HOST)
            known = self._weights[host_id] = version, weight
        weight = known[1] + risk_weight
        for weigher in _OF_THE_SERVER:
            weight += weigher.weight(move, host)
        return host_id in self._late, -round(weight, 4), facts.name, version, host_id, risk_weight

    def _risking(self, move: Move, host: HostState) -> Placed:
        risk = "" if move.skips == Skips() else self._judged(move, host).risk
        return Placed(host_id=host.facts.host_id, why=risk)

    def _judged(self, move: Move, host: HostState) -> Candidate:
        return candidate(move, self._alike.with_cpu(move, host))

    def _nearest(self, move: Move, verdicts: tuple[Verdict, ...]) -> str:
        """The reasons of the host that lacks the least: of room where only that is lacking.

        One that would take it, but for its maintenance, is nearer than any other.
        """
        served = [
            self._states[each]
            for one in verdicts
            if one.refused == (InService.name,)
            for each in one.host_ids
            if has_room(move, self._states[each])
        ]
        least = min(len(one.refused) for one in verdicts)
        states = served or [
            self._states[each]
            for one in verdicts
            if len(one.refused) == least
            for each in one.host_ids
        ]
        best = min(states, key=lambda one: (-(one.free_bytes or 0), one.facts.name))
        why = "; ".join(self._judged(move, best).reasons)
        count = len(self._states)
        if count == 1:
            return f"the only other host does not take it: {why}"
        return f"none of {count} hosts takes it, the nearest is {best.facts.name}: {why}"

    def _lever(self, move: Move, verdicts: tuple[Verdict, ...]) -> Skips | None:
        """The fewest checks without which a host that has room takes it."""
        found = [
            skips
            for one in verdicts
            if (skips := lifting(one.refused)) is not None
            and any(has_room(move, self._states[each]) for each in one.host_ids)
        ]
        return min(found, key=lambda one: (one.cpu + one.kernel, one.kernel), default=None)
