"""What dies in mid-migration, as the API tells it; what it costs the guest: tests/faults."""

import signal
import time

import pytest

from lab.state import LinkLimit
from wire.console import BackendStatus
from wire.fleet import HostStatus, ServerStatus
from wire.migration import MigrationState

pytestmark = pytest.mark.lab


def settled(api, server: str):
    shown = api.server(server)
    return shown if shown.status is ServerStatus.RUNNING else None


def test_a_restarted_backend_has_the_whole_curve(lab, api, add_busy):
    spec = add_busy()
    asked = api.move(spec.name)
    api.until_copying(asked.migration_id)
    first = api.detail(asked.migration_id).samples[0]
    lab.signal_program("controller", "backend", signal.SIGKILL)
    api.until("back", lambda: api.detail(asked.migration_id).samples)
    assert api.detail(asked.migration_id).samples[0] == first
    api.until_ended(asked.migration_id)


def test_an_etcd_that_is_away_for_long_costs_the_leadership_and_not_the_migration(
    lab, api, add_busy, hosts_of
):
    spec = add_busy()
    asked = api.move(spec.name)
    api.until_copying(asked.migration_id)
    lab.signal_program("controller", "etcd", signal.SIGSTOP)
    try:
        api.until("leadership lost", lambda: not api.get("/v1/status", BackendStatus).leading)
        assert api.host("kvm-01").status is HostStatus.UNKNOWN
        assert not api.detail(asked.migration_id).migration.state.ended
    finally:
        lab.signal_program("controller", "etcd", signal.SIGCONT)
    assert api.until_ended(asked.migration_id).state is MigrationState.SUCCEEDED
    assert hosts_of(spec.name) == {"kvm-02": "running"}


def test_a_source_without_power_ends_the_migration_and_nothing_runs_on_the_target(
    lab, api, add_busy, hosts_of
):
    spec = add_busy()
    asked = api.move(spec.name)
    api.until_copying(asked.migration_id)
    lab.power_cut("kvm-01")
    api.until("missing", lambda: "declare-off kvm-01" in api.stalled(asked.migration_id))
    assert not api.detail(asked.migration_id).migration.state.ended
    api.declare_off("kvm-01")
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.outcome) == (
        MigrationState.FAILED,
        f"kvm-01 went offline with {spec.name} on it",
    )
    assert hosts_of(spec.name) == {}
    assert api.server(spec.name).status is ServerStatus.UNKNOWN


def test_while_the_source_is_cut_off_nothing_is_decided(lab, api, add_busy, hosts_of, assert_whole):
    spec = add_busy()
    asked = api.move(spec.name)
    api.until_copying(asked.migration_id)
    lab.partition("kvm-01")
    api.until("offline", lambda: api.host("kvm-01").status is HostStatus.OFFLINE)
    time.sleep(1)
    assert not api.detail(asked.migration_id).migration.state.ended
    lab.heal("kvm-01")
    ended = api.until_ended(asked.migration_id)
    # libvirt takes up the copying again, or gives it up: both within the 30 s of its keepalive
    where = "kvm-02" if ended.state is MigrationState.SUCCEEDED else "kvm-01"
    assert ended.outcome == f"{spec.name} runs on {where}"
    assert hosts_of(spec.name) == {where: "running"}
    assert_whole(where, spec.name)


def test_after_a_failure_the_same_move_works(lab, api, add_busy, hosts_of):
    spec = add_busy()
    asked = api.move(spec.name)
    api.until_copying(asked.migration_id)
    lab.signal_program("kvm-02", "libvirtd", signal.SIGKILL)
    assert api.until_ended(asked.migration_id).state is MigrationState.FAILED
    lab.limit_link("kvm-01", LinkLimit())
    api.until("movable", lambda: "kvm-02" in api.server(spec.name).target_host_names)

    def moved() -> bool:
        answer = api.ask(f"/v1/servers/{spec.name}/live-migrate")
        if not answer.is_success:
            return False
        ended = api.until_ended(answer.json()["migration_id"])
        return ended.state is MigrationState.SUCCEEDED

    api.until("moved", moved)
    assert hosts_of(spec.name) == {"kvm-02": "running"}
