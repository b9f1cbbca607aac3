"""Waiting for a migration's end through breaks of every kind, against a backend over real TLS."""

import asyncio

import msgspec
import pytest

from tui.client import Client
from tui.errors import BackendUnreachable
from tui.following import follow_evacuations, follow_to_end
from tui.settings import settings_from
from wire import stream
from wire.console import MigrationSample
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import Evacuation, EvacuationKind, EvacuationState
from wire.migration import Migration, MigrationState, Note, Sample

SAMPLE = Sample(
    elapsed_ms=1000,
    pass_number=2,
    memory_total_bytes=256 << 20,
    memory_processed_bytes=200 << 20,
    memory_remaining_bytes=56 << 20,
    bandwidth_bytes_per_s=45 << 20,
    dirty_bytes_per_s=20 << 20,
    expected_downtime_ms=120,
    downtime_limit_ms=300,
    throttle_percent=0,
)


class Notes:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.states: list[MigrationState] = []
        self.samples: list[Sample] = []
        self.links: list[str] = []
        self.broken = asyncio.Event()

    def on_migration(self, migration: Migration) -> None:
        self.states.append(migration.state)

    def on_sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def on_link(self, reason: str) -> None:
        self.links.append(reason)
        if reason:
            self.broken.set()


def in_state(migration: Migration, state: MigrationState) -> Migration:
    return msgspec.structs.replace(migration, state=state)


@pytest.fixture
def moving(fleet) -> Migration:
    return fleet.migrations["m-1"]


@pytest.fixture
async def client(environment):
    async with Client(settings_from(environment)) as client:
        yield client


async def test_changes_and_samples_arrive_in_order(client, fleet, moving):
    notes = Notes()
    fleet.events += [
        in_state(moving, MigrationState.COPYING_MEMORY),
        MigrationSample(migration_id="another", sample=SAMPLE),
        MigrationSample(migration_id="m-1", sample=SAMPLE),
        msgspec.structs.replace(moving, migration_id="another", state=MigrationState.FAILED),
        in_state(moving, MigrationState.SUCCEEDED),
    ]
    ended = await follow_to_end(client, moving, notes)
    assert ended.state is MigrationState.SUCCEEDED
    assert notes.samples == [SAMPLE]
    assert notes.states == [
        MigrationState.PREPARING,
        MigrationState.COPYING_MEMORY,
        MigrationState.SUCCEEDED,
    ]


async def test_an_older_record_never_turns_progress_back(client, fleet, moving):
    notes = Notes()
    fleet.events += [
        in_state(moving, MigrationState.SWITCHING_OVER),
        in_state(moving, MigrationState.COPYING_MEMORY),
        in_state(moving, MigrationState.SUCCEEDED),
    ]
    await follow_to_end(client, moving, notes)
    assert MigrationState.COPYING_MEMORY not in notes.states


async def test_what_had_ended_before_the_stream_came_up(client, fleet, moving):
    fleet.migrations["m-1"] = in_state(moving, MigrationState.SUCCEEDED)
    ended = await follow_to_end(client, moving, Notes())
    assert ended.state is MigrationState.SUCCEEDED


async def test_an_end_that_no_event_told(client, fleet, moving, monkeypatch):
    monkeypatch.setattr("tui.waiting._QUIET_S", 0.2)
    notes = Notes()
    waiting = asyncio.create_task(follow_to_end(client, moving, notes))
    await asyncio.sleep(0.5)
    fleet.migrations["m-1"] = in_state(moving, MigrationState.SUCCEEDED)
    assert (await waiting).state is MigrationState.SUCCEEDED


async def test_an_end_while_the_backend_was_away(client, backend, fleet, moving):
    notes = Notes()
    waiting = asyncio.create_task(follow_to_end(client, moving, notes))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(backend.stop)
    await notes.broken.wait()
    fleet.migrations["m-1"] = in_state(moving, MigrationState.CANCELLED)
    await asyncio.to_thread(backend.start)
    assert (await waiting).state is MigrationState.CANCELLED


async def test_a_backend_that_freezes_is_noticed_and_outlived(
    client, backend, fleet, moving, monkeypatch
):
    monkeypatch.setattr("tui.waiting._QUIET_S", 0.1)
    monkeypatch.setattr(stream, "_READ_TIMEOUT_S", 0.8)
    monkeypatch.setattr(client._http, "timeout", 0.3)
    notes = Notes()
    waiting = asyncio.create_task(follow_to_end(client, moving, notes))
    await asyncio.sleep(0.3)
    thaw = backend.freeze()
    await notes.broken.wait()
    assert backend.frozen
    thaw.set()
    fleet.migrations["m-1"] = in_state(moving, MigrationState.SUCCEEDED)
    assert (await waiting).state is MigrationState.SUCCEEDED


async def test_a_backend_that_has_not_found_its_feet_yet(client, fleet, moving, monkeypatch):
    monkeypatch.setattr("tui.waiting._QUIET_S", 0.2)
    fleet.blind = GodwitError(ErrorCode.ETCD_UNREACHABLE, "etcd does not answer")
    waiting = asyncio.create_task(follow_to_end(client, moving, Notes()))
    await asyncio.sleep(0.5)
    fleet.blind = None
    fleet.migrations["m-1"] = in_state(moving, MigrationState.SUCCEEDED)
    assert (await waiting).state is MigrationState.SUCCEEDED


async def test_nobody_waits_for_ever_for_a_backend(client, backend, moving, monkeypatch):
    monkeypatch.setattr("tui.waiting.PATIENCE_S", 0.5)
    await asyncio.to_thread(backend.stop)
    with pytest.raises(BackendUnreachable, match="cannot be reached"):
        await follow_to_end(client, moving, Notes())


async def test_a_token_that_is_no_longer_accepted_ends_the_wait(client, backend, fleet, moving):
    notes = Notes()
    waiting = asyncio.create_task(follow_to_end(client, moving, notes))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(backend.stop)
    fleet.token = "another"
    await asyncio.to_thread(backend.start)
    with pytest.raises(GodwitError) as caught:
        await waiting
    assert caught.value.code is ErrorCode.UNAUTHENTICATED


async def test_a_record_that_vanished_ends_the_wait(client, fleet, moving):
    del fleet.migrations["m-1"]
    with pytest.raises(GodwitError) as caught:
        await follow_to_end(client, moving, Notes())
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_an_event_of_another_version_is_a_break_and_no_end(client, fleet, moving):
    notes = Notes()
    fleet.garbage = '{"migration_id": 7}'
    fleet.events.append(in_state(moving, MigrationState.SUCCEEDED))
    ended = await follow_to_end(client, moving, notes)
    assert ended.state is MigrationState.SUCCEEDED
    assert any("of this version" in link for link in notes.links)


def emptied(**more: object) -> Evacuation:
    return Evacuation(
        evacuation_id="e-1",
        kind=EvacuationKind.EVACUATE,
        host_id="h-1",
        host_name="kvm-01",
        **more,
    )


class Course:
    """A watcher of evacuations that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Evacuation] = []

    def on_evacuation(self, evacuation: Evacuation) -> None:
        self.told.append(evacuation)

    def on_link(self, reason: str) -> None:
        assert not reason


async def test_an_evacuation_is_followed_by_events_that_answers_may_overtake(client, fleet):
    noted = emptied(notes=(Note(at_ms=1, text="begun"), Note(at_ms=2, text="paused")))
    begun = emptied(notes=noted.notes[:1])
    # what is asked for on connecting is newer than the first events
    fleet.evacuations = [noted]
    ended = msgspec.structs.replace(noted, state=EvacuationState.ENDED)
    fleet.events += [begun, emptied(sending_bytes_per_s=7), ended, noted]
    course = Course()
    assert await follow_evacuations(client, [begun], course) == [ended]
    assert course.told == [begun, noted, ended]


async def test_the_end_of_an_evacuation_that_no_event_told(client, fleet, monkeypatch):
    monkeypatch.setattr("tui.waiting._QUIET_S", 0.2)
    fleet.evacuations = [emptied()]
    waiting = asyncio.create_task(follow_evacuations(client, [emptied()], Course()))
    await asyncio.sleep(0.5)
    fleet.evacuations = [emptied(state=EvacuationState.ENDED)]
    (ended,) = await waiting
    assert not ended.open
