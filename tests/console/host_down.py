"""Fleets in which hosts are late, lost and dead: what pictures and tests of rescues are made of."""

from collections.abc import Callable
from typing import Any

import msgspec

from wire.console import FleetSnapshot
from wire.fleet import HostPolicy, HostStatus, HostView, RescuePriority
from wire.life import Fence, HealthValue
from wire.migration import Note
from wire.rescue import (
    EtcdMember,
    HealthReport,
    HostHealth,
    Incident,
    IncidentServer,
    IncidentState,
    RescueGuard,
    RescueState,
    Transition,
)

NOON_MS = 1_795_435_200_000
LOST_MS = NOON_MS - 42_300
DOWN = HostPolicy(auto_migrate_on_host_down=True)
BOTH = HostPolicy(auto_migrate_on_host_down=True, auto_migrate_on_host_shutdown=True)
PROOF = (
    "its last life was fenced by a watchdog, and the last lease that was read (10 s) has run out, "
    "with a guard of 3 s"
)
CUT_OFF = "2 of 4 hosts were lost or late together"

changed = msgspec.structs.replace


def make_health(host: HostView, **changed: object) -> HostHealth:
    """A host whose key is there with most of its lease left, unless told otherwise."""
    view = {
        "host_id": host.facts.host_id,
        "host_name": host.facts.name,
        "present": host.status is not HostStatus.OFFLINE,
        "left_s": None if host.status is HostStatus.OFFLINE else 9,
        "life": host.health or HealthValue(boot_id="b", epoch=3, ttl_s=10),
        "late": host.late,
        "dead": host.dead,
        "policy": host.policy,
        "transitions": (Transition(at_ms=NOON_MS - 3_600_000, text="present with epoch 3"),),
    }
    return HostHealth(**{**view, **changed})


def make_report(fleet: FleetSnapshot) -> HealthReport:
    """What etcd says of a fleet, by one member that leads."""
    return HealthReport(
        at_ms=NOON_MS,
        guard=fleet.status.rescue_guard,
        members=(
            EtcdMember(
                endpoint="10.77.1.2:2379",
                version="3.4.23",
                leader=True,
                raft_term=4,
                database_bytes=1_200_000,
            ),
        ),
        hosts=tuple(make_health(each) for each in fleet.hosts),
    )


def fenced(epoch: int = 3) -> HealthValue:
    return HealthValue(
        boot_id="5f1c6a9e-8f0b-4c66-9b0e-5c1d8d1c2a77",
        epoch=epoch,
        fence=Fence.WATCHDOG,
        ttl_s=10,
        watchdog_timeout_s=2,
    )


def unfenced(detail: str) -> HealthValue:
    return HealthValue(boot_id="b", epoch=12, fence_detail=detail, ttl_s=10)


def case(client: Any, **view: object) -> Incident:
    """kvm-04 lost its health key; six servers, each in another state."""
    host = client.fleet.hosts[3]

    def server(number: int, name: str, state: RescueState, **more: object) -> IncidentServer:
        return IncidentServer(
            server_id=f"7c1d0000-0000-4000-8000-0000000000{number:02d}",
            server_name=name,
            state=state,
            **more,
        )

    fields: dict[str, object] = {
        "incident_id": "9d20f1c4",
        "host_id": host.facts.host_id,
        "host_name": host.facts.name,
        "life": fenced(7),
        "state": IncidentState.RESCUING,
        "lost_at_ms": LOST_MS,
        "dead_at_ms": LOST_MS + 3_100,
        "proof": PROOF,
        "servers": (
            server(
                6,
                "mail-10",
                RescueState.RESCUED,
                priority=RescuePriority.HIGH,
                tries=1,
                migration_id="3f000003",
                target_host_name="kvm-01",
                running_at_ms=LOST_MS + 4_250,
            ),
            server(
                16,
                "mail-2",
                RescueState.RESCUED,
                tries=1,
                migration_id="3f000012",
                target_host_name="kvm-02",
                running_at_ms=LOST_MS + 6_900,
            ),
            server(
                17,
                "index-1",
                RescueState.STARTING,
                tries=1,
                migration_id="3f000013",
                target_host_name="kvm-01",
                reason="its new host was told to start it",
            ),
            server(
                18,
                "report-1",
                RescueState.WAITING,
                priority=RescuePriority.LOW,
                tries=2,
                reason="no host has 16 GiB of memory free: kvm-01 has 7.2 GiB, kvm-02 5.1 GiB",
            ),
            server(
                19,
                "cache-1",
                RescueState.SKIPPED,
                reason="vdb (/var/lib/libvirt/images/cache-1.img) is on local storage of kvm-04",
            ),
            server(20, "old-7", RescueState.SKIPPED, reason="it was stopped, and stays so"),
        ),
        "notes": (
            Note(at_ms=LOST_MS - 3_000, text="late: 3 s left of 10"),
            Note(at_ms=LOST_MS, text="the health key is gone"),
            Note(at_ms=LOST_MS + 3_100, text="counts as dead"),
            Note(at_ms=LOST_MS + 9_000, text="report-1 fits nowhere yet; it is tried again"),
        ),
        "first_running_at_ms": LOST_MS + 4_250,
        "last_running_at_ms": LOST_MS + 6_900,
    }
    return Incident(**{**fields, **view})


def _put(client: Any, incident: Incident, *, guard: RescueGuard, dead: bool) -> None:
    first, second, third, fourth = client.fleet.hosts
    hosts = (
        changed(first, health=fenced(), policy=BOTH),
        changed(second, health=fenced(5), policy=DOWN, late=True),
        changed(third, health=unfenced("no /dev/watchdog"), policy=DOWN),
        changed(
            fourth,
            policy=DOWN,
            dead=dead,
            incident_id=incident.incident_id,
            status_reason="its health key has been gone since 11:59:17",
        ),
    )
    status = changed(client.fleet.status, rescue_guard=guard)
    earlier = changed(
        incident,
        incident_id="9d1e77a0",
        host_id=first.facts.host_id,
        host_name="kvm-01",
        state=IncidentState.ENDED,
        lost_at_ms=LOST_MS - 90_000_000,
        dead_at_ms=0,
        proof="",
        servers=(changed(incident.servers[0], state=RescueState.RETURNED, running_at_ms=0),),
        notes=(),
        first_running_at_ms=0,
        last_running_at_ms=0,
        ended_at_ms=LOST_MS - 90_000_000 + 2_700,
    )
    mail = client.fleet.servers[5]
    servers = tuple(
        changed(
            mail,
            server_id=each.server_id,
            name=each.server_name,
            rescue_priority=each.priority,
            wanted_on=each.state is not RescueState.SKIPPED,
            status_reason="kvm-04 is down",
        )
        for each in incident.servers
        if each.server_id != mail.server_id
    )
    client.fleet = changed(
        client.fleet,
        servers=(*(changed(one, wanted_on=True) for one in client.fleet.servers), *servers),
        status=status,
        hosts=hosts,
        incidents=(incident, earlier),
    )


def _untouched(client: Any, reason: str) -> tuple[IncidentServer, ...]:
    """The servers of the case before any of them was started elsewhere."""
    skipped = RescueState.SKIPPED
    return tuple(
        changed(
            each,
            state=skipped if each.state is skipped else RescueState.WAITING,
            reason=each.reason if each.state is skipped else reason,
            target_host_name="",
            running_at_ms=0,
            tries=0,
            migration_id="",
        )
        for each in case(client).servers
    )


def rescuing(client: Any) -> None:
    """kvm-04 is dead, and its servers are on their way; kvm-02 is late."""
    _put(client, case(client), guard=RescueGuard(), dead=True)
    _report(client)


def proving(client: Any) -> None:
    """kvm-04 is lost, and may still run what it ran."""
    incident = case(
        client,
        life=unfenced("no /dev/watchdog"),
        state=IncidentState.PROVING,
        held_reason="kvm-04 had no watchdog (no /dev/watchdog): declare it off once it is",
        dead_at_ms=0,
        proof="",
        first_running_at_ms=0,
        last_running_at_ms=0,
        notes=(Note(at_ms=LOST_MS, text="the health key is gone"),),
    )
    servers = _untouched(client, "kvm-04 may still run it")
    _put(client, changed(incident, servers=servers), guard=RescueGuard(), dead=False)
    _report(client)


def storm(client: Any) -> None:
    """So many hosts were lost or late together that nothing is rescued unasked."""
    guard = RescueGuard(armed=False, reason=CUT_OFF, at_ms=LOST_MS)
    incident = case(
        client,
        state=IncidentState.HELD,
        held_reason=f"rescues are disarmed: {CUT_OFF}",
        servers=_untouched(client, "rescues are disarmed"),
        notes=(),
        first_running_at_ms=0,
        last_running_at_ms=0,
    )
    _put(client, incident, guard=guard, dead=True)
    _report(client)


def _report(client: Any) -> None:
    report = make_report(client.fleet)
    first, second, third, fourth = report.hosts
    late = Transition(at_ms=NOON_MS - 2_000, text="late: 3 s left of 10")
    members = (
        *report.members,
        changed(report.members[0], endpoint="10.77.1.3:2379", leader=False),
        EtcdMember(endpoint="10.77.1.4:2379", error="does not answer within 2 s"),
    )
    hosts = (
        first,
        changed(second, left_s=3, transitions=(*second.transitions, late)),
        third,
        make_health(
            client.fleet.hosts[3],
            life=client.fleet.incidents[0].life,
            transitions=(
                *fourth.transitions,
                Transition(at_ms=LOST_MS - 3_000, text="late: 3 s left of 10"),
                Transition(at_ms=LOST_MS, text="lost"),
            ),
        ),
    )
    client.report = changed(report, hosts=hosts, members=members)


SCENES: dict[str, Callable[[Any], None]] = {
    each.__name__: each for each in (rescuing, proving, storm)
}
