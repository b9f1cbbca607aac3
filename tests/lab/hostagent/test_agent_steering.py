"""What steers a migration under way: its cap, its downtime limit, and changes of both."""

import signal

import pytest

from lab.server import Workload
from lab.state import LinkLimit
from wire.agent import Job, ParametersCommand
from wire.errors import ErrorCode, GodwitError
from wire.migration import MigrationParameters

pytestmark = pytest.mark.lab

MIB = 1 << 20
RESTLESS = Workload(working_set_mb=64, dirty_mb_per_s=60)


@pytest.fixture
def speed_of(monitor):
    """What a guest's QEMU lets memory take, in bytes per second."""
    return lambda host, server: monitor(host, server, "query-migrate-parameters")["max-bandwidth"]


@pytest.fixture
def disk_speeds(monitor):
    """What QEMU on kvm-01 lets the copies of a guest's disks take, in bytes per second."""

    def ask(server: str) -> list[int]:
        return [job["speed"] for job in monitor("kvm-01", server, "query-block-jobs")]

    return ask


def migrate(caller, command) -> Job:
    return caller.post("/v1/migrations", command, Job)


def change(caller, order, **parameters: int) -> Job:
    wanted = ParametersCommand(
        server_id=order["server_id"],
        generation=order["generation"],
        parameters=MigrationParameters(**parameters),
    )
    return caller.post(f"/v1/migrations/{order['migration_id']}/parameters", wanted, Job)


def test_quickly_finish_raises_the_limit_to_what_a_pass_needs(
    lab, agents, new_server, alive, command, ended, runs_once
):
    spec, server_id = new_server(memory_mb=96, workload=RESTLESS)
    before = alive("kvm-01", spec.name, beats=1)
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=400_000_000))
    source = agents("kvm-01")
    order = command(server_id, "kvm-02", quickly_finish=True, downtime_bound_ms=4_000)
    migrate(source, order)
    detail = ended(source, order["migration_id"])
    assert detail.job.error == ""
    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    limits = [sample.downtime_limit_ms for sample in detail.samples]
    assert limits == sorted(limits)
    assert limits[0] == 300
    assert 300 < limits[-1] <= 4_000
    raised = [note.text for note in detail.job.notes]
    assert raised
    assert raised[0].startswith("downtime limit raised from 300 to ")
    assert raised[-1].endswith(f" to {limits[-1]} ms")
    # three whole passes come first
    first = next(sample for sample in detail.samples if sample.downtime_limit_ms > 300)
    assert first.pass_number >= 4
    after = alive("kvm-02", spec.name, beats=before.beats + 1)
    assert (after.boots, after.memory_faults) == (1, 0)


def test_quickly_finish_waits_where_the_bound_does_not_do(
    lab, agents, new_server, alive, command, until, ended
):
    spec, server_id = new_server(memory_mb=96, workload=RESTLESS)
    alive("kvm-01", spec.name, beats=1)
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=400_000_000))
    source = agents("kvm-01")
    order = command(server_id, "kvm-02", quickly_finish=True, downtime_bound_ms=400)
    migrate(source, order)
    migration_id = order["migration_id"]
    until(lambda: len(source.detail(migration_id).job.passes) >= 6, "six passes")
    assert source.detail(migration_id).job.notes == ()
    # a person's own limit is the new base, above the bound or not
    change(source, order, downtime_limit_ms=3_000)
    detail = ended(source, migration_id)
    assert detail.job.error == ""
    assert detail.samples[-1].downtime_limit_ms == 3_000
    with pytest.raises(GodwitError, match="has ended") as refused:
        change(source, order, downtime_limit_ms=300)
    assert refused.value.code is ErrorCode.CONFLICT


def test_one_cap_holds_for_disks_and_memory_together(
    lab,
    agents,
    new_server,
    alive,
    command,
    ended,
    filled,
    room,
    runs_once,
    sent_bytes,
    copying,
    disk_speeds,
    until,
    speed_of,
):
    spec, server_id = new_server(
        memory_mb=96, storage="mixed", workload=Workload(working_set_mb=32, dirty_mb_per_s=2)
    )
    alive("kvm-01", spec.name, beats=1)
    filled(spec.name)
    source = agents("kvm-01")
    cap = 8 * MIB
    order = command(server_id, "kvm-02", disks=(room(spec.name),), max_bandwidth_bytes_per_s=cap)
    with sent_bytes("kvm-01") as sent:
        migrate(source, order)
        # disks get nearly all while memory has to wait
        until(lambda: [cap * 3 // 4] < disk_speeds(spec.name) < [cap], "the disk has its share")
        copying(source, order["migration_id"])
        allowed = [speed_of("kvm-01", spec.name), *disk_speeds(spec.name)]
        detail = ended(source, order["migration_id"])
    assert len(allowed) == 2
    assert 0 < sum(allowed) <= cap
    assert detail.job.error == ""
    runs_once(server_id, on="kvm-02", not_on="kvm-01")
    # QEMU begins to copy a disk with a burst of 16 MiB, and TCP adds its headers
    assert sent.total >= 28 * MIB
    assert sent.total <= 1.1 * (cap * sent.seconds + 16 * MIB)
    memory = [sample for sample in detail.samples if sample.pass_number > 0]
    assert max(sample.bandwidth_bytes_per_s for sample in memory) < cap


def test_a_cap_changed_on_the_way_holds_after_the_agent_was_killed(
    lab, agents, new_server, alive, command, copying, ended, until, speed_of
):
    spec, server_id = new_server(
        memory_mb=128, workload=Workload(working_set_mb=64, dirty_mb_per_s=60)
    )
    alive("kvm-01", spec.name, beats=1)
    source = agents("kvm-01")
    order = command(server_id, "kvm-02", max_bandwidth_bytes_per_s=4 * MIB)
    migrate(source, order)
    migration_id = order["migration_id"]
    copying(source, migration_id)
    assert speed_of("kvm-01", spec.name) == 4 * MIB
    change(source, order, max_bandwidth_bytes_per_s=8 * MIB, downtime_limit_ms=700)
    until(lambda: speed_of("kvm-01", spec.name) == 8 * MIB, "the new cap holds")
    assert lab.virsh("kvm-01", f"migrate-getmaxdowntime {spec.name}").strip() == "700"
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)
    source = agents("kvm-01")
    until(lambda: source.detail(migration_id).samples, "sampling goes on")
    assert {each.downtime_limit_ms for each in source.detail(migration_id).samples} == {700}
    assert speed_of("kvm-01", spec.name) == 8 * MIB
    change(source, order, max_bandwidth_bytes_per_s=400 * MIB, downtime_limit_ms=2_000)
    detail = ended(source, migration_id)
    assert detail.job.error == ""
    assert detail.samples[-1].downtime_limit_ms == 2_000
