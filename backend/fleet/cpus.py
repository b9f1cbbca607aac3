"""What libvirt on each host says of a guest's CPU, asked once for all that are alike."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from backend.agents import Agents
from backend.scheduler.move import HostState, Move
from wire.agent import CpuComparison, CpuQuestion
from wire.errors import GodwitError
from wire.fleet import HostFacts, HostStatus

ANSWERS_KEPT = 5_000
"""Answers of so many pairs of host and guest are kept; those not looked at for longest go first."""
_PATIENCE_S = 3.0

_Key = tuple[str | tuple[str, ...], ...]


class Comparisons:
    """Answers of :class:`wire.agent.CpuQuestion`, by what matters of host and guest."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._answers: OrderedDict[_Key, CpuComparison] = OrderedDict()
        self.answered = 0
        """Counts the answers, so that whoever derives something from them sees that there are
        more."""

    def known_states(self, move: Move, hosts: Iterable[HostState]) -> list[HostState]:
        """Fill in what is known already."""
        return [self._filled(move, host, "") for host in hosts]

    async def asked_states(self, move: Move, hosts: Iterable[HostState]) -> list[HostState]:
        """Fill in what every online host says of the guest's CPU, asking all of them at once.

        A host that does not answer gets its reason. Nothing is asked for a guest that has no CPU
        element, or that is stopped.
        """
        states = list(hosts)
        if move.kind == "cold" or not move.server.cpu_xml:
            return states
        unknown: dict[_Key, list[HostFacts]] = {}
        for host in states:
            key = _key(move, host.facts)
            here = host.facts.host_id == move.source.host_id
            if host.status is HostStatus.ONLINE and not here and key not in self._answers:
                unknown.setdefault(key, []).append(host.facts)
        silences: dict[str, str] = {}
        for found in await asyncio.gather(
            *(self._ask_alike(key, move, alike) for key, alike in unknown.items())
        ):
            silences.update(found)
        return [self._filled(move, host, silences.get(host.facts.host_id, "")) for host in states]

    def _filled(self, move: Move, host: HostState, silence: str) -> HostState:
        key = _key(move, host.facts)
        known = self._answers.get(key)
        if known is not None:
            self._answers.move_to_end(key)
            return msgspec.structs.replace(host, cpu=known)
        return msgspec.structs.replace(host, cpu_silence=silence) if silence else host

    async def _ask_alike(self, key: _Key, move: Move, alike: list[HostFacts]) -> dict[str, str]:
        """Ask hosts that are alike until one answers; the reasons of those that did not."""
        question = CpuQuestion(
            cpu_xml=move.server.cpu_xml,
            architecture=move.server.architecture or move.source.cpu_architecture,
            machine=move.server.machine,
            virt_type=move.server.virt_type,
        )
        silences = {}
        for facts in alike:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    agent = self._agents.of(facts.host_id, facts.name)
                    answer = await agent.compare_cpu(question)
            except TimeoutError:
                silences[facts.host_id] = f"its agent took longer than {_PATIENCE_S:g} s"
            except GodwitError as error:
                silences[facts.host_id] = error.message
            else:
                self._put(key, answer)
                return {}
        return silences

    def _put(self, key: _Key, answer: CpuComparison) -> None:
        self._answers[key] = answer
        self.answered += 1
        while len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)


def _key(move: Move, facts: HostFacts) -> _Key:
    """All that decides the answer: libvirt's idea of the host's CPU, its QEMU, and the guest."""
    server = move.server
    return (
        facts.cpu_architecture,
        facts.cpu_model_name,
        facts.microcode,
        facts.guest_cpus,
        facts.kernel,
        facts.qemu_version,
        facts.libvirt_version,
        server.cpu_xml,
        server.architecture,
        server.machine,
        server.virt_type,
    )
