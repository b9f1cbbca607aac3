"""Hosts and servers that look alike to the filters share one verdict.

A plan for a rack asks some hundred servers times a thousand hosts times twenty filters. Most of
that is the same question: only memory, local pools and weights differ from host to host, and only
they change while targets are given.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from backend.fleet.cpus import Comparisons
from backend.scheduler.candidates import filters_of, lifted
from backend.scheduler.move import Filter, HostState, Move
from backend.scheduler.weighers import risk_weight
from wire.agent import CpuComparison

OF_THE_SERVER = frozenset({"status", "devices", "media", "snapshots", "disks", "shared_disks"})
"""Filters that look at the server alone: they refuse every host or none."""
OF_ROOM = frozenset({"memory", "local_pools"})
"""Filters whose verdict changes with each placement."""
OF_IDENTITY = frozenset({"not_source"})
"""Held by leaving out the hosts that are emptied."""

_ASKED = 4
"""So many hosts that are alike are asked in turn before their kind counts as silent."""

_Key = tuple[object, ...]


class CpuAnswer(msgspec.Struct, frozen=True):
    """What libvirt says of a kind of guest on a kind of host: its answer, or why there is none."""

    cpu: CpuComparison | None
    silence: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What the filters say of one kind of server on one kind of host, room left out."""

    host_ids: tuple[str, ...]
    """The hosts of this kind."""
    refused: tuple[str, ...]
    """Names of the filters that refuse."""
    risk_weight: float
    """Of the checks that were lifted, as the scheduler weighs it."""


class Alike:
    """The hosts that may be targets at all, by kind, and what was found of kinds of servers."""

    def __init__(self, hosts: Iterable[HostState]) -> None:
        """Group them; their order stays within each kind."""
        self._kinds: dict[_Key, list[HostState]] = {}
        for host in hosts:
            self._kinds.setdefault(_host_key(host), []).append(host)
        self._answers: dict[tuple[_Key, _Key], CpuAnswer] = {}
        self._verdicts: dict[_Key, tuple[Verdict, ...]] = {}

    async def ask(self, comparisons: Comparisons, moves: Iterable[Move]) -> None:
        """Ask libvirt on one host of each kind about one guest of each kind, unless it is known.

        Where the first host of a kind is silent, some that are alike are asked instead. All kinds
        are asked at once, so that it takes no longer than one of them.
        """
        guests = {cpu_key(move): move for move in moves}
        await asyncio.gather(
            *(self._ask(comparisons, guest, move) for guest, move in guests.items() if guest)
        )

    async def _ask(self, comparisons: Comparisons, guest: _Key, move: Move) -> None:
        firsts = [alike[0] for alike in self._kinds.values()]
        answered = await comparisons.asked_states(move, firsts)
        silent = [
            (host_key, alike)
            for (host_key, alike), first in zip(self._kinds.items(), answered, strict=True)
            if first.cpu_silence and alike[1:]
        ]
        others = await asyncio.gather(
            *(comparisons.asked_states(move, alike[1:_ASKED]) for _, alike in silent)
        )
        told = dict(zip(self._kinds, answered, strict=True))
        told |= {host_key: each[0] for (host_key, _), each in zip(silent, others, strict=True)}
        for host_key, first in told.items():
            self._answers[guest, host_key] = CpuAnswer(first.cpu, first.cpu_silence)

    def verdicts(self, move: Move) -> tuple[Verdict, ...]:
        """What the filters say of each kind of host."""
        key = _guest_key(move)
        if key not in self._verdicts:
            self._verdicts[key] = tuple(
                _verdict(move, self.with_cpu(move, alike[0], host_key), alike)
                for host_key, alike in self._kinds.items()
            )
        return self._verdicts[key]

    def with_cpu(self, move: Move, host: HostState, host_key: _Key | None = None) -> HostState:
        """A host with what libvirt there says of this guest's CPU."""
        key = cpu_key(move)
        answer = self._answers.get((key, host_key or _host_key(host))) if key else None
        if answer is None:
            return host
        return msgspec.structs.replace(host, cpu=answer.cpu, cpu_silence=answer.silence)


def bound(move: Move, host: HostState) -> str:
    """Say why a server can go to no host at all, whichever it is; empty if it can."""
    reasons = (rule.refusal(move, host) for rule in _rules(move, OF_THE_SERVER))
    return "; ".join(one for one in reasons if one)


def has_room(move: Move, host: HostState) -> bool:
    """Whether memory and local pools of a host take a server now."""
    return not any(rule.refusal(move, host) for rule in _rules(move, OF_ROOM))


def cpu_key(move: Move) -> _Key:
    """All of a guest that libvirt compares; empty for one that nobody has to be asked about."""
    server = move.server
    if move.kind == "cold" or not server.cpu_xml:
        return ()
    return (server.cpu_xml, server.architecture, server.machine, server.virt_type)


def _rules(move: Move, names: frozenset[str]) -> list[Filter]:
    return [rule for rule in filters_of(move.kind) if rule.name in names]


def _verdict(move: Move, host: HostState, alike: list[HostState]) -> Verdict:
    others = OF_THE_SERVER | OF_ROOM | OF_IDENTITY
    against = [
        rule
        for rule in filters_of(move.kind)
        if rule.name not in others and rule.refusal(move, host)
    ]
    skipped = [rule.name for rule in against if lifted(rule, move.skips)]
    return Verdict(
        host_ids=tuple(one.facts.host_id for one in alike),
        refused=tuple(rule.name for rule in against if rule.name not in skipped),
        risk_weight=risk_weight(host, skipped),
    )


def _guest_key(move: Move) -> _Key:
    """All that those filters look at that ask neither for room nor for the server alone."""
    source, server = move.source, move.server
    return (
        move.kind,
        move.skips.cpu,
        move.skips.kernel,
        source.hypervisor,
        source.cpu_architecture,
        source.cpu_model_name,
        source.microcode,
        source.kernel,
        source.page_size_bytes,
        server.virt_type,
        server.machine,
        server.cpu_xml,
        server.architecture,
        frozenset(disk.pool_id for disk in server.disks if disk.source and disk.shared),
    )


def _host_key(host: HostState) -> _Key:
    """All of a host that the same filters look at, and that libvirt's answer depends on."""
    facts = host.facts
    return (
        host.status,
        host.policy.maintenance,
        host.shutting_down,
        facts.hypervisor,
        facts.cpu_architecture,
        facts.cpu_model_name,
        facts.microcode,
        facts.kernel,
        facts.page_size_bytes,
        facts.virt_types,
        facts.machine_types,
        facts.guest_cpus,
        facts.qemu_version,
        facts.libvirt_version,
        frozenset(pool.pool_id for pool in facts.pools if pool.shared),
    )
