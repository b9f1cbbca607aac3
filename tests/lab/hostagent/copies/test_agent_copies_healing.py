"""A host that was away while a migration ended puts itself in order when it is back."""

import signal

import msgspec
import pytest

from wire.fleet import PowerState
from wire.keys import MIGRATIONS
from wire.migration import Migration, MigrationOptions, MigrationState

pytestmark = pytest.mark.lab


@pytest.fixture
def journal(etcd):
    """Write the end of a migration as the backend does; it is deleted when the test ends."""
    made: list[str] = []

    def write(move, state: MigrationState, **options: object) -> None:
        migration = Migration(
            migration_id=move.id,
            kind="cold",
            server_id=move.server_id,
            server_name=move.name,
            source_host_id="source",
            source_host_name="kvm-01",
            target_host_id=move.target_host_id,
            target_host_name="kvm-02",
            state=state,
            options=MigrationOptions(**options),
        )
        made.append(MIGRATIONS + move.id)
        etcd.put(MIGRATIONS + move.id, msgspec.json.encode(migration))

    yield write
    for key in made:
        etcd.delete(key)


def test_both_hosts_were_away_while_the_server_moved(
    lab, cold_move, journal, agents, until, record_of, export_daemons
):
    move = cold_move()
    (disk,) = move.storage.files
    move.copy()
    move.define()
    assert len(export_daemons("kvm-01")) == 1
    for host in ("kvm-01", "kvm-02"):
        lab.power_cut(host)
    move.hand_over()
    journal(move, MigrationState.SUCCEEDED)
    for host in ("kvm-01", "kvm-02"):
        lab.power_on(host)
    lab.wait_until_ready()
    source, target = agents("kvm-01"), agents("kvm-02")
    until(lambda: source.truth(move.server_id).state is PowerState.ABSENT, "the source lets go")
    until(lambda: not move.here(disk.path).exists(), "its disk is deleted")
    assert target.truth(move.server_id).state is PowerState.SHUT_OFF
    assert move.there(disk.path).exists()
    assert record_of(move.server_id).owner.host_id == move.target_host_id
    assert export_daemons("kvm-01") == []
    notes = lab.folders.node("kvm-02") / "godwit" / "incoming" / f"{move.id}.json"
    until(lambda: not notes.exists(), "the target forgets the migration")


def test_a_target_that_was_away_removes_what_did_not_come(
    lab, cold_move, journal, agents, until, export_daemons
):
    move = cold_move()
    (disk,) = move.storage.files
    move.copy()
    move.define()
    lab.signal_program("kvm-01", "hostagent", signal.SIGKILL)
    lab.signal_program("kvm-02", "hostagent", signal.SIGKILL)
    move.give_up()
    journal(move, MigrationState.FAILED)
    agents("kvm-01")
    target = agents("kvm-02")
    until(lambda: target.truth(move.server_id).state is PowerState.ABSENT, "it is undefined")
    until(lambda: move.left_there() == set(), "its disk is gone")
    until(lambda: export_daemons("kvm-01") == [], "the source's files are closed")
    assert move.here(disk.path).exists()


def test_what_was_to_be_kept_is_kept_by_the_host_itself(lab, cold_move, journal, agents, until):
    move = cold_move()
    move.copy()
    move.close()
    lab.signal_program("kvm-02", "hostagent", signal.SIGKILL)
    move.give_up()
    journal(move, MigrationState.FAILED, keep_dest_guest_on_failed=True)
    agents("kvm-02")
    kept = {f"{move.name}.img.kept-{move.id}"}
    until(lambda: move.left_there() == kept, "the disk is kept")
    until(lambda: len(move.discard(keep=True).kept) >= 3, "definition and job record too")
    move.target.http.post(f"/v1/incoming/{move.id}/remove-kept").raise_for_status()
    assert move.left_there() == set()


def test_a_migration_under_way_is_left_alone(lab, cold_move, agents):
    move = cold_move()
    incoming, export = move.prepare(), move.export()
    for host in ("kvm-01", "kvm-02"):
        lab.signal_program(host, "hostagent", signal.SIGKILL)
        agents(host)
    assert move.prepare() == incoming
    assert move.export().names == export.names
    move.pull(incoming, move.export())
    assert move.ended().error == ""
    move.discard()
    move.close()
    move.give_up()
