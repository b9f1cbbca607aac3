"""A guest that never gets done by pre-copy runs on by post-copy, and is recovered after a cut."""

import signal
import time

import pytest

from lab.server import Workload
from lab.state import LinkLimit
from wire.agent import GuestTruth, Job, JobCommand, JobState, ParametersCommand, ServerCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState
from wire.migration import MigrationParameters, PostcopyState

pytestmark = pytest.mark.lab

RESTLESS = Workload(working_set_mb=64, dirty_mb_per_s=60)


def order_of(command) -> JobCommand:
    return JobCommand(server_id=command["server_id"], generation=command["generation"])


def ask(caller, command, act: str) -> Job:
    return caller.post(f"/v1/migrations/{command['migration_id']}/{act}", order_of(command), Job)


@pytest.fixture
def restless(lab, new_server, alive, command, agents, copying, room):
    """A guest on its way by pre-copy over a slow link; its name and its command."""

    def begin(*, postcopy: bool = True, storage: str = "shared", **options: object):
        spec, server_id = new_server(memory_mb=96, workload=RESTLESS, storage=storage)
        alive("kvm-01", spec.name, beats=1)
        lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=40_000_000))
        disks = () if storage == "shared" else (room(spec.name),)
        order = command(server_id, "kvm-02", postcopy=postcopy, disks=disks, **options)
        agents("kvm-01").post("/v1/migrations", order, Job)
        copying(agents("kvm-01"), order["migration_id"])
        return spec.name, order

    return begin


@pytest.fixture
def in_postcopy(until, agents):
    """Switch a job to post-copy, and wait until it has."""

    def switch(order) -> None:
        source = agents("kvm-01")
        ask(source, order, "postcopy")
        until(
            lambda: source.detail(order["migration_id"]).job.postcopy is PostcopyState.ACTIVE,
            "it is in post-copy",
        )

        # the source stands still a little before the target has all that it needs to begin
        target = agents("kvm-02")
        until(
            lambda: target.truth(order["server_id"]).state is PowerState.RUNNING,
            "it runs on kvm-02",
        )

    return switch


def test_a_guest_runs_on_by_post_copy(lab, agents, restless, in_postcopy, ended, runs_once, alive):
    name, order = restless(storage="mixed")
    server_id, source, target = order["server_id"], agents("kvm-01"), agents("kvm-02")
    in_postcopy(order)
    ask(source, order, "postcopy")
    here, there = source.truth(server_id), target.truth(server_id)
    assert (here.state, here.state_detail, here.job_active) == (
        PowerState.PAUSED,
        "post-copy",
        True,
    )
    assert (there.state, there.state_detail, there.job_active, there.incoming) == (
        PowerState.RUNNING,
        "post-copy",
        True,
        False,
    )
    for path, body in (
        ("cancel", order_of(order)),
        (
            "parameters",
            ParametersCommand(
                server_id=server_id,
                generation=order["generation"],
                parameters=MigrationParameters(downtime_limit_ms=100),
            ),
        ),
    ):
        with pytest.raises(GodwitError, match="has switched to post-copy") as refused:
            source.post(f"/v1/migrations/{order['migration_id']}/{path}", body, Job)
        assert refused.value.code is ErrorCode.CONFLICT
    resume = ServerCommand(generation=order["generation"])
    with pytest.raises(GodwitError, match="has a migration under way"):
        source.post(f"/v1/servers/{server_id}/resume", resume, GuestTruth)
    assert ask(source, order, "recover").postcopy is PostcopyState.ACTIVE
    lab.limit_link("kvm-01", LinkLimit())
    detail = ended(source, order["migration_id"])
    assert (detail.job.error, detail.job.postcopy) == ("", PostcopyState.ACTIVE)
    assert [note.text for note in detail.job.notes] == ["the guest runs on kvm-02 by post-copy"]
    assert any(sample.postcopy for sample in detail.samples)
    assert detail.job.statistics.downtime_ms > 0
    assert not detail.samples[0].postcopy
    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    report = alive("kvm-02", name, beats=2)
    assert (report.boots, report.memory_faults, report.disk_splits) == (1, 0, 0)


def test_a_migration_that_was_not_made_ready_cannot_switch(agents, restless, ended):
    _, order = restless(postcopy=False)
    source = agents("kvm-01")
    with pytest.raises(GodwitError, match="userfaultfd on both hosts") as refused:
        ask(source, order, "postcopy")
    assert refused.value.code is ErrorCode.CONFLICT
    assert source.detail(order["migration_id"]).job.postcopy is PostcopyState.NOT
    with pytest.raises(GodwitError, match="is not in post-copy"):
        ask(source, order, "recover")
    ask(source, order, "cancel")
    assert ended(source, order["migration_id"]).job.error


def test_a_post_copy_that_was_cut_is_recovered_by_another_agent(
    lab, agents, restless, in_postcopy, until, ended, runs_once, alive
):
    name, order = restless(enable_tls=True)
    server_id, source = order["server_id"], agents("kvm-01")

    def job() -> Job:
        return source.detail(order["migration_id"]).job

    in_postcopy(order)
    lab.partition("kvm-02")
    until(lambda: job().postcopy is PostcopyState.PAUSED, "the cut is seen", within_s=90)
    assert job().state is not JobState.ENDED
    truth = source.truth(server_id)
    assert (truth.state, truth.state_detail, truth.job_active) == (
        PowerState.PAUSED,
        "post-copy failed",
        True,
    )
    assert ask(source, order, "recover").postcopy is PostcopyState.PAUSED
    with pytest.raises(GodwitError, match="has switched to post-copy"):
        ask(source, order, "cancel")
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)
    source = agents("kvm-01")
    assert job().postcopy is PostcopyState.PAUSED
    lab.heal("kvm-02")
    lab.limit_link("kvm-01", LinkLimit())

    def recovered() -> bool:
        time.sleep(0.5)  # both hosts have to know that the link is whole again
        if job().postcopy is PostcopyState.PAUSED:
            ask(source, order, "recover")
        return job().postcopy is PostcopyState.ACTIVE

    until(recovered, "it goes on")
    detail = ended(source, order["migration_id"])
    assert detail.job.error == ""
    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    report = alive("kvm-02", name, beats=2)
    assert (report.boots, report.memory_faults) == (1, 0)
    told = [note.text for note in detail.job.notes]
    assert told[0] == "the guest runs on kvm-02 by post-copy"
    assert told[1].startswith("post-copy broke off: ")
