"""Of guests and hosts that look alike one is asked about, all kinds at once."""

import asyncio
from typing import Any

from backend.agents import Agents
from backend.evacuations.placing.alike import Alike, cpu_key
from backend.fleet.cpus import Comparisons
from backend.fleet.targets import host_states, move_of
from backend.scheduler.move import Move
from tests.unit.backend.evacuations.planned import Planned
from wire.agent import CpuComparison, CpuQuestion
from wire.errors import ErrorCode, GodwitError


class WaitingAgents(Agents):
    """Answers nobody before so many questions are open; none at all with a limit of 0."""

    def __init__(self, needed: int) -> None:
        self.needed, self.asked, self.enough = needed, 0, asyncio.Event()

    def of(self, *_: str) -> Any:
        return self

    async def compare_cpu(self, _: CpuQuestion) -> CpuComparison:
        self.asked += 1
        if not self.needed:
            raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")
        if self.asked == self.needed:
            self.enough.set()
        await self.enough.wait()
        return CpuComparison(compatible=True)


def two_guests(hosts: int) -> tuple[Alike, list[Move]]:
    town = Planned(hosts=hosts)
    moves = []
    for name in ("Xeon", "Epyc"):
        record = town.server(name, cpu_xml=f"<cpu><model>{name}</model></cpu>")
        move = move_of(town.fleet, record)
        assert move is not None
        moves.append(move)
    return Alike(host_states(town.fleet)[1:]), moves


async def test_all_kinds_of_guests_are_asked_about_at_once():
    agents = WaitingAgents(needed=2)
    alike, moves = two_guests(hosts=2)
    await alike.ask(Comparisons(agents), moves)
    for move in moves:
        answers = [answer for key, answer in alike._answers.items() if key[0] == cpu_key(move)]
        assert [answer.cpu for answer in answers] == [CpuComparison(compatible=True)]


async def test_of_hosts_that_are_alike_and_silent_only_some_are_asked():
    agents = WaitingAgents(needed=0)
    alike, moves = two_guests(hosts=30)
    await alike.ask(Comparisons(agents), moves)
    assert agents.asked == 2 * 4
    assert all(answer.silence == "no answer" for answer in alike._answers.values())
