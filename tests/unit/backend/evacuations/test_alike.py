"""Verdicts that are shared among hosts and servers that look alike are the scheduler's own."""

import asyncio
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.agents import Agents
from backend.evacuations.alike import (
    OF_IDENTITY,
    OF_ROOM,
    OF_THE_SERVER,
    Alike,
    bound,
    cpu_key,
    has_room,
)
from backend.fleet.cpus import Comparisons
from backend.fleet.targets import host_states, move_of
from backend.scheduler.candidates import candidates, filters_of
from backend.scheduler.move import HostState, Move, Skips
from tests.unit.backend.evacuations.planned import GIB, Planned, disk, pool
from wire.agent import CpuComparison, CpuQuestion
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostMeters, HostPolicy, HostStatus, PowerState, ServerFacts, ServerStatus

_HOST = Planned(hosts=1).fleet.facts["host-1"]

facts = st.builds(
    lambda number, **changes: msgspec.structs.replace(
        _HOST, host_id=f"host-{number}", name=f"kvm-{number:02}", **changes
    ),
    st.integers(2, 40),
    hypervisor=st.sampled_from(["kvm", "kvm", "xen"]),
    cpu_model_name=st.sampled_from(["Xeon", "Epyc"]),
    microcode=st.sampled_from(["0x1", "0x2"]),
    kernel=st.sampled_from(["6.1", "6.2"]),
    page_size_bytes=st.sampled_from([4096, 65536]),
    machine_types=st.sampled_from([("pc-i440fx-7.2",), ("pc-q35-7.2",)]),
    virt_types=st.sampled_from([("qemu",), ("kvm", "qemu")]),
    pools=st.sampled_from(
        [(pool("shared"), pool("local")), (pool("shared"),), (pool("local", free_gib=3),)]
    ),
)
states = st.builds(
    HostState,
    facts=facts,
    status=st.sampled_from([HostStatus.ONLINE, HostStatus.ONLINE, HostStatus.OFFLINE]),
    shutting_down=st.booleans(),
    policy=st.sampled_from([HostPolicy(), HostPolicy(), HostPolicy(maintenance=True)]),
    meters=st.sampled_from(
        [None, *(HostMeters(cpu_percent=5.0, memory_used_bytes=used * GIB) for used in (1, 60))]
    ),
)
moves = st.builds(
    Move,
    server=st.builds(
        ServerFacts,
        server_id=st.just("id-web-1"),
        name=st.just("web-1"),
        vcpu_count=st.just(1),
        memory_bytes=st.sampled_from([1 * GIB, 8 * GIB]),
        disks=st.sampled_from([(disk("shared"),), (disk("local", gib=4),), ()]),
        machine=st.sampled_from(["pc-i440fx-7.2", ""]),
        virt_type=st.sampled_from(["qemu", "kvm"]),
        state=st.just(PowerState.RUNNING),
        passthrough=st.sampled_from([(), (), ("PCI device 1",)]),
        snapshot_names=st.sampled_from([(), (), ("before",)]),
    ),
    status=st.sampled_from([ServerStatus.RUNNING, ServerStatus.READY, ServerStatus.UNKNOWN]),
    source=st.just(_HOST),
    kind=st.sampled_from(["live", "cold", "rescue"]),
    auto_start=st.booleans(),
    skips=st.builds(Skips, cpu=st.booleans(), kernel=st.booleans()),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(states, min_size=1, max_size=12, unique_by=lambda one: one.facts.host_id), moves)
def test_shared_verdicts_fit_the_hosts_that_the_scheduler_lets_through(hosts, move):
    by_id = {one.facts.host_id: one for one in hosts}
    alike = Alike(hosts)
    fitting = {
        host_id
        for verdict in alike.verdicts(move)
        if not verdict.refused
        for host_id in verdict.host_ids
        if has_room(move, by_id[host_id]) and not bound(move, by_id[host_id])
    }
    judged = candidates(move, hosts)
    assert fitting == {one.host_id for one in judged if one.fits}
    listed = [host_id for verdict in alike.verdicts(move) for host_id in verdict.host_ids]
    assert sorted(listed) == sorted(by_id)


def test_every_filter_is_of_the_server_of_room_of_identity_or_judged_by_kind():
    by_kind = {
        "online",
        "maintenance",
        "shutdown",
        "hypervisor",
        "cpu_architecture",
        "cpu_model",
        "microcode",
        "cpu_features",
        "kernel",
        "page_size",
        "virt_type",
        "machine_type",
        "shared_pools",
    }
    names = {rule.name for kind in ("live", "cold", "rescue") for rule in filters_of(kind)}
    assert names == by_kind | OF_THE_SERVER | OF_ROOM | OF_IDENTITY


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
