"""What hosts and servers look like, by what etcd and the agents say."""

import ssl
import time

import msgspec
import pytest

from backend.agents import Agents
from backend.events import Broadcaster
from backend.fleet.cpus import Comparisons
from backend.fleet.host_view import host_status
from backend.fleet.names import find_host, find_server
from backend.fleet.server_view import server_view, standing, storage_kind
from backend.fleet.stalled import stalled_reason
from backend.fleet.targets import Targets, host_states
from backend.migrations.jobs import Jobs
from backend.publish import Publisher
from backend.scheduler.move import Move
from wire import keys
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Disk, HostPolicy, HostStatus, OwnerPhase, PowerState, ServerStatus
from wire.migration import Migration, MigrationOptions, MigrationState

COMPARISONS = Comparisons(Agents({}, context=ssl.create_default_context(), token="t"))


def migration_of(two, state: MigrationState, **changes: object) -> Migration:
    values: dict[str, object] = {
        "migration_id": "m1",
        "server_id": two.server.server_id,
        "server_name": two.server.name,
        "source_host_id": "host-1",
        "source_host_name": "kvm-01",
        "target_host_id": "host-2",
        "target_host_name": "kvm-02",
        "state": state,
    }
    return Migration(**(values | changes))


def status_of(two) -> tuple[ServerStatus, str]:
    now = standing(two.fleet, two.fleet.records[two.server.server_id])
    return now.status, now.reason


def test_a_host_with_key_and_stream_is_online(two):
    assert host_status(two.fleet, two.hosts[0]) == (HostStatus.ONLINE, "")


def test_a_host_without_its_health_key_is_offline(two):
    two.fleet.put_health("host-1", None)
    assert host_status(two.fleet, two.hosts[0])[0] is HostStatus.OFFLINE


def test_a_host_whose_stream_broke_is_unreachable_with_the_reason(two):
    two.fleet.agent_lost("host-1", "connection refused", silent=False)
    status = host_status(two.fleet, two.hosts[0])
    assert status == (HostStatus.UNREACHABLE, "connection refused")


def test_nobody_is_offline_while_etcd_does_not_answer(two):
    two.fleet.put_health("host-1", None)
    two.fleet.put_etcd_error(keys.HEALTH, "etcd does not answer")
    for host in two.hosts:
        assert host_status(two.fleet, host) == (HostStatus.UNKNOWN, "etcd does not answer")


def test_without_the_audit_all_goes_on(two):
    two.fleet.put_health("host-1", None)
    two.fleet.put_etcd_error(keys.AUDIT, "etcd does not answer")
    assert two.fleet.etcd_error == ""
    assert host_status(two.fleet, two.hosts[0])[0] is HostStatus.OFFLINE
    two.fleet.put_etcd_error(keys.HEALTH, "etcd is away")
    assert two.fleet.etcd_error == "etcd is away"


def test_a_running_server_still_shows_as_running_while_etcd_is_away(two):
    two.fleet.put_etcd_error(keys.HEALTH, "etcd does not answer")
    assert status_of(two)[0] is ServerStatus.RUNNING
    view = server_view(two.fleet, two.fleet.records[two.server.server_id], ())
    assert view.status_reason == "where it may go is unknown: etcd does not answer"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (PowerState.RUNNING, ServerStatus.RUNNING),
        (PowerState.PAUSED, ServerStatus.SUSPEND),
        (PowerState.SHUT_OFF, ServerStatus.READY),
    ],
)
def test_the_owners_report_gives_the_status(two, state, status):
    two.fleet.put_report("host-1", msgspec.structs.replace(two.server, state=state))
    assert status_of(two)[0] is status


def test_a_short_break_of_the_stream_does_not_change_a_servers_status(two):
    two.fleet.agent_lost("host-1", "gone", silent=False)
    assert status_of(two)[0] is ServerStatus.RUNNING
    two.fleet.agent_lost("host-1", "gone", silent=True)
    assert status_of(two) == (ServerStatus.UNKNOWN, "gone")


@pytest.mark.parametrize(
    ("wanted_on", "status"), [(True, ServerStatus.UNKNOWN), (False, ServerStatus.READY)]
)
def test_on_an_offline_host_only_what_should_run_is_unknown(two, wanted_on, status):
    two.add_record(two.server, two.hosts[0], wanted_on=wanted_on)
    two.fleet.put_health("host-1", None)
    assert status_of(two) == (status, "kvm-01 holds no health key in etcd")


def test_a_server_that_its_owner_does_not_have_is_unknown_and_says_who_has_it(two):
    two.fleet.drop_report("host-1", two.server.server_id)
    assert status_of(two) == (ServerStatus.UNKNOWN, "kvm-01 does not have it")
    two.fleet.put_report("host-2", two.server)
    assert status_of(two)[1] == "kvm-02 has it, although it belongs to kvm-01"


def test_a_server_that_is_lost_says_what_a_person_can_do(two):
    record = two.fleet.records[two.server.server_id]
    owner = msgspec.structs.replace(record.owner, phase=OwnerPhase.LOST)
    two.fleet.put_record(record.server_id, msgspec.structs.replace(record, owner=owner))
    two.fleet.drop_report("host-1", record.server_id)
    status, reason = status_of(two)
    assert status is ServerStatus.UNKNOWN
    assert "godwit server-settle --keep-host kvm-01 web-1" in reason
    assert "godwit server-forget web-1" in reason


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (MigrationState.QUEUED, ServerStatus.START_MIGRATE),
        (MigrationState.SCHEDULING, ServerStatus.START_MIGRATE),
        (MigrationState.PREPARING, ServerStatus.START_MIGRATE),
        (MigrationState.COPYING_DISKS, ServerStatus.LIVE_MIGRATING),
        (MigrationState.COPYING_MEMORY, ServerStatus.LIVE_MIGRATING),
        (MigrationState.SWITCHING_OVER, ServerStatus.LIVE_MIGRATING),
        (MigrationState.COMPLETING, ServerStatus.LIVE_MIGRATING),
        (MigrationState.SUCCEEDED, ServerStatus.RUNNING),
        (MigrationState.FAILED, ServerStatus.RUNNING),
        (MigrationState.CANCELLED, ServerStatus.RUNNING),
    ],
)
def test_the_migration_under_way_gives_the_status(two, state, status):
    two.add_record(two.server, two.hosts[0], migration_id="m1")
    two.fleet.put_migration("m1", migration_of(two, state))
    assert status_of(two)[0] is status


def test_a_server_on_both_sides_of_a_migration_is_shown_once_on_its_owner(two):
    record = two.add_record(two.server, two.hosts[0], migration_id="m1")
    two.fleet.put_migration("m1", migration_of(two, MigrationState.COPYING_MEMORY))
    incoming = msgspec.structs.replace(two.server, state=PowerState.PAUSED, incoming=True)
    two.fleet.put_report("host-2", incoming)
    view = server_view(two.fleet, record, ())
    assert (view.host_name, view.status, view.status_reason, view.migration_id) == (
        "kvm-01",
        ServerStatus.LIVE_MIGRATING,
        "to kvm-02",
        "m1",
    )


@pytest.mark.parametrize(
    ("age_s", "told"), [(18, "last heard 18 s ago"), (300, "last heard 5 min ago")]
)
def test_a_migration_whose_source_is_silent_says_since_when(two, age_s, told):
    record = two.add_record(two.server, two.hosts[0], migration_id="m1")
    two.fleet.put_migration("m1", migration_of(two, MigrationState.COPYING_MEMORY))
    two.fleet.agent_lost("host-1", "timed out", silent=False)
    two.fleet.link("host-1").seen_at_ms = time.time_ns() // 1_000_000 - age_s * 1000
    view = server_view(two.fleet, record, ())
    assert view.status is ServerStatus.LIVE_MIGRATING
    assert view.status_reason == f"to kvm-02; kvm-01 does not answer, {told}"
    two.fleet.put_health("host-1", None)
    assert status_of(two)[1] == f"to kvm-02; kvm-01 is offline, {told}"


def test_a_migration_stalls_only_under_way_and_while_its_source_is_silent(two):
    moving = migration_of(two, MigrationState.COPYING_MEMORY)
    assert stalled_reason(two.fleet, moving) == ""
    two.fleet.link("host-1").connected = False
    two.fleet.link("host-1").seen_at_ms = 0
    assert "not heard since this backend started" in stalled_reason(two.fleet, moving)
    assert stalled_reason(two.fleet, migration_of(two, MigrationState.FAILED)) == ""


@pytest.mark.parametrize("kind", ["live", "cold"])
def test_a_silent_target_stalls_a_migration_too(two, kind):
    moving = migration_of(two, MigrationState.COPYING_DISKS, kind=kind)
    assert stalled_reason(two.fleet, moving) == ""
    two.fleet.link("host-2").connected = False
    assert "kvm-02 does not answer" in stalled_reason(two.fleet, moving)


@pytest.mark.parametrize(
    ("kind", "state", "status", "running"),
    [
        ("cold", MigrationState.PREPARING, ServerStatus.START_MIGRATE, 0),
        ("cold", MigrationState.COPYING_DISKS, ServerStatus.MIGRATING, 0),
        ("live", MigrationState.PREPARING, ServerStatus.START_MIGRATE, 1),
        ("live", MigrationState.COPYING_DISKS, ServerStatus.LIVE_MIGRATING, 1),
    ],
)
def test_words_and_counts_follow_the_kind_of_move(two, kind, state, status, running):
    two.add_record(two.server, two.hosts[0], migration_id="m1")
    two.fleet.put_migration("m1", migration_of(two, state, kind=kind))
    publisher = Publisher(two.fleet, Jobs(), Broadcaster("1"), COMPARISONS)
    publisher.flush()
    assert publisher.servers[two.server.server_id].status is status
    assert publisher.hosts["host-1"].running_server_count == running


def test_published_views_say_that_a_migration_stalls_and_that_it_goes_on(two):
    two.add_record(two.server, two.hosts[0], migration_id="m1")
    two.fleet.put_migration("m1", migration_of(two, MigrationState.COPYING_MEMORY))
    publisher = Publisher(two.fleet, Jobs(), Broadcaster("1"), COMPARISONS)
    publisher.flush()
    assert publisher.migrations["m1"].stalled_reason == ""
    two.fleet.agent_lost("host-1", "timed out", silent=False)
    publisher.flush()
    assert "kvm-01 does not answer" in publisher.migrations["m1"].stalled_reason
    assert "kvm-01 does not answer" in publisher.servers[two.server.server_id].status_reason
    two.report(two.hosts[0], two.server)
    publisher.flush()
    assert publisher.migrations["m1"].stalled_reason == ""
    assert publisher.servers[two.server.server_id].status_reason == "to kvm-02"
    assert two.fleet.migrations["m1"].stalled_reason == ""


def test_a_journal_record_never_goes_backwards(two):
    two.fleet.put_migration("m1", migration_of(two, MigrationState.SWITCHING_OVER))
    two.fleet.put_migration("m1", migration_of(two, MigrationState.COPYING_MEMORY))
    assert two.fleet.migrations["m1"].state is MigrationState.SWITCHING_OVER


def test_a_new_snapshot_replaces_what_a_host_reported(two, make_server):
    two.report(two.hosts[0], make_server("other"))
    assert set(two.fleet.reports["host-1"]) == {"id-other"}
    assert status_of(two)[0] is ServerStatus.UNKNOWN


def targets_of(two, targets: Targets) -> tuple[str, ...]:
    return targets.names(two.fleet, two.fleet.records[two.server.server_id])


def test_targets_are_the_hosts_that_pass_every_filter(two, make_host):
    other = make_host(3, microcode="0x1")
    two.add_host(other)
    two.report(other)
    targets = Targets(COMPARISONS)
    targets.refresh(two.fleet, placement_changed=True)
    assert targets_of(two, targets) == ("kvm-02",)
    two.fleet.put_policy("host-2", HostPolicy(maintenance=True))
    targets.refresh(two.fleet, placement_changed=True)
    assert targets_of(two, targets) == ()


def test_targets_follow_memory_only_when_it_changes_notably(two):
    targets = Targets(COMPARISONS)
    assert targets.refresh(two.fleet, placement_changed=True)
    total = two.hosts[1].memory_total_bytes
    two.report(two.hosts[1], used_bytes=(1 << 30) + total // 100)
    assert not targets.refresh(two.fleet, placement_changed=False)
    two.report(two.hosts[1], used_bytes=total)
    assert targets.refresh(two.fleet, placement_changed=False)
    assert targets_of(two, targets) == ()


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (PowerState.RUNNING, ()),
        (PowerState.PAUSED, ()),
        (PowerState.SHUT_OFF, ("kvm-02",)),
        (PowerState.ABSENT, ()),
    ],
)
def test_a_stopped_server_goes_where_a_running_one_does_not(two, make_host, state, names):
    two.add_host(make_host(2, microcode="0x1"))
    two.fleet.put_report("host-1", msgspec.structs.replace(two.server, state=state))
    targets = Targets(COMPARISONS)
    targets.refresh(two.fleet, placement_changed=True)
    assert targets_of(two, targets) == names


def test_tens_of_thousands_of_servers_share_few_answers(two, make_host, make_server, monkeypatch):
    for number in range(3, 23):
        host = make_host(number)
        two.add_host(host)
        two.report(host)
    sizes = (1 << 30, 2 << 30)
    states = (PowerState.RUNNING, PowerState.SHUT_OFF)
    servers = [
        make_server(
            f"web-{number}",
            memory_bytes=sizes[number % 2],
            state=states[number // 2 % 2],
            cpu_xml=f"<cpu><model>{number % 3}</model></cpu>",
        )
        for number in range(20_000)
    ]
    records = [two.add_record(server, two.hosts[0]) for server in servers]
    two.report(two.hosts[0], *servers)
    judged = 0
    fit = Targets._fit

    def counted(targets: Targets, move: Move):
        nonlocal judged
        judged += 1
        return fit(targets, move)

    monkeypatch.setattr(Targets, "_fit", counted)
    targets = Targets(COMPARISONS)
    targets.refresh(two.fleet, placement_changed=True)
    for record in records:
        assert len(targets.names(two.fleet, record)) == 21
    # two sizes, of running servers with three CPUs each and of stopped ones with none
    assert judged == 2 * 3 + 2


def test_a_paused_server_goes_where_a_running_one_does(two):
    two.fleet.put_report("host-1", msgspec.structs.replace(two.server, state=PowerState.PAUSED))
    targets = Targets(COMPARISONS)
    targets.refresh(two.fleet, placement_changed=True)
    assert targets_of(two, targets) == ("kvm-02",)


def test_only_what_will_run_takes_memory_and_only_local_disks_take_room(two, make_server):
    local = Disk(
        target="vdb", source="/l/x", pool_id="p", pool_name="local", capacity_bytes=7 << 30
    )
    two.server = make_server(disks=(*two.server.disks, local))
    two.add_record(two.server, two.hosts[0], migration_id="m1")
    for kind, auto_start, memory in (("live", False, 1), ("cold", False, 0), ("cold", True, 1)):
        moving = migration_of(
            two,
            MigrationState.PREPARING,
            kind=kind,
            options=MigrationOptions(auto_start=auto_start),
        )
        two.fleet.put_migration("m1", moving)
        state = {one.facts.host_id: one for one in host_states(two.fleet)}["host-2"]
        assert state.incoming_bytes == memory * two.server.memory_bytes
        assert state.incoming_pool_bytes == {"local": 7 << 30}


@pytest.mark.parametrize("wish", ["host-2", "kvm-02"])
def test_a_move_takes_memory_where_it_wishes_to_go_until_its_target_is_chosen(two, wish):
    two.add_record(two.server, two.hosts[0], migration_id="m1")
    begun = msgspec.structs.replace(
        migration_of(two, MigrationState.QUEUED),
        target_host_id="",
        options=MigrationOptions(prefer_host=wish),
    )
    two.fleet.put_migration("m1", begun)
    for wishes, moves in ((True, 1), (False, 0)):
        states = host_states(two.fleet, wishes=wishes)
        state = {one.facts.host_id: one for one in states}["host-2"]
        assert state.incoming_bytes == moves * two.server.memory_bytes
        assert state.incoming_moves == moves


def test_a_move_under_way_takes_memory_on_its_target(two):
    two.add_record(two.server, two.hosts[0], migration_id="m1")
    two.fleet.put_migration("m1", migration_of(two, MigrationState.PREPARING))
    state = {one.facts.host_id: one for one in host_states(two.fleet)}["host-2"]
    assert (state.incoming_bytes, state.incoming_moves) == (two.server.memory_bytes, 1)
    two.fleet.put_migration("m1", migration_of(two, MigrationState.SUCCEEDED))
    state = {one.facts.host_id: one for one in host_states(two.fleet)}["host-2"]
    assert (state.incoming_bytes, state.incoming_moves) == (0, 0)


def test_names_and_ids_find_hosts_and_servers(two):
    for wanted in ("web-1", "id-web-1"):
        assert find_server(two.fleet, wanted).server_id == "id-web-1"
    for wanted in ("kvm-02", "host-2"):
        assert find_host(two.fleet, wanted).host_id == "host-2"


@pytest.mark.parametrize("wanted", ["web", "WEB-1", "", "kvm-01"])
def test_an_unknown_server_is_named_in_the_sentence(two, wanted):
    with pytest.raises(GodwitError, match=f"no server .*'{wanted}'") as caught:
        find_server(two.fleet, wanted)
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_a_name_of_two_servers_is_refused_with_both_ids(two, make_server):
    two.add_record(make_server(server_id="id-twin"), two.hosts[1])
    with pytest.raises(GodwitError, match="id-twin and id-web-1") as caught:
        find_server(two.fleet, "web-1")
    assert caught.value.code is ErrorCode.AMBIGUOUS


@pytest.mark.parametrize(
    ("disks", "kind"),
    [
        ((), "none"),
        ((Disk(target="hdc", source="", device="cdrom"),), "none"),
        ((Disk(target="vda", source="a", shared=True),), "shared"),
        ((Disk(target="vda", source="a"),), "local"),
        ((Disk(target="vda", source="a"), Disk(target="vdb", source="b", shared=True)), "mixed"),
    ],
)
def test_storage_is_summed_up(disks, kind):
    assert storage_kind(disks) == kind
