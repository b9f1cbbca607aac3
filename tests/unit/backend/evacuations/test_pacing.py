"""Who may begin: the rules of the pace, each alone, and all of them on fleets made up at random."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.evacuations.timing.pacing import (
    AT_ONCE_IN_THE_FLEET,
    PREPARED_AT_ONCE,
    Link,
    Links,
    Moving,
    Pace,
    Waiting,
    held_back,
    pace,
    still_sending,
    streams,
)
from wire.forecast import Ease, LinkRate

MB = 1_000_000
LEAD_S = 1.5
EASY, HEAVY, STUCK = Ease.EASY, Ease.HEAVY, Ease.STUCK


def rate(link: int, stream: int, *, measured: bool = True) -> LinkRate:
    return LinkRate(
        bytes_per_s=link * MB, stream_bytes_per_s=stream * MB, measured_at_ms=1 if measured else 0
    )


def waiting(name: str, ease: Ease = EASY, *, source="a", target="x", **changes: object) -> Waiting:
    one = Waiting(
        server_id=name, server_name=name, source_host_id=source, target_host_id=target, ease=ease
    )
    return msgspec.structs.replace(one, **changes)


def moving(
    name: str, left_s: float | None = 60.0, *, source="a", target="x", **changes: object
) -> Moving:
    one = Moving(server_name=name, source_host_id=source, target_host_id=target, left_s=left_s)
    return msgspec.structs.replace(one, **changes)


def links(link: int = 47, stream: int = 47, hosts: str = "abcxyz") -> Links:
    each = Link(rate=rate(link, stream))
    return Links(out=dict.fromkeys(hosts, each), into=dict.fromkeys(hosts, each))


def paced(wanted: list[Waiting], under_way: list[Moving], known: Links | None = None) -> Pace:
    return pace(wanted, under_way, known or links(), lead_s=LEAD_S)


def begun(wanted: list[Waiting], under_way: list[Moving], known: Links | None = None) -> list[str]:
    return list(paced(wanted, under_way, known).begin)


@pytest.mark.parametrize(
    ("link", "stream", "count"),
    [
        (47, 47, 1),
        (47, 44, 1),
        (50, 44, 2),
        (100, 50, 2),
        (100, 30, 4),
        (1250, 400, 4),
        (47, 60, 1),
    ],
)
def test_so_many_streams_share_a_link_as_fill_it(link, stream, count):
    assert streams(Link(rate=rate(link, stream)), 0) == count
    wanted = [waiting(f"s{number}", target=f"t{number}") for number in range(9)]
    known = Links(out={"a": Link(rate=rate(link, stream))})
    assert len(begun(wanted, [], known)) == count


def test_behind_the_first_on_a_link_that_nobody_knows_one_is_prepared_and_held_back():
    assert streams(Link(), 0) == 1
    wanted = [waiting("s1"), waiting("s2", target="y"), waiting("s3", target="z")]
    assert begun(wanted, [], Links()) == ["s1", "s2"]
    assert held_back([moving("s1", None)], "a", "y", Links())
    assert held_back([moving("s1", None, source="b")], "a", "x", Links())
    assert not held_back([moving("s1", None, source="b")], "a", "y", Links())
    assert not held_back([moving("s1", 0.0)], "a", "y", Links())
    assert not held_back([moving("s1", None, sends=False)], "a", "y", Links()), (
        "only its definition"
    )
    assert not held_back([moving("s1", None, source="b", target="")], "a", "", Links())
    assert not held_back([moving("s1", None)], "a", "y", links())


def test_nothing_is_prepared_where_a_cap_hides_what_the_link_carries():
    wanted = [waiting("s1"), waiting("s2", target="y"), waiting("s3", target="z")]
    capped = Link(cap_bytes_per_s=9 * MB, least_share_bytes_per_s=MB)
    assert begun(wanted, [], Links(out={"a": capped})) == ["s1"]


def test_nobody_is_held_back_for_one_that_cannot_show_its_link():
    assert not held_back([moving("s1", None, shows_link=False)], "a", "y", Links())
    assert held_back([moving("s1", None, shows_link=False, heavy=True)], "a", "y", Links())


def test_a_rate_that_only_the_card_tells_is_believed_step_by_step():
    card = rate(1250, 47, measured=False)
    assert streams(Link(rate=card), 0) == 1
    assert streams(Link(rate=card, sending_bytes_per_s=46 * MB), 1) == 2
    # two that together get no more than one did have filled the link, and so would one
    assert streams(Link(rate=card, sending_bytes_per_s=47 * MB), 2) == 1
    assert streams(Link(rate=card, sending_bytes_per_s=94 * MB), 4) == 2
    assert streams(Link(rate=card, sending_bytes_per_s=93 * MB), 2) == 3
    # one that has not reached its rate yet tells nothing
    assert streams(Link(rate=card, sending_bytes_per_s=0), 1) == 1


def test_a_cap_makes_the_link_narrower_and_is_never_divided_below_what_can_be_capped():
    whole = Link(rate=rate(100, 25))
    assert streams(whole, 0) == 4
    assert streams(msgspec.structs.replace(whole, cap_bytes_per_s=50 * MB), 0) == 2
    tight = msgspec.structs.replace(whole, cap_bytes_per_s=3 * MB, least_share_bytes_per_s=2 * MB)
    assert streams(tight, 0) == 1


def test_a_move_that_is_nearly_through_does_not_count():
    assert begun([waiting("next")], [moving("now", LEAD_S + 0.1)]) == []
    assert begun([waiting("next")], [moving("now", LEAD_S)]) == ["next"]
    assert begun([waiting("next")], [moving("now", None)]) == []


def test_but_the_next_one_that_was_begun_for_it_does():
    under_way = [moving("now", 0.5), moving("next", 4.0, preparing=True)]
    assert begun([waiting("third")], under_way) == []


def test_those_that_share_a_link_slow_each_other_and_so_are_not_through_so_soon():
    """Each would be through alone: together they send for longer than the next one prepares."""
    each = LEAD_S * 0.6
    assert begun([waiting("next")], [moving("a", each)]) == ["next"]
    assert begun([waiting("next")], [moving("a", each), moving("b", each)]) == []
    # where two fill the link, two do not slow each other
    known = links(94, 47)
    assert begun([waiting("next")], [moving("a", each), moving("b", each)], known) == ["next"]


def test_what_is_prepared_takes_nothing_of_the_link_before_it_sends():
    now, soon = moving("now", 1.0), moving("soon", 1.4, prepares_s=1.0, preparing=True)
    assert still_sending([now, soon], 1, 1.5) == []
    # the first half of a second is shared
    assert still_sending([now, msgspec.structs.replace(soon, prepares_s=0.5)], 1, 1.5) == [
        msgspec.structs.replace(soon, prepares_s=0.5)
    ]


@pytest.mark.parametrize(
    ("heavy", "held"),
    [
        (moving("h", 0.5, heavy=True), True),
        (moving("h", None, heavy=True), True),
        (moving("h", None, heavy=True, target="y"), True),
        (moving("h", None, heavy=True, source="b"), True),
        (moving("h", None, heavy=True, source="b", target="y"), False),
        # it switches over, or waits for a host
        (moving("h", 0.0, heavy=True), False),
        (moving("h", None, heavy=True, stalled=True), False),
        (moving("h", None), False),
    ],
)
def test_who_begins_before_a_heavy_one_is_through_leaves_it_the_link(heavy, held):
    assert held_back([heavy], "a", "x", links()) is held


def test_small_ones_follow_one_another_as_fast_as_the_link_takes_them():
    """One that takes less to send than to prepare lets the next begin before it sends itself."""
    begun_at_s = []
    under_way: list[tuple[float, Moving]] = []
    left = [waiting(f"s{number}", target=f"t{number}") for number in range(6)]
    now_s = 0.0
    while left and now_s < 10:
        active = [
            msgspec.structs.replace(
                one,
                prepares_s=max(0.0, LEAD_S - (now_s - since_s)),
                left_s=max(0.0, LEAD_S + 0.25 - (now_s - since_s)),
            )
            for since_s, one in under_way
            if now_s - since_s < LEAD_S + 0.25
        ]
        if begun(left[:1], active):
            under_way.append((now_s, moving(left[0].server_name, preparing=True)))
            begun_at_s.append(now_s)
            del left[0]
        now_s += 0.05
    gaps = [later - earlier for earlier, later in pairwise(begun_at_s)]
    assert gaps
    assert all(0.2 <= gap <= 0.36 for gap in gaps), begun_at_s


def test_a_heavy_one_begins_alone_on_both_links():
    assert begun([waiting("h", HEAVY)], []) == ["h"]
    assert begun([waiting("h", HEAVY)], [moving("s", source="a", target="y")]) == []
    assert begun([waiting("h", HEAVY)], [moving("s", source="b", target="x")]) == []
    assert begun([waiting("h", HEAVY)], [moving("s", source="b", target="y")]) == ["h"]
    two = [waiting("h1", HEAVY), waiting("h2", HEAVY, target="y")]
    assert begun(two, [], links(400, 40)) == ["h1"]


def test_nothing_joins_a_heavy_one():
    heavy = moving("h", heavy=True)
    known = links(400, 40)
    assert begun([waiting("s", target="y")], [heavy], known) == []
    assert begun([waiting("s", source="b")], [heavy], known) == []
    assert begun([waiting("s", source="b", target="y")], [heavy], known) == ["s"]


def test_what_sends_nothing_goes_beside_a_heavy_one():
    under_way = [moving("h", heavy=True)]
    assert begun([waiting("definition", sends=False)], under_way) == ["definition"]
    assert begun([waiting("h2", HEAVY)], [moving("r", sends=False)]) == ["h2"]


def test_the_link_drains_for_a_heavy_one_that_comes_first():
    wanted = [waiting("h", HEAVY), waiting("s1"), waiting("s2", source="b", target="y")]
    found = paced(wanted, [moving("now")], links(400, 40))
    assert found.begin == ("s2",)
    assert found.waits["h"] == "it needs the whole link, and now is being sent"
    assert found.waits["s1"] == "one that needs the whole link comes first"


def test_both_links_are_kept_for_a_heavy_one_that_waits_for_one_of_them():
    """Else its source is busy again whenever its target is free, and it goes last."""
    wanted = [
        waiting("h", HEAVY),
        waiting("s", target="y"),
        waiting("t", source="c"),
        waiting("h2", HEAVY, target="y"),
        waiting("u", source="c", target="z"),
    ]
    under_way = [moving("now", source="b", target="x")]
    assert begun(wanted, under_way, links(400, 40)) == ["u"]


def test_links_are_kept_for_a_heavy_one_that_waits_for_something_else():
    under_way = [
        moving(f"p{number}", source=f"h{number}", preparing=True, sends=False)
        for number in range(PREPARED_AT_ONCE)
    ]
    assert begun([waiting("h", HEAVY), waiting("s", target="y")], under_way) == []


def test_a_card_is_not_believed_more_with_each_one_that_is_nearly_through():
    """Else each that is nearly through lets one more begin than it makes room for."""
    card = Link(rate=rate(1250, 47, measured=False), sending_bytes_per_s=48 * MB)
    known = Links(out={"a": card})
    under_way = [moving("now"), moving("soon", LEAD_S / 2)]
    wanted = [waiting("s", target="y"), waiting("t", target="z")]
    assert begun(wanted, under_way, known) == []
    assert begun(wanted, [moving("soon", LEAD_S / 2)], known) == ["s", "t"]


def test_a_stuck_one_waits_for_its_lever_and_holds_up_nobody():
    wanted = [waiting("w", STUCK, lever="a pause of 900 ms would do"), waiting("s")]
    found = paced(wanted, [])
    assert found.begin == ("s",)
    assert found.waits == {"w": "a pause of 900 ms would do"}


def test_a_target_prepares_only_so_many_at_once():
    under_way = [
        moving(f"p{number}", source=f"h{number}", preparing=True, sends=False)
        for number in range(PREPARED_AT_ONCE)
    ]
    assert begun([waiting("s")], under_way) == []
    assert begun([waiting("s", target="y")], under_way) == ["s"]
    assert begun([waiting("s", sends=False)], under_way[1:]) == ["s"]


def test_a_target_that_several_hosts_send_to_counts_all_of_them():
    known = Links(
        out=dict.fromkeys("abc", Link(rate=rate(47, 47))),
        into={"x": Link(rate=rate(94, 47))},
    )
    wanted = [waiting(f"s-{source}", source=source) for source in "abc"]
    assert begun(wanted, [], known) == ["s-a", "s-b"]


def test_the_fleet_has_a_limit():
    under_way = [
        moving(f"m{number}", source=f"h{number}", target=f"t{number}")
        for number in range(AT_ONCE_IN_THE_FLEET)
    ]
    found = paced([waiting("s")], under_way)
    assert found.begin == ()
    assert found.waits["s"].startswith(f"{AT_ONCE_IN_THE_FLEET} servers of the fleet")
    assert begun([waiting("s")], under_way[1:]) == ["s"]


def test_what_stalls_takes_nothing_from_others():
    stalled = moving("cut", heavy=True, stalled=True)
    assert begun([waiting("s", target="y")], [stalled]) == ["s"]


EASES = st.sampled_from([EASY, EASY, HEAVY, STUCK])
HOSTS = st.sampled_from("abc")
TARGETS = st.sampled_from("xyz")


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Waiting], list[Moving], Links]:
    wanted = [
        waiting(
            f"s{number}",
            draw(EASES),
            source=draw(HOSTS),
            target=draw(TARGETS),
            sends=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 12)))
    ]
    under_way = [
        moving(
            f"m{number}",
            draw(st.none() | st.floats(0, 30)),
            source=draw(HOSTS),
            target=draw(TARGETS),
            heavy=draw(st.booleans()),
            preparing=draw(st.booleans()),
            stalled=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 6)))
    ]
    known = links(draw(st.integers(1, 400)), draw(st.integers(1, 100)))
    return wanted, under_way, known


@given(fleets())
def test_no_fleet_breaks_a_rule(fleet):
    wanted, under_way, known = fleet
    found = paced(wanted, under_way, known)
    names = {one.server_id: one for one in wanted}
    assert set(found.begin) | set(found.waits) == set(names)
    assert not set(found.begin) & set(found.waits)
    assert all(found.waits.values())
    chosen = [names[one] for one in found.begin]
    assert all(one.ease is not STUCK for one in chosen)
    sending = [one for one in chosen if one.sends]
    counted = [
        one
        for one in under_way
        if not one.stalled and one.sends and (one.left_s is None or one.left_s > LEAD_S)
    ]
    for host in "abcxyz":
        new = [one for one in sending if host in {one.source_host_id, one.target_host_id}]
        old = [one for one in counted if host in {one.source_host_id, one.target_host_id}]
        if any(one.ease is HEAVY for one in new):
            assert len(new) + len(old) == 1
        if new:
            assert not any(one.heavy for one in old)
            assert (
                len(new) + len(old) <= streams(known.out[host], len(old)) + known.out[host].unseen
            )


@given(fleets())
def test_with_nothing_under_way_the_first_that_can_go_goes(fleet):
    wanted, _, known = fleet
    able = [one.server_id for one in wanted if one.ease is not STUCK]
    assert list(paced(wanted, [], known).begin[:1]) == able[:1]


@given(fleets())
def test_whatever_waits_it_is_begun_once_all_that_moves_has_ended(fleet):
    """Nothing is starved: begin, let all end, begin again, until only stuck ones are left."""
    wanted, under_way, known = fleet
    for _ in range(len(wanted) + 1):
        found = paced(wanted, under_way, known)
        wanted = [one for one in wanted if one.server_id not in found.begin]
        under_way = []
    assert all(one.ease is STUCK for one in wanted)
