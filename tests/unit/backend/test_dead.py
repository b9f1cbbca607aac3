"""What is told of a host that is gone, and when it counts as dead."""

import msgspec
import pytest

from backend.fleet.dead import is_dead
from backend.fleet.server_view import standing
from backend.fleet.stalled import stalled_reason
from wire.fleet import RescuePriority, ServerStatus
from wire.life import HealthValue
from wire.migration import Migration, MigrationState
from wire.rescue import Incident, IncidentServer, RescueState

LIFE = HealthValue(boot_id="b", epoch=3)


@pytest.fixture
def gone(two):
    """kvm-01 without a health key, and its incident."""
    fleet = two.fleet
    fleet.put_health("host-1", None)
    fleet.put_life("host-1", LIFE)
    fleet.agent_lost("host-1", "no answer", silent=True)
    line = IncidentServer(
        server_id="id-web-1",
        server_name="web-1",
        state=RescueState.WAITING,
        priority=RescuePriority.MEDIUM,
        reason="kvm-01 is unfenced",
    )
    incident = Incident(
        incident_id="i1",
        host_id="host-1",
        host_name="kvm-01",
        life=LIFE,
        lost_at_ms=1,
        held_reason="kvm-01 is unfenced: godwit host-declare-off kvm-01",
        servers=(line,),
    )
    fleet.put_incident("i1", incident)
    return incident


def migration(**changes: object) -> Migration:
    values: dict[str, object] = {
        "migration_id": "m1",
        "server_id": "id-web-1",
        "server_name": "web-1",
        "source_host_id": "host-1",
        "source_host_name": "kvm-01",
        "target_host_id": "host-2",
        "target_host_name": "kvm-02",
        "state": MigrationState.PREPARING,
    }
    return Migration(**(values | changes))


def test_a_host_is_dead_only_by_proof_of_its_present_life(two, gone):
    fleet = two.fleet
    assert not is_dead(fleet, "host-1")
    fleet.put_incident("i1", msgspec.structs.replace(gone, dead_at_ms=2))
    assert is_dead(fleet, "host-1")
    assert not is_dead(fleet, "host-2")
    fleet.put_life("host-1", HealthValue(boot_id="b", epoch=4))
    assert not is_dead(fleet, "host-1")
    fleet.put_life("host-1", None)
    assert not is_dead(fleet, "host-1")
    fleet.put_life("host-1", LIFE)
    fleet.put_etcd_error("x", "etcd is away")
    assert not is_dead(fleet, "host-1")
    fleet.put_etcd_error("x", "")
    fleet.put_health("host-1", LIFE)
    assert not is_dead(fleet, "host-1")


def test_a_server_that_waits_says_what_for(two, gone):
    now = standing(two.fleet, two.fleet.records["id-web-1"])
    assert now.status is ServerStatus.UNKNOWN
    assert now.reason.endswith("kvm-01 is unfenced")


def test_a_migration_that_waits_for_a_gone_host_says_what_is_missing(two, gone):
    reason = stalled_reason(two.fleet, migration())
    assert "kvm-01 is offline" in reason
    assert "godwit host-declare-off kvm-01" in reason
    two.fleet.put_incident("i1", msgspec.structs.replace(gone, dead_at_ms=2))
    assert "declare-off" not in stalled_reason(two.fleet, migration())


def test_a_rescue_does_not_wait_for_the_host_that_is_dead(two, gone):
    two.fleet.put_incident("i1", msgspec.structs.replace(gone, dead_at_ms=2))
    assert stalled_reason(two.fleet, migration(kind="rescue")) == ""


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (MigrationState.PREPARING, ServerStatus.START_MIGRATE),
        (MigrationState.SWITCHING_OVER, ServerStatus.MIGRATING),
    ],
)
def test_a_server_that_is_rescued_migrates(two, state, status):
    two.add_record(two.server, two.hosts[1], migration_id="m1")
    two.fleet.put_migration("m1", migration(kind="rescue", state=state))
    now = standing(two.fleet, two.fleet.records["id-web-1"])
    assert now.status is status
    assert "to kvm-02" in now.reason
