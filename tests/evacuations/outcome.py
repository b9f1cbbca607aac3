"""What became of a host that was emptied, by hypervisors, guests and records."""

from typing import Any

from tests.fleet import Fleet
from wire.evacuation import EvacuatedServer, Evacuation, MoveState, Way
from wire.migration import MigrationState


def assert_whole(fleet: Fleet, name: str, host: str) -> None:
    """The guest runs there alone, was never started anew, and lost nothing."""
    assert fleet.running_on(name) == [host]
    assert fleet.lab.memory_losses(host, name) == []
    report = fleet.lab.guest_report(host, name)
    assert (report.boots, report.memory_faults, report.disk_splits) == (1, 0, 0)


def assert_true(office: Any, evacuation: Evacuation) -> None:
    """What the report says of each server is what its migrations' records say."""
    moves = office.moves(evacuation)
    for line in evacuation.servers:
        if line.state is not MoveState.LEFT:
            continue
        record = office.detail(line.migration_id).migration
        assert record.state is MigrationState.SUCCEEDED, record
        assert record.evacuation_id == evacuation.evacuation_id
        assert record.target_host_name == line.plan.target_host_name
        assert line.downtime_ms == record.statistics.downtime_ms
        assert (line.plan.way is Way.LIVE) is (line.downtime_ms is not None)
        # the time that a forecast is held against begins and ends with the record
        spent = (record.created_at_ms, record.finished_at_ms)
        assert (line.started_at_ms, line.ended_at_ms) == spent
        assert line.forecast == (record.forecast or line.plan.forecast)
        figures = [one.statistics for one in moves if one.server_id == line.plan.server_id]
        sent = [one.memory_transferred_bytes + one.disk_transferred_bytes for one in figures]
        assert line.sent_bytes == sum(sent)


def some(evacuation: Evacuation, state: MoveState) -> list[EvacuatedServer]:
    """Its servers in a state."""
    return [one for one in evacuation.servers if one.state is state]
