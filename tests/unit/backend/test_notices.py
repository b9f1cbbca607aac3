"""What people are told of an incident and of the guard: each turn once, in order, one sentence."""

from itertools import pairwise

import msgspec
import pytest

from backend.health.notices import NoticeEvent, of_guard, of_incident, summary
from wire.life import Fence, HealthValue
from wire.rescue import (
    Incident,
    IncidentServer,
    IncidentState,
    RescueGuard,
    RescueState,
)

LOST = Incident(
    incident_id="i1",
    host_id="h1",
    host_name="kvm-03",
    life=HealthValue(boot_id="b", epoch=7, fence=Fence.WATCHDOG, ttl_s=10),
    lost_at_ms=1_000_000,
)


def changed(incident: Incident = LOST, **changes: object) -> Incident:
    return msgspec.structs.replace(incident, **changes)


def server(number: int, state: RescueState, running_at_ms: int = 0) -> IncidentServer:
    return IncidentServer(
        server_id=f"s{number}",
        server_name=f"web-{number}",
        state=state,
        running_at_ms=running_at_ms,
    )


DEAD = changed(dead_at_ms=1_001_000, proof="the lease has run out", state=IncidentState.RESCUING)


def events(before: Incident | None, now: Incident) -> list[NoticeEvent]:
    return [one.event for one in of_incident(before, now)]


def test_a_case_is_told_turn_by_turn():
    rescued = changed(DEAD, state=IncidentState.RESCUED)
    ended = changed(rescued, state=IncidentState.ENDED, ended_at_ms=1_100_000)
    turns = [None, LOST, DEAD, rescued, ended]
    told = [events(before, now) for before, now in pairwise(turns)]
    assert told == [
        [NoticeEvent.HOST_LOST],
        [NoticeEvent.HOST_DEAD, NoticeEvent.RESCUE_BEGAN],
        [NoticeEvent.RESCUE_ENDED],
        [NoticeEvent.HOST_BACK],
    ]


def test_a_host_that_was_removed_is_not_told_to_be_back():
    ended = changed(state=IncidentState.ENDED, held_reason="etcd keeps no facts of kvm-03 any more")
    (told,) = of_incident(LOST, ended)
    assert told.event is NoticeEvent.RESCUE_HELD
    assert ended.held_reason in told.text


def test_turns_that_came_together_are_all_told_in_order():
    assert events(None, DEAD) == [
        NoticeEvent.HOST_LOST,
        NoticeEvent.HOST_DEAD,
        NoticeEvent.RESCUE_BEGAN,
    ]


def test_what_stays_is_not_told_again():
    assert events(DEAD, changed(DEAD, servers=(server(1, RescueState.STARTING),))) == []


def test_a_held_case_tells_why_and_tells_another_reason_anew():
    held = changed(state=IncidentState.HELD, held_reason="kvm-03 is unfenced")
    (notice,) = of_incident(LOST, held)
    assert notice.event is NoticeEvent.RESCUE_HELD
    assert "kvm-03 is unfenced" in notice.text
    other = changed(held, held_reason="rescues are disarmed")
    (notice,) = of_incident(held, other)
    assert "rescues are disarmed" in notice.text
    assert of_incident(other, changed(other, servers=(server(1, RescueState.WAITING),))) == []


def test_each_notice_is_one_line_and_carries_the_incident():
    for notice in of_incident(None, DEAD):
        assert notice.incident == DEAD
        assert "kvm-03" in notice.text
        assert "\n" not in notice.text


def test_the_report_counts_servers_and_tells_the_times():
    report = changed(
        DEAD,
        servers=(
            server(1, RescueState.RESCUED, 1_012_100),
            server(2, RescueState.RESCUED, 1_015_200),
            server(3, RescueState.SKIPPED),
        ),
        first_running_at_ms=1_012_100,
        last_running_at_ms=1_015_200,
    )
    assert summary(report) == (
        "of 3 servers of kvm-03: 2 brought elsewhere, 1 skipped; the first ran 12.1 s after kvm-03 "
        "was lost, the last 15.2 s"
    )
    assert summary(LOST) == "no servers belonged to kvm-03"


@pytest.mark.parametrize(
    ("now", "event", "words"),
    [
        (
            RescueGuard(armed=False, reason="3 of 5 hosts were lost together"),
            NoticeEvent.STORM_GUARD_TRIPPED,
            "3 of 5 hosts",
        ),
        (
            RescueGuard(armed=False, by="alice", reason="works on the switch"),
            NoticeEvent.RESCUES_DISARMED,
            "alice has disarmed rescues: works on the switch",
        ),
    ],
)
def test_the_guard_is_told_when_it_turns(now, event, words):
    (notice,) = of_guard(RescueGuard(), now)
    assert (notice.event, notice.incident) == (event, None)
    assert words in notice.text
    assert of_guard(now, now) == []
    (notice,) = of_guard(now, RescueGuard(by="bob"))
    assert (notice.event, notice.text) == (NoticeEvent.RESCUES_ARMED, "bob has armed rescues")
