from collections.abc import Callable

import msgspec
import pytest

from tui.client import Connected, Disconnected, Event
from tui.store import Changes, Link, Store
from wire.console import FleetSnapshot, HostGone, MigrationSample, Role, ServerRemoved
from wire.fleet import HostStatus, ServerStatus
from wire.migration import MigrationDetail, MigrationState


def event(payload: object) -> Event:
    return Event(name="event", payload=payload)


@pytest.fixture
def store(fleet: FleetSnapshot) -> Store:
    store = Store()
    store.apply(Connected())
    store.apply(event(fleet))
    store.changes()
    return store


def test_a_snapshot_replaces_everything(store: Store, make: dict[str, Callable[..., object]]):
    small = make["fleet"]()
    small = msgspec.structs.replace(small, servers=small.servers[:1], migrations=())
    store.apply(event(small))
    assert list(store.servers) == [small.servers[0].server_id]
    assert store.migrations == {}
    assert store.changes().everything
    assert not store.changes().everything


def test_nothing_changed_means_no_changes(store: Store):
    assert store.changes() == Changes()


def test_each_event_names_what_it_changed(store: Store, fleet: FleetSnapshot):
    host, server, migration = fleet.hosts[0], fleet.servers[0], fleet.migrations[0]
    store.apply(event(msgspec.structs.replace(host, status=HostStatus.OFFLINE)))
    store.apply(event(msgspec.structs.replace(server, status=ServerStatus.SUSPEND)))
    store.apply(event(migration))
    changes = store.changes()
    assert changes.hosts == {host.facts.host_id}
    assert changes.servers == {server.server_id}
    assert changes.migrations == {migration.migration_id}
    assert store.hosts[host.facts.host_id].status is HostStatus.OFFLINE


def test_gone_hosts_and_servers_leave(store: Store, fleet: FleetSnapshot):
    host_id, server_id = fleet.hosts[0].facts.host_id, fleet.servers[0].server_id
    store.apply(event(HostGone(host_id=host_id)))
    store.apply(event(ServerRemoved(server_id=server_id)))
    assert host_id not in store.hosts
    assert server_id not in store.servers
    assert store.changes() == Changes(hosts=frozenset({host_id}), servers=frozenset({server_id}))


def test_what_is_known_stays_while_the_stream_is_lost(store: Store, fleet: FleetSnapshot):
    store.apply(Disconnected(reason="10.77.1.2:8700 refuses the connection"))
    assert store.link is Link.LOST
    assert store.link_reason == "10.77.1.2:8700 refuses the connection"
    assert len(store.hosts) == len(fleet.hosts)
    store.apply(Connected())
    assert store.link is Link.LIVE
    assert store.lost_for_s() == 0


def test_the_curve_is_in_order_whatever_comes_first(store: Store, make):
    samples = make["samples"](12)
    migration = next(iter(store.migrations.values()))
    for sample in samples[8:]:
        store.apply(event(MigrationSample(migration_id=migration.migration_id, sample=sample)))
    store.load(MigrationDetail(migration=migration, samples=samples[:10]))
    assert store.samples[migration.migration_id] == list(samples)
    assert store.last_sample(migration.migration_id) == samples[-1]


def test_an_answer_does_not_undo_what_the_stream_told_since(store: Store):
    migration = store.under_way()[0]
    ended = msgspec.structs.replace(migration, state=MigrationState.SUCCEEDED)
    store.apply(event(ended))
    store.load(MigrationDetail(migration=migration))
    assert store.migrations[migration.migration_id] == ended


def test_curves_of_forgotten_migrations_are_dropped(store: Store, fleet: FleetSnapshot, make):
    migration = store.under_way()[0]
    store.load(MigrationDetail(migration=migration, samples=make["samples"](3)))
    store.apply(event(msgspec.structs.replace(fleet, migrations=())))
    assert store.samples == {}


def test_the_role_is_unknown_until_the_backend_has_said_it(store: Store):
    assert Store().role is None
    assert store.role is Role.OPERATOR


def test_migrations_of_a_server_come_newest_first(store: Store, fleet: FleetSnapshot, make):
    server = fleet.servers[1]
    store.apply(event(make["migration"](7, server)))
    found = [each.created_at_ms for each in store.migrations_of(server.server_id)]
    assert len(found) == 2
    assert found == sorted(found, reverse=True)
