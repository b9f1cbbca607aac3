"""Which target is chosen, what libvirt is asked, and what is said when there is no target."""

import asyncio

import msgspec
import pytest

from backend.agents import Agents
from backend.fleet.cpus import Comparisons
from backend.fleet.targets import Targets
from backend.migrations.choice import all_candidates, pick
from wire.agent import CpuComparison, CpuQuestion
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostPolicy
from wire.migration import MigrationOptions


class AskedAgents(Agents):
    """Answers questions about CPUs by host id, and counts them."""

    def __init__(self, **answers: CpuComparison | GodwitError) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def of(self, host_id: str, *_: object):
        return AskedAgent(self, host_id)


class AskedAgent:
    def __init__(self, agents: AskedAgents, host_id: str) -> None:
        self.agents, self.host_id = agents, host_id

    async def compare_cpu(self, _: CpuQuestion) -> CpuComparison:
        self.agents.asked.append(self.host_id)
        await asyncio.sleep(0)
        answer = self.agents.answers.get(self.host_id, CpuComparison(compatible=True))
        if isinstance(answer, GodwitError):
            raise answer
        return answer


async def judged(two, agents: Agents | None = None, **options: object):
    record = two.fleet.records[two.server.server_id]
    comparisons = Comparisons(agents or AskedAgents())
    return await all_candidates(two.fleet, comparisons, record, "live", MigrationOptions(**options))


async def refusal(two, prefer_host_id: str = "") -> GodwitError:
    found = await judged(two)
    with pytest.raises(GodwitError) as caught:
        pick("web-1", found, prefer_host_id)
    assert caught.value.code is ErrorCode.NO_TARGET
    assert {one.host_name for one in caught.value.candidates} >= {"kvm-01", "kvm-02"}
    return caught.value


async def test_the_best_fitting_host_is_chosen(two, make_host):
    emptier = make_host(3, memory_total_bytes=64 << 30)
    two.add_host(emptier)
    two.report(emptier)
    assert pick("web-1", await judged(two), "").host_name == "kvm-03"


async def test_a_preferred_host_is_a_pin(two, make_host):
    emptier = make_host(3, memory_total_bytes=64 << 30)
    two.add_host(emptier)
    two.report(emptier)
    assert pick("web-1", await judged(two), "host-2").host_name == "kvm-02"


async def test_a_preferred_host_that_is_refused_says_why(two, make_host):
    other = make_host(3, microcode="0x428", kernel="6.2")
    two.add_host(other)
    two.report(other)
    sentence = (await refusal(two, "host-3")).message
    assert sentence.startswith("web-1 cannot go to kvm-03: ")
    assert "0x428" in sentence
    assert "6.2" in sentence


async def test_the_source_as_preferred_host_is_refused(two):
    sentence = (await refusal(two, "host-1")).message
    assert sentence.startswith("web-1 is on kvm-01 already; name another host")


async def test_no_target_tells_each_hosts_first_reason(two, make_host):
    other = make_host(3, microcode="0x428")
    two.add_host(other)
    two.report(other)
    two.fleet.put_policy("host-2", HostPolicy(maintenance=True))
    sentence = (await refusal(two)).message
    assert "kvm-02 is in maintenance" in sentence
    assert "0x428 on kvm-03" in sentence
    assert "kvm-01 is where" not in sentence


async def test_a_fleet_of_one_host_has_nowhere_to_go(two):
    two.fleet.put_facts("host-2", None)
    with pytest.raises(GodwitError, match="there is no other host"):
        pick("web-1", await judged(two), "")


async def test_a_server_that_nobody_reports_cannot_be_judged(two):
    two.fleet.drop_report("host-1", two.server.server_id)
    with pytest.raises(GodwitError, match="kvm-01 does not say now how web-1 stands"):
        await judged(two)


def with_cpu(two):
    two.server = msgspec.structs.replace(two.server, cpu_xml="<cpu><model>X</model></cpu>")
    two.report(two.hosts[0], two.server)


def verdict_on(found, host: str):
    (candidate,) = [one for one in found if one.host_name == host]
    return next(one for one in candidate.verdicts if one.filter == "cpu_features")


async def test_each_other_host_is_asked_once_and_equal_ones_share_the_answer(two, make_host):
    with_cpu(two)
    third, fourth = make_host(3), make_host(4, guest_cpus=("kvm:other",))
    for host in (third, fourth):
        two.add_host(host)
        two.report(host)
    agents = AskedAgents()
    comparisons = Comparisons(agents)
    record = two.fleet.records[two.server.server_id]
    for _ in range(2):
        await all_candidates(two.fleet, comparisons, record, "live", MigrationOptions())
    assert sorted(agents.asked) == ["host-2", "host-4"]


async def test_a_host_without_the_features_is_refused_and_says_which(two):
    with_cpu(two)
    lacking = CpuComparison(compatible=False, missing_features=("avx2",))
    found = verdict_on(await judged(two, AskedAgents(**{"host-2": lacking})), "kvm-02")
    assert not found.passed
    assert (found.found, "avx2" in found.reason) == ("not avx2", True)


async def test_a_host_that_does_not_answer_has_its_reason_and_is_asked_again(two):
    with_cpu(two)
    silent = GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer from there")
    agents = AskedAgents(**{"host-2": silent})
    found = verdict_on(await judged(two, agents), "kvm-02")
    assert (found.passed, "no answer from there" in found.reason) == (False, True)
    agents.answers.clear()
    assert verdict_on(await judged(two, agents), "kvm-02").passed


async def test_of_equal_hosts_the_next_is_asked_when_one_is_silent(two, make_host):
    with_cpu(two)
    two.add_host(make_host(3))
    two.report(make_host(3))
    silent = GodwitError(ErrorCode.AGENT_UNREACHABLE, "no answer")
    found = await judged(two, AskedAgents(**{"host-2": silent}))
    assert verdict_on(found, "kvm-02").passed
    assert verdict_on(found, "kvm-03").passed


async def test_nobody_is_asked_about_a_guest_without_a_cpu_element(two):
    agents = AskedAgents()
    await judged(two, agents)
    assert agents.asked == []


async def test_lists_of_targets_use_what_is_known_and_follow_what_is_learned(two):
    with_cpu(two)
    lacking = CpuComparison(compatible=False, missing_features=("avx2",))
    agents = AskedAgents(**{"host-2": lacking})
    comparisons = Comparisons(agents)
    targets = Targets(comparisons)
    record = two.fleet.records[two.server.server_id]
    targets.refresh(two.fleet, placement_changed=True)
    assert targets.names(two.fleet, record) == ("kvm-02",)
    assert agents.asked == []
    await all_candidates(two.fleet, comparisons, record, "live", MigrationOptions())
    assert targets.refresh(two.fleet, placement_changed=False)
    assert targets.names(two.fleet, record) == ()


async def test_the_chosen_candidate_tells_the_risk_of_a_skipped_check(two, make_host):
    with_cpu(two)
    two.add_host(make_host(3, microcode="0x1"))
    two.report(make_host(3, microcode="0x1"))
    found = await judged(two, AskedAgents(), skip_cpu_check=True)
    chosen = pick("web-1", found, "host-3")
    assert "the move is safe although the microcode differs" in chosen.safe
