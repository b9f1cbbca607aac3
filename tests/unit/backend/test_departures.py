"""A host that shuts down in order: which of its servers leave, and in which order."""

from typing import Any

import msgspec
import pytest

from backend.fleet.targets import host_states
from backend.health.departures import AT_ONCE, REQUESTED_BY, TRIES, Departures, departing
from backend.migrations.acts import Acts
from backend.migrations.desk import Desk
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveState,
    PlannedMove,
    Way,
)
from wire.fleet import Disk, HostPolicy, OwnerPhase, PowerState, RescuePriority, ServerPolicy
from wire.forecast import Basis, Ease, Forecast
from wire.life import HostShutdown
from wire.migration import Migration, MigrationState

GIB = 1 << 30
LOCAL = Disk(target="vdb", source="/l/x", pool_id="p", pool_name="local", capacity_bytes=8 << 30)
BOTH = HostPolicy(auto_migrate_on_host_down=True, auto_migrate_on_host_shutdown=True)


class FakeDesk(Desk):
    """Begins every move that it is not told to refuse, in the fleet model only."""

    def __init__(self, two) -> None:
        self.two = two
        self.asked: list[str] = []
        self.refusal: GodwitError | None = None

    async def migrate(self, kind, server, options, *, requested_by) -> Migration:
        assert (kind, requested_by) == ("live", REQUESTED_BY)
        self.asked.append(server)
        if self.refusal is not None:
            raise self.refusal
        fleet = self.two.fleet
        record = fleet.records[server]
        migration = Migration(
            migration_id=f"m{len(self.asked)}",
            server_id=server,
            server_name=record.name,
            source_host_id=record.owner.host_id,
            source_host_name="kvm-01",
            options=options,
            requested_by=requested_by,
        )
        self.own(server, phase=OwnerPhase.MIGRATING, migration_id=migration.migration_id)
        fleet.put_migration(migration.migration_id, migration)
        return migration

    def own(self, server: str, **owner: object) -> None:
        record = self.two.fleet.records[server]
        changed = msgspec.structs.replace(record.owner, **owner)
        self.two.fleet.put_record(server, msgspec.structs.replace(record, owner=changed))

    def end(self, state: MigrationState, **owner: object) -> None:
        """End every move under way."""
        for one in tuple(self.two.fleet.migrations.values()):
            if not one.state.ended:
                ended = msgspec.structs.replace(one, state=state)
                self.two.fleet.put_migration(one.migration_id, ended)
                self.own(one.server_id, phase=OwnerPhase.SETTLED, migration_id="", **owner)


@pytest.fixture
def desk(two) -> FakeDesk:
    return FakeDesk(two)


class FakeActs(Acts):
    """Notes what is cancelled."""

    def __init__(self, two) -> None:
        self.two = two

    async def cancel(self, migration_id: str, *, requested_by: str) -> Migration:
        known = self.two.fleet.migrations[migration_id]
        cancelled = msgspec.structs.replace(known, cancel_requested_by=requested_by)
        self.two.fleet.put_migration(migration_id, cancelled)
        return cancelled


@pytest.fixture
def departures(two, desk) -> Departures:
    two.fleet.put_policy("host-1", BOTH)
    shut_down(two)
    return Departures(two.fleet, desk, FakeActs(two))


def shut_down(two, *, boot_id: str = "b", within_s: int = 60) -> None:
    word = HostShutdown(boot_id=boot_id, asked_at_ms=0, within_s=within_s)
    two.fleet.put_shutdown("host-1", word)


def have(two, make_server, *servers: dict) -> None:
    """Replace what is on kvm-01."""
    for server_id in tuple(two.fleet.records):
        two.fleet.put_record(server_id, None)
    made = [make_server(**changes) for changes in servers]
    for one in made:
        two.add_record(one, two.hosts[0])
    two.report(two.hosts[0], *made)


def test_servers_leave_by_disks_then_priority_then_size(two, make_server):
    have(
        two,
        make_server,
        {"name": "local-high", "disks": (LOCAL,)},
        {"name": "low", "memory_bytes": 1},
        {"name": "medium-large", "memory_bytes": 4 * GIB},
        {"name": "medium-small", "memory_bytes": GIB},
        {"name": "high"},
        {"name": "stopped", "state": PowerState.SHUT_OFF},
        {"name": "paused", "state": PowerState.PAUSED},
    )
    for name, priority in (
        ("local-high", RescuePriority.HIGH),
        ("high", RescuePriority.HIGH),
        ("low", RescuePriority.LOW),
    ):
        two.fleet.put_server_policy(f"id-{name}", ServerPolicy(rescue_priority=priority))
    assert [one.name for one in departing(two.fleet, "host-1")] == [
        "high",
        "medium-small",
        "medium-large",
        "low",
        "local-high",
    ]


async def test_few_leave_at_once_and_the_next_when_one_is_done(two, make_server, desk, departures):
    have(two, make_server, *({"name": f"web-{number}"} for number in range(5)))
    await departures.look()
    await departures.look()
    assert desk.asked == ["id-web-0", "id-web-1"]
    assert len(desk.asked) == AT_ONCE
    desk.end(MigrationState.SUCCEEDED, host_id="host-2")
    await departures.look()
    assert desk.asked[AT_ONCE:] == ["id-web-2", "id-web-3"]


async def test_a_move_that_a_person_began_counts(two, make_server, desk, departures):
    have(two, make_server, *({"name": f"web-{number}"} for number in range(3)))
    await desk.migrate("live", "id-web-2", None, requested_by=REQUESTED_BY)
    await departures.look()
    assert desk.asked[1:] == ["id-web-0"]


@pytest.mark.parametrize(
    "policy", [HostPolicy(), HostPolicy(auto_migrate_on_host_down=True)], ids=["none", "down only"]
)
async def test_nothing_leaves_unless_it_was_asked_for(two, desk, departures, policy):
    two.fleet.put_policy("host-1", policy)
    await departures.look()
    assert desk.asked == []


async def test_the_word_of_an_earlier_life_is_void(two, desk, departures):
    shut_down(two, boot_id="an earlier one")
    await departures.look()
    assert desk.asked == []


async def test_nothing_begins_when_no_time_is_left(two, desk, departures):
    shut_down(two, within_s=1)
    await departures.look()
    assert desk.asked == []


async def test_nothing_begins_while_nobody_knows_how_the_hosts_are(two, desk, departures):
    two.fleet.put_etcd_error("/x/", "etcd does not answer")
    await departures.look()
    assert desk.asked == []


async def test_a_server_without_a_target_waits_and_holds_up_no_other(
    two, make_server, desk, departures
):
    have(two, make_server, {"name": "a"}, {"name": "b"})
    desk.refusal = GodwitError(ErrorCode.NO_TARGET, "no host fits")
    await departures.look()
    await departures.look()
    assert desk.asked == ["id-a", "id-b"]


async def test_a_move_that_fails_is_tried_once_more(two, desk, departures):
    for _ in range(TRIES + 2):
        await departures.look()
        desk.end(MigrationState.FAILED)
    assert desk.asked == ["id-web-1"] * TRIES


async def test_a_later_shutdown_begins_anew(two, desk, departures):
    for _ in range(TRIES):
        await departures.look()
        desk.end(MigrationState.FAILED)
    two.fleet.put_shutdown("host-1", None)
    await departures.look()
    shut_down(two)
    await departures.look()
    assert len(desk.asked) == TRIES + 1


async def test_the_host_that_shuts_down_is_no_target(two, departures):
    states = {state.facts.name: state.shutting_down for state in host_states(two.fleet)}
    assert states == {"kvm-01": True, "kvm-02": False}


@pytest.mark.parametrize(
    ("state", "kind", "count"),
    [
        (EvacuationState.RUNNING, EvacuationKind.EVACUATE, 0),
        (EvacuationState.PAUSED, EvacuationKind.EVACUATE, 1),
        (EvacuationState.ENDED, EvacuationKind.EVACUATE, 1),
        (EvacuationState.RUNNING, EvacuationKind.RETURN, 1),
    ],
)
async def test_what_an_evacuation_moves_already_is_left_to_it(
    two, desk, departures, state, kind, count
):
    put_evacuation(two, MoveState.WAITING, state=state, kind=kind)
    await departures.look()
    assert len(desk.asked) == count


@pytest.mark.parametrize(
    ("state", "ease", "count"),
    [
        (MoveState.MOVING, Ease.EASY, 0),
        (MoveState.WAITING, Ease.STUCK, 1),
        (MoveState.FAILED, Ease.EASY, 1),
        (MoveState.STAYED, Ease.EASY, 1),
    ],
)
async def test_what_an_evacuation_leaves_behind_is_moved(two, desk, departures, state, ease, count):
    put_evacuation(two, state, ease=ease)
    await departures.look()
    assert len(desk.asked) == count


def put_evacuation(two, line_state: MoveState, *, ease: Ease = Ease.EASY, **changes: Any) -> None:
    """An evacuation of host-1, with every server of it in one state."""
    forecast = Forecast(
        ease=ease,
        basis=Basis.GUESSED,
        total_ms=1,
        low_ms=1,
        high_ms=1,
        sent_bytes=1,
        downtime_ms=1,
    )
    servers = tuple(
        EvacuatedServer(
            plan=PlannedMove(
                server_id=server_id,
                server_name=server_id,
                way=Way.LIVE,
                source_host_id="host-1",
                source_host_name="kvm-01",
                forecast=forecast,
            ),
            state=line_state,
        )
        for server_id in two.fleet.owned["host-1"]
    )
    values: dict[str, Any] = {
        "evacuation_id": "e1",
        "kind": EvacuationKind.EVACUATE,
        "host_id": "host-1",
        "host_name": "kvm-01",
        "servers": servers,
    }
    two.fleet.put_evacuation("e1", Evacuation(**(values | changes)))


async def test_what_still_copies_when_the_time_is_over_is_broken_off(
    two, make_server, departures, monkeypatch
):
    """Else libvirt lets its guest not be shut down, and it is cut off with its host."""
    now_s = 100.0
    monkeypatch.setattr("backend.health.departures.boot_clock_s", lambda: now_s)
    have(two, make_server, {"name": "a"}, {"name": "b"})
    await departures.look()
    first, second = two.fleet.migrations.values()
    switching = msgspec.structs.replace(second, state=MigrationState.SWITCHING_OVER)
    two.fleet.put_migration(second.migration_id, switching)
    now_s += 60 - 2
    await departures.look()
    assert not two.fleet.migrations[first.migration_id].cancel_requested_by
    now_s += 1
    await departures.look()
    known = two.fleet.migrations
    assert known[first.migration_id].cancel_requested_by == REQUESTED_BY
    assert not known[second.migration_id].cancel_requested_by
