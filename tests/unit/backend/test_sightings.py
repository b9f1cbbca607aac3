"""What follows from looks at leases, without etcd: who is late, and until when one may live."""

from backend.health.sightings import Sighting, Sightings


def look(at_s: float, left_s: int, *, lease_id: int = 1, granted_s: int = 10) -> Sighting:
    return Sighting(
        lease_id=lease_id,
        left_s=left_s,
        granted_s=granted_s,
        asked_s=at_s,
        answered_s=at_s + 0.25,
    )


def seen(*looks: Sighting) -> Sightings:
    sightings = Sightings()
    for one in looks:
        sightings.take("h", one)
    return sightings


def test_late_is_who_missed_two_refreshes_for_certain():
    for ttl_s in (2, 5, 10, 30):
        refresh_s = max(0.5, ttl_s / 6)
        late = [left for left in range(ttl_s) if look(0, left, granted_s=ttl_s).late]
        assert late == list(range(len(late)))
        assert late, "late must be seen before lost"
        # the most that it can really have left is under what one has after two that did not come
        assert all(left + 1 <= ttl_s - 2 * refresh_s for left in late)


def test_a_lease_that_is_gone_is_not_late():
    assert not look(0, -1).late


def test_a_living_lease_bounds_nothing():
    assert seen(look(100, 9)).bound_s("h") is None
    assert seen().bound_s("h") is None


def test_a_lease_that_runs_out_under_our_eyes_bounds_by_its_last_look():
    sightings = seen(*(look(100 + n, 3 - n) for n in range(4)), look(104, -1))
    assert sightings.bound_s("h") == 103.25 + 0 + 1


def test_the_bound_never_comes_earlier_when_a_member_is_behind():
    sightings = seen(look(100, 9), look(101, 2), look(102, 1), look(103, 0), look(104, -1))
    assert sightings.bound_s("h") == 100.25 + 9 + 1


def test_a_lease_that_was_revoked_may_have_been_refreshed_a_moment_before():
    assert seen(look(100, 9), look(101, -1)).bound_s("h") == 101.25 + 10
    assert seen(look(100, 2), look(101, -1)).bound_s("h") == 101.25 + 10


def test_a_lease_that_ended_while_nobody_looked_may_have_been_refreshed_meanwhile():
    assert seen(look(100, 0), look(120, -1)).bound_s("h") == 120.25 + 10


def test_a_lease_that_was_never_seen_alive_counts_from_when_it_was_seen_gone():
    assert seen(look(100, -1)).bound_s("h") == 100.25 + 10
    sightings = seen()
    sightings.take_absent("h", 10, 50.0)
    assert sightings.bound_s("h") == 60.0


def test_a_new_life_begins_anew_and_keeps_what_the_old_one_bound():
    sightings = seen(look(100, 9), look(101, -1), look(102, 9, lease_id=2))
    assert sightings.bound_s("h") is None
    sightings.take("h", look(103, 0, lease_id=2))
    sightings.take("h", look(104, -1, lease_id=2))
    assert sightings.bound_s("h") == 102.25 + 9 + 1


def test_who_has_much_left_is_left_alone_until_he_could_be_late():
    sightings = seen(look(100, 29, granted_s=30))
    first_late_s = next(at for at in range(100, 140) if sightings.due({"h": 1}, at))
    assert first_late_s > 105
    assert look(first_late_s, 29 - (first_late_s - 100) + 1, granted_s=30).late is False


def test_who_is_late_is_looked_at_each_time():
    sightings = seen(look(100, 4))
    assert sightings.due({"h": 1}, 101.0) == {"h": 1}


def test_a_lease_whose_key_is_gone_is_looked_at_at_once_until_it_is_gone_too():
    sightings = seen(look(100, 9))
    assert sightings.due({}, 100.1) == {"h": 1}
    sightings.take("h", look(100.1, -1))
    assert sightings.due({}, 101.0) == {}


def test_another_lease_of_the_same_host_is_looked_at_at_once():
    assert seen(look(100, 9)).due({"h": 2}, 100.1) == {"h": 2}


def test_hosts_that_are_removed_are_forgotten():
    sightings = seen(look(100, 9), look(101, -1))
    sightings.forget({})
    assert sightings.bound_s("h") is None
    assert sightings.due({}, 200) == {}
