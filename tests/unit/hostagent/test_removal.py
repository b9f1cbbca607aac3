"""What may be ended on a host that does not own it: never a guest that may be the only one."""

import pytest

from hostagent.removal import check_removable
from wire.agent import GuestTruth
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Owner, OwnerPhase, PowerState, ServerRecord

SETTLED, MIGRATING, LOST = OwnerPhase.SETTLED, OwnerPhase.MIGRATING, OwnerPhase.LOST
RUNNING, PAUSED, SHUT_OFF = PowerState.RUNNING, PowerState.PAUSED, PowerState.SHUT_OFF


def record(phase: OwnerPhase, target_host_id: str) -> ServerRecord:
    """A server that host-1 owns."""
    owner = Owner(
        host_id="host-1", epoch=1, generation=3, phase=phase, target_host_id=target_host_id
    )
    return ServerRecord(
        server_id="s1",
        name="web-1",
        vcpu_count=1,
        memory_bytes=1,
        disks=(),
        owner=owner,
        wanted_on=True,
    )


def truth(state: PowerState, detail: str = "", **fields: bool) -> GuestTruth:
    return GuestTruth(server_id="s1", state=state, state_detail=detail, **fields)


@pytest.mark.parametrize(("phase", "target"), [(MIGRATING, "host-2"), (MIGRATING, ""), (LOST, "")])
@pytest.mark.parametrize("detail", ["", "migrated", "booted"])
def test_a_guest_that_runs_where_it_may_have_come_to_is_not_ended(phase, target, detail):
    with pytest.raises(GodwitError, match="'web-1' runs on this host") as refused:
        check_removable(record(phase, target), truth(RUNNING, detail), host_id="host-2")
    assert refused.value.code is ErrorCode.CONFLICT


@pytest.mark.parametrize(("phase", "target"), [(SETTLED, ""), (MIGRATING, "host-3")])
def test_a_guest_that_runs_although_its_place_is_elsewhere_is_ended(phase, target):
    check_removable(record(phase, target), truth(RUNNING), host_id="host-2")


@pytest.mark.parametrize(
    "left",
    [
        truth(SHUT_OFF),
        truth(PAUSED, "migrating"),
        truth(PAUSED, "migrating", incoming=True, job_active=True),
        truth(RUNNING, "post-copy", job_active=True),
        truth(PAUSED, "post-copy failed", job_active=True),
    ],
)
def test_what_is_no_whole_guest_is_ended_in_a_migration_too(left):
    check_removable(record(MIGRATING, "host-2"), left, host_id="host-2")


@pytest.mark.parametrize("state", [RUNNING, PAUSED])
def test_nothing_is_ended_that_migrates(state):
    with pytest.raises(GodwitError, match="has a migration under way here"):
        check_removable(record(SETTLED, ""), truth(state, job_active=True), host_id="host-2")
