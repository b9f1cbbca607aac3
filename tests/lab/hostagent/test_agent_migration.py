"""One live migration through an agent: its curve, its passes, its end, and what stops it."""

import itertools
import signal

import pytest

from lab.server import Workload
from lab.state import LinkLimit
from wire.agent import GuestTruth, Job, JobCommand, JobSample, JobState, ServerCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import OwnerPhase, PowerState

pytestmark = pytest.mark.lab

SLOW_LINK = LinkLimit(rate_bits_per_s=200_000_000)
BUSY = Workload(working_set_mb=48, dirty_mb_per_s=10)
RESTLESS = Workload(working_set_mb=96, dirty_mb_per_s=60)
"""Dirties more than the slow link carries: the migration lasts until something stops it."""


def migrate(caller, command) -> Job:
    return caller.post("/v1/migrations", command, Job)


def test_a_busy_guest_moves_with_a_true_curve(
    lab, agents, new_server, alive, command, listen, ended, runs_once
):
    spec, server_id = new_server(memory_mb=128, workload=BUSY)
    before = alive("kvm-01", spec.name, beats=2)
    lab.limit_link("kvm-01", SLOW_LINK)
    source = agents("kvm-01")
    listener = listen(source)
    order = command(server_id, "kvm-02", downtime_limit_ms=450)
    begun = migrate(source, order)
    assert (begun.state, begun.server_id) == (JobState.STARTING, server_id)
    limit_ms = lab.virsh("kvm-01", f"migrate-getmaxdowntime {spec.name}").strip()
    detail = ended(source, order["migration_id"])

    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    after = alive("kvm-02", spec.name, beats=before.beats + 1)
    assert (after.boots, after.memory_faults, after.disk_splits) == (1, 0, 0)
    assert lab.memory_losses("kvm-02", spec.name) == []
    assert limit_ms == "450"
    assert detail.job.error == ""
    check_curve(detail, limit_ms=450)
    told = [event.sample for event in listener.of(JobSample) if event.server_id == server_id]
    assert told == list(detail.samples)
    states = [job.state for job in listener.of(Job) if job.server_id == server_id]
    assert [state for state, _ in itertools.groupby(states)] == [
        state for state in JobState if state is not JobState.COPYING_DISKS
    ]
    completed = agents("kvm-02").truth(server_id).completed
    assert completed is not None
    assert completed.downtime_ms == detail.job.statistics.downtime_ms


def check_curve(detail, *, limit_ms: int) -> None:
    samples, passes, statistics = detail.samples, detail.job.passes, detail.job.statistics
    assert len(samples) >= 4
    for one, other in itertools.pairwise(samples):
        assert one.elapsed_ms <= other.elapsed_ms
        assert one.pass_number <= other.pass_number
        assert one.memory_processed_bytes <= other.memory_processed_bytes
    assert {sample.downtime_limit_ms for sample in samples} == {limit_ms}
    assert any(sample.dirty_bytes_per_s > 1_000_000 for sample in samples)
    assert [each.number for each in passes] == list(range(1, len(passes) + 1))
    assert passes[0].remaining_at_start_bytes == samples[0].memory_total_bytes
    for one, other in itertools.pairwise(passes):
        assert one.started_ms + one.duration_ms == pytest.approx(other.started_ms, abs=2)
    assert statistics.pass_count == len(passes) >= 2
    sent = sum(each.transferred_bytes for each in passes)
    assert sent == pytest.approx(statistics.memory_transferred_bytes, rel=0.01)
    assert statistics.downtime_ms > 0
    # the guest stood still in the last pass
    assert passes[-1].duration_ms == pytest.approx(statistics.downtime_ms, rel=0.5)


def test_cancelled_while_it_copies(
    lab, agents, new_server, alive, command, copying, ended, runs_once, hold
):
    spec, server_id = new_server(memory_mb=160, workload=RESTLESS)
    alive("kvm-01", spec.name, beats=1)
    lab.limit_link("kvm-01", SLOW_LINK)
    source = agents("kvm-01")
    order = command(server_id, "kvm-02")
    migrate(source, order)
    copying(source, order["migration_id"])
    incoming = agents("kvm-02").truth(server_id)
    assert (incoming.state, incoming.incoming) == (PowerState.PAUSED, True)
    resume = ServerCommand(generation=order["generation"])
    target = agents("kvm-02")
    with pytest.raises(GodwitError, match="belongs to the host") as refused:
        target.post(f"/v1/servers/{server_id}/resume", resume, GuestTruth)
    assert refused.value.code is ErrorCode.CONFLICT

    stop = JobCommand(server_id=server_id, generation=order["generation"])
    answered = source.post(f"/v1/migrations/{order['migration_id']}/cancel", stop, Job)
    assert answered.cancel_requested
    detail = ended(source, order["migration_id"])
    assert detail.job.error
    assert detail.job.statistics.downtime_ms is None
    assert detail.job.statistics.memory_transferred_bytes > 0
    runs_once(server_id, on="kvm-01", not_on="kvm-02")
    hold(server_id, phase=OwnerPhase.SETTLED, target_host_id="", migration_id="")
    assert lab.memory_losses("kvm-01", spec.name) == []


def test_cancelled_before_libvirt_has_the_job(
    lab, agents, new_server, alive, command, ended, runs_once
):
    spec, server_id = new_server(memory_mb=160, workload=RESTLESS)
    alive("kvm-01", spec.name, beats=1)
    lab.limit_link("kvm-01", SLOW_LINK)
    source = agents("kvm-01")
    order = command(server_id, "kvm-02")
    migrate(source, order)
    stop = JobCommand(server_id=server_id, generation=order["generation"])
    source.post(f"/v1/migrations/{order['migration_id']}/cancel", stop, Job)
    detail = ended(source, order["migration_id"])
    assert detail.job.error
    runs_once(server_id, on="kvm-01", not_on="kvm-02")


def test_agent_killed_takes_its_job_up_again(
    lab, agents, new_server, alive, command, copying, ended, runs_once, until
):
    spec, server_id = new_server(memory_mb=160, workload=RESTLESS)
    before = alive("kvm-01", spec.name, beats=1)
    lab.limit_link("kvm-01", SLOW_LINK)
    source = agents("kvm-01")
    order = command(server_id, "kvm-02")
    migrate(source, order)
    until(lambda: len(copying(source, order["migration_id"]).passes) >= 2, "a second pass")
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)
    source = agents("kvm-01")
    until(lambda: source.detail(order["migration_id"]).samples, "sampling goes on")
    again = source.detail(order["migration_id"]).job
    assert again.state is JobState.COPYING_MEMORY
    assert [each.number for each in again.passes][:2] == [1, 2]
    assert source.truth(server_id).job_active
    lab.limit_link("kvm-01", LinkLimit())
    detail = ended(source, order["migration_id"])
    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    assert detail.job.error == ""
    assert detail.job.statistics.downtime_ms > 0
    numbers = [each.number for each in detail.job.passes]
    assert numbers == sorted(set(numbers))
    after = alive("kvm-02", spec.name, beats=before.beats + 1)
    assert (after.boots, after.memory_faults, after.disk_splits) == (1, 0, 0)


def test_migration_that_ends_while_the_agent_is_away(
    lab, agents, new_server, alive, command, copying, ended, until
):
    spec, server_id = new_server(memory_mb=128, workload=BUSY)
    alive("kvm-01", spec.name, beats=1)
    lab.limit_link("kvm-01", SLOW_LINK)
    source = agents("kvm-01")
    order = command(server_id, "kvm-02")
    migrate(source, order)
    copying(source, order["migration_id"])
    lab.signal_program("kvm-01", "hostagent", signal.SIGSTOP)
    until(
        lambda: agents("kvm-02").truth(server_id).state is PowerState.RUNNING, "it runs on kvm-02"
    )
    until(lambda: spec.name not in lab.virsh("kvm-01", "list --all --name").split(), "it is gone")
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)
    detail = ended(agents("kvm-01"), order["migration_id"])
    assert (detail.job.error, detail.job.statistics) == ("", None)
    assert agents("kvm-02").truth(server_id).completed.downtime_ms > 0


def test_libvirtd_killed_on_the_source_aborts_and_says_so(
    lab, agents, new_server, alive, command, copying, ended, runs_once
):
    spec, server_id = new_server(memory_mb=160, workload=RESTLESS)
    before = alive("kvm-01", spec.name, beats=1)
    lab.limit_link("kvm-01", SLOW_LINK)
    source = agents("kvm-01")
    order = command(server_id, "kvm-02")
    migrate(source, order)
    copying(source, order["migration_id"])
    lab.signal_program("kvm-01", "libvirtd", signal.SIGKILL)
    detail = ended(source, order["migration_id"])
    assert detail.job.error
    runs_once(server_id, on="kvm-01", not_on="kvm-02")
    alive("kvm-01", spec.name, beats=before.beats + 2)


def test_libvirtd_that_froze_goes_on_with_the_job_and_the_agent_with_it(
    lab, agents, new_server, alive, command, copying, ended, runs_once, until
):
    spec, server_id = new_server(memory_mb=160, workload=RESTLESS)
    alive("kvm-01", spec.name, beats=1)
    lab.limit_link("kvm-01", SLOW_LINK)
    source = agents("kvm-01")
    order = command(server_id, "kvm-02")
    migrate(source, order)
    copying(source, order["migration_id"])
    lab.signal_program("kvm-01", "libvirtd", signal.SIGSTOP)
    try:
        until(
            lambda: "does not answer at qemu:" in _refusal(source, server_id),
            "the connection is given up",
        )
    finally:
        lab.signal_program("kvm-01", "libvirtd", signal.SIGCONT)
    assert source.detail(order["migration_id"]).job.state is JobState.COPYING_MEMORY
    count = len(source.detail(order["migration_id"]).samples)
    until(lambda: len(source.detail(order["migration_id"]).samples) > count, "sampling goes on")
    lab.limit_link("kvm-01", LinkLimit())
    detail = ended(source, order["migration_id"])
    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    assert detail.job.error == ""
    assert detail.job.statistics.downtime_ms > 0


def _refusal(caller, server_id: str) -> str:
    try:
        caller.truth(server_id)
    except GodwitError as error:
        return error.message
    return ""


def test_a_paused_guest_is_resumed_and_only_by_its_generation(
    lab, agents, new_server, alive, record_of
):
    spec, server_id = new_server()
    alive("kvm-01", spec.name, beats=1)
    lab.virsh("kvm-01", f"suspend {spec.name}")
    agent = agents("kvm-01")
    generation = record_of(server_id).owner.generation
    with pytest.raises(GodwitError, match="generation 0") as refused:
        agent.post(f"/v1/servers/{server_id}/resume", ServerCommand(generation=0), GuestTruth)
    assert refused.value.code is ErrorCode.STALE_GENERATION
    assert agent.truth(server_id).state is PowerState.PAUSED
    command = ServerCommand(generation=generation)
    truth = agent.post(f"/v1/servers/{server_id}/resume", command, GuestTruth)
    assert truth.state is PowerState.RUNNING
