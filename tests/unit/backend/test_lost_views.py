"""What consoles are told of hosts that die: late, dead, shutting down, incidents, priorities."""

import msgspec
import pytest

from backend.events import Broadcaster, Listener
from backend.migrations.jobs import Jobs
from backend.publish import Publisher
from wire.fleet import HostPolicy, HostView, RescuePriority, ServerPolicy
from wire.life import Fence, HealthValue, HostShutdown
from wire.rescue import Incident, IncidentState, RescueGuard

LIFE = HealthValue(boot_id="b", epoch=3)


class NoTargets:
    answered = 0


@pytest.fixture
def broadcaster() -> Broadcaster:
    return Broadcaster("1")


@pytest.fixture
def publisher(two, broadcaster) -> Publisher:
    publisher = Publisher(two.fleet, Jobs(), broadcaster, NoTargets())
    publisher.flush()
    return publisher


@pytest.fixture
def listener(publisher, broadcaster) -> Listener:
    return broadcaster.listen()


def incident(**changes: object) -> Incident:
    values = {
        "incident_id": "i1",
        "host_id": "host-1",
        "host_name": "kvm-01",
        "life": LIFE,
        "lost_at_ms": 1,
    }
    return Incident(**(values | changes))


async def told(publisher: Publisher, listener: Listener) -> list[str]:
    """Names of the events that a flush publishes."""
    publisher.flush()
    names = []
    while (event := await listener.next(0.01)) is not None:
        names.append(event.name)
    return sorted(names)


def seen(publisher: Publisher) -> HostView:
    return publisher.hosts["host-1"]


async def test_a_late_host_is_told_once_and_once_when_it_is_in_time(two, publisher, listener):
    two.fleet.put_late("host-1", "3 s left of 10")
    two.fleet.put_late("host-1", "2 s left of 10")
    assert await told(publisher, listener) == ["host"]
    assert seen(publisher).late
    two.fleet.put_late("host-1", "1 s left of 10")
    assert await told(publisher, listener) == []
    two.fleet.put_late("host-1", None)
    assert await told(publisher, listener) == ["host"]
    assert not seen(publisher).late


async def test_a_lost_host_is_not_late(two, publisher):
    two.fleet.put_late("host-1", "0 s left of 10")
    two.fleet.put_health("host-1", None)
    two.fleet.put_late("host-1", "0 s left of 10")
    publisher.flush()
    assert not seen(publisher).late
    assert [one.text for one in two.fleet.transitions.of("host-1")][-1] == "lost"


async def test_a_host_is_dead_when_its_open_incident_says_so(two, publisher, listener):
    two.fleet.put_health("host-1", None)
    two.fleet.put_life("host-1", LIFE)
    two.fleet.put_incident("i1", incident())
    assert "incident" in await told(publisher, listener)
    assert (seen(publisher).dead, seen(publisher).incident_id) == (False, "i1")
    two.fleet.put_incident("i1", incident(dead_at_ms=5))
    await told(publisher, listener)
    assert seen(publisher).dead
    two.fleet.put_incident("i1", incident(dead_at_ms=5))
    assert await told(publisher, listener) == [], "nothing has changed"
    two.fleet.put_health("host-1", msgspec.structs.replace(LIFE, epoch=4))
    two.fleet.put_incident("i1", incident(dead_at_ms=5, state=IncidentState.ENDED))
    await told(publisher, listener)
    assert (seen(publisher).dead, seen(publisher).incident_id) == (False, "")


async def test_newest_incidents_come_first_and_open_ones_are_never_left_out(two, publisher):
    two.fleet.put_incident("open", incident(incident_id="open", lost_at_ms=0))
    for number in range(1, 100):
        ended = incident(incident_id=f"i{number}", lost_at_ms=number, state=IncidentState.ENDED)
        two.fleet.put_incident(ended.incident_id, ended)
    publisher.flush()
    listed = [one.incident_id for one in publisher.newest_incidents()]
    assert listed[:2] == ["i99", "i98"]
    assert listed[-1] == "open"
    assert len(listed) < 100


async def test_a_host_shuts_down_only_in_the_life_that_said_so(two, publisher):
    word = HostShutdown(boot_id="b", asked_at_ms=1, within_s=60)
    two.fleet.put_shutdown("host-1", word)
    publisher.flush()
    assert seen(publisher).shutting_down
    two.fleet.put_health("host-1", HealthValue(boot_id="next", epoch=4))
    publisher.flush()
    assert not seen(publisher).shutting_down


async def test_the_guard_is_told_as_a_status(two, publisher, listener):
    two.fleet.put_guard(RescueGuard(armed=False))
    assert await told(publisher, listener) == ["status"]
    two.fleet.put_guard(RescueGuard(armed=False))
    assert await told(publisher, listener) == []


@pytest.mark.parametrize("wanted_on", [True, False])
async def test_a_server_of_a_lost_host_tells_whether_it_is_wanted_on(two, publisher, wanted_on):
    record = two.fleet.records["id-web-1"]
    two.fleet.put_record("id-web-1", msgspec.structs.replace(record, wanted_on=wanted_on))
    two.fleet.put_health(record.owner.host_id, None)
    publisher.flush()
    assert publisher.servers["id-web-1"].wanted_on is wanted_on


async def test_a_priority_is_shown_and_told(two, publisher, listener):
    two.fleet.put_server_policy("id-web-1", ServerPolicy(rescue_priority=RescuePriority.LOW))
    assert await told(publisher, listener) == ["server"]
    assert publisher.servers["id-web-1"].rescue_priority is RescuePriority.LOW


async def test_rescue_can_be_wanted_of_a_host_without_a_watchdog(two, publisher):
    unfenced = HealthValue(boot_id="b", epoch=3, fence_detail="no /dev/watchdog")
    two.fleet.put_health("host-1", unfenced)
    two.fleet.put_policy("host-1", HostPolicy(auto_migrate_on_host_down=True))
    publisher.flush()
    view = seen(publisher)
    assert view.policy.auto_migrate_on_host_down
    assert view.health is not None
    assert (view.health.fence, view.health.fence_detail) == (Fence.NONE, "no /dev/watchdog")


async def test_transitions_tell_when_the_fence_is_armed_and_keep_the_latest(two):
    fleet = two.fleet
    fleet.put_health("host-1", msgspec.structs.replace(LIFE, fence=Fence.WATCHDOG))
    assert fleet.transitions.of("host-1")[-1].text == "fenced by its watchdog, armed"
    for epoch in range(10, 40):
        fleet.put_health("host-1", msgspec.structs.replace(LIFE, epoch=epoch))
    texts = [one.text for one in fleet.transitions.of("host-1")]
    assert texts == [f"back with epoch {epoch}, not fenced" for epoch in range(20, 40)]
