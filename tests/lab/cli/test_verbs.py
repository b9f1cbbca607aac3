"""The command line on real hosts: what it shows, moves and cancels."""

import signal

import pytest

from lab.server import Workload
from lab.state import LinkLimit
from wire.fleet import HostView
from wire.migration import MigrationDetail, MigrationState

pytestmark = pytest.mark.lab

BUSY = Workload(working_set_mb=64, dirty_mb_per_s=20)
SLOW = LinkLimit(rate_bits_per_s=100_000_000)
"""A busy guest never converges over it, a calm one takes some seconds."""


def test_hosts_and_servers_are_those_of_libvirt(lab, operator, add_known):
    spec = add_known(name="seek-me", memory_mb=96)
    hosts = operator.json(list[HostView], "host-list", "--hypervisor", "kvm")
    assert [host.facts.name for host in hosts] == [host.name for host in lab.state.hosts]
    table = operator.run("host-list").stdout.splitlines()
    assert table[0].split()[:4] == ["ID", "Name", "Access_ip", "enabled"]
    assert table[-1] == f"Total: {len(hosts)}"
    assert all("online" in row for row in table[1:-1])
    heading, row, total = operator.run("server-list", "--search", spec.name).stdout.splitlines()
    told = dict(zip(heading.split(), row.split(), strict=True))
    assert told["ID"] == lab.virsh("kvm-01", f"domuuid {spec.name}").strip()
    assert (told["Status"], told["Host"], told["vmem_size"]) == ("running", "kvm-01", "96")
    assert total == "Total: 1"


def test_a_busy_server_arrives_whole_and_the_wait_tells_each_pass(lab, operator, add_known, truth):
    spec = add_known(memory_mb=128, workload=BUSY)
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=400_000_000))
    done = operator.run("server-live-migrate", "--prefer-host", "kvm-02", spec.name, "--wait")
    assert done.returncode == 0, done.stderr
    assert truth.hosts_of(spec.name) == {"kvm-02": "running"}
    assert lab.memory_losses("kvm-02", spec.name) == []
    told = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    told = {name: value.strip() for name, value in told.items()}
    assert told["outcome"] == f"{spec.name} runs on kvm-02"
    assert told["route"] == "kvm-01 -> kvm-02"
    assert set(told) == {"outcome", "route", "passes", "bytes", "total time", "downtime"}
    narration = done.stderr.splitlines()
    numbers = [int(line.split()[0]) for line in narration if line.split()[0].isdigit()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 2
    assert "copying memory" in narration
    assert narration[-1] == "succeeded"
    detail = operator.json(
        MigrationDetail, "migration-show", truth.latest_migration(spec.name).migration_id
    )
    assert detail.migration.statistics.downtime_ms is not None
    assert [one.number for one in detail.migration.passes] == numbers


def test_without_wait_the_id_is_all(operator, add_known, truth):
    spec = add_known()
    done = operator.run("server-live-migrate", spec.name)
    assert done.returncode == 0
    assert done.stdout == f"{truth.latest_migration(spec.name).migration_id}\n"
    ended = truth.ended_migration(spec.name)
    assert ended.state is MigrationState.SUCCEEDED
    assert truth.hosts_of(spec.name) == {ended.target_host_name: "running"}


def test_cancel_leaves_the_server_where_it_is(lab, operator, add_known, copying, truth):
    spec = add_known(memory_mb=128, workload=BUSY)
    lab.limit_link("kvm-01", SLOW)
    waiting = copying(spec)
    sentence = operator.refused(1, "server-live-migrate", spec.name)
    assert sentence.startswith(f"{spec.name} already migrates to ")
    cancelling = operator.run("server-cancel-live-migrate", spec.name)
    assert cancelling.returncode == 0, cancelling.stderr
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert f"live migration of {spec.name} cancelled: by operator" in err.splitlines()[-1]
    assert truth.hosts_of(spec.name) == {"kvm-01": "running"}
    assert "there is no migration to cancel" in operator.refused(
        1, "server-cancel-live-migrate", spec.name
    )


def test_interrupting_the_wait_leaves_the_migration_alone(lab, add_known, copying, truth):
    spec = add_known(memory_mb=128, workload=Workload(working_set_mb=64))
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=40_000_000))
    waiting = copying(spec)
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    migration_id = truth.latest_migration(spec.name).migration_id
    assert err.splitlines()[-1].startswith(f"godwit: interrupted, but migration {migration_id}")
    assert truth.ended_migration(spec.name).state is MigrationState.SUCCEEDED
    assert set(truth.hosts_of(spec.name).values()) == {"running"}
