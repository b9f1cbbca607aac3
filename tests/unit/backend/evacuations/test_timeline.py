"""When moves begin and end: sharing, alone, prepared meanwhile, and never faster than the link."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.evacuations.timing.pacing import AT_ONCE_IN_THE_FLEET, PREPARED_AT_ONCE, filling
from backend.evacuations.timing.timeline import (
    Instant,
    Link,
    Links,
    Transfer,
    instants,
    spans,
)


def transfer(name: str, sent: float = 100.0, **changes: object) -> Transfer:
    values: dict[str, object] = {
        "server_id": name,
        "source_host_id": "s",
        "target_host_id": "t",
        "sent_bytes": sent,
        "bytes_per_s": 10.0,
    }
    return Transfer(**(values | changes))


def links(out: float = 10.0, count: int = 1, into: float = 1000.0, in_count: int = 9) -> Links:
    hosts = ("s", "s2", "t", "u")
    return Links(
        out={one: Link(bytes_per_s=out, streams=count) for one in hosts},
        into={one: Link(bytes_per_s=into, streams=in_count) for one in hosts},
    )


@pytest.mark.parametrize(
    ("link", "stream", "count"),
    [(10, 10, 1), (10, 0, 1), (10, 9.9, 1), (10, 5, 2), (10, 4, 3), (10, 20, 1), (10, 3.3, 3)],
)
def test_as_many_streams_as_fill_the_link(link, stream, count):
    assert filling(link, stream) == count


def test_one_after_the_other_where_one_fills_the_link():
    found = spans([[transfer("a"), transfer("b", 50.0)]], links())
    assert (found["a"].start_s, found["a"].end_s) == (0.0, pytest.approx(10.0))
    assert (found["b"].start_s, found["b"].end_s) == (pytest.approx(10.0), pytest.approx(15.0))


def test_two_share_a_link_that_takes_two_streams():
    found = spans([[transfer("a"), transfer("b")]], links(out=20.0, count=2))
    assert found["a"].end_s == found["b"].end_s == pytest.approx(10.0)


def test_a_shared_link_is_no_faster():
    found = spans([[transfer("a"), transfer("b")]], links(out=10.0, count=2))
    assert found["a"].end_s == found["b"].end_s == pytest.approx(20.0)


def test_a_heavy_one_waits_until_nothing_sends_and_nothing_joins_it():
    queue = [transfer("a"), transfer("heavy", alone=True), transfer("b")]
    found = spans([queue], links(out=20.0, count=2))
    assert found["heavy"].start_s == pytest.approx(found["a"].end_s)
    assert found["b"].start_s == pytest.approx(found["heavy"].end_s)


def test_nothing_joins_a_heavy_one_on_its_target_either():
    heavy = transfer("heavy", alone=True)
    other = transfer("b", source_host_id="s2")
    found = spans([[heavy], [other]], links())
    assert found["b"].start_s == pytest.approx(found["heavy"].end_s)


def test_the_next_one_is_prepared_while_the_present_one_sends():
    queue = [transfer(name, before_s=2.0, after_s=1.0) for name in "ab"]
    found = spans([queue], links())
    assert (found["a"].start_s, found["a"].end_s) == (0.0, pytest.approx(13.0))
    assert (found["b"].start_s, found["b"].end_s) == (pytest.approx(10.0), pytest.approx(23.0))


def test_a_target_prepares_two_at_a_time():
    queue = [transfer(name, sent=1.0, before_s=1.5) for name in "abcd"]
    found = spans([queue], links(count=9, out=1000.0))
    starts = [found[name].start_s for name in "abcd"]
    assert starts == [0.0, 0.0, pytest.approx(1.5), pytest.approx(1.5)]
    assert found["d"].end_s > 3.0


def test_on_a_link_that_nobody_has_seen_one_sends_and_one_more_is_prepared():
    unseen = Link(bytes_per_s=1000.0, unseen=True)
    to = {name: f"t{name}" for name in "abcd"}
    queue = [transfer(name, target_host_id=to[name], before_s=1.5) for name in "abcd"]
    found = spans([queue], Links(out={"s": unseen}, into={}))
    assert [found[name].start_s for name in "ab"] == [0.0, pytest.approx(10.0)]
    short = [transfer(name, 1.0, target_host_id=to[name], before_s=1.5) for name in "abcd"]
    found = spans([short], Links(out={"s": unseen}, into={}))
    assert [found[name].start_s for name in "ab"] == [0.0, pytest.approx(0.1)]
    assert found["c"].start_s == pytest.approx(1.6), "once the first one has sent everything"
    assert found["d"].start_s == pytest.approx(1.7), "and the second one"


def test_one_that_is_prepared_takes_nothing_of_the_link_yet():
    queue = [transfer("a"), transfer("b", before_s=5.0)]
    found = spans([queue], links(out=10.0, count=2))
    assert found["a"].end_s == pytest.approx(15.0)
    assert found["b"].end_s == pytest.approx(20.0)


def test_a_full_target_lets_the_next_one_go_to_another():
    queues = [
        [transfer("a")],
        [
            transfer("b", source_host_id="s2"),
            transfer("c", source_host_id="s2", target_host_id="u"),
        ],
    ]
    found = spans(queues, links(in_count=1))
    assert found["c"].start_s == 0.0
    assert found["b"].start_s == pytest.approx(10.0)


def test_what_takes_nothing_of_the_link_runs_side_by_side_within_limits():
    count = AT_ONCE_IN_THE_FLEET + 1
    moves = [
        Instant(server_id=str(number), target_host_id=f"t{number}", takes_s=3.0)
        for number in range(count)
    ]
    found = instants(moves)
    assert [found[str(number)].start_s for number in range(count)] == [0.0] * (count - 1) + [3.0]
    on_one = [
        Instant(server_id=str(number), target_host_id="t", takes_s=3.0)
        for number in range(PREPARED_AT_ONCE + 1)
    ]
    found = instants(on_one)
    starts = [found[one.server_id].start_s for one in on_one]
    assert starts == [0.0] * PREPARED_AT_ONCE + [3.0]


transfers = st.builds(
    transfer,
    st.uuids().map(str),
    st.floats(1.0, 1000.0),
    source_host_id=st.sampled_from(["s", "s2"]),
    target_host_id=st.sampled_from(["t", "u"]),
    bytes_per_s=st.floats(1.0, 20.0),
    before_s=st.floats(0.0, 5.0),
    after_s=st.floats(0.0, 5.0),
    alone=st.booleans(),
)


@given(
    st.lists(st.lists(transfers, max_size=6), min_size=1, max_size=3),
    st.floats(5.0, 20.0),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_every_move_ends_and_no_link_carries_more_than_it_can(queues, rate, count, in_count):
    found = spans(queues, links(out=rate, count=count, into=rate, in_count=in_count))
    listed = [one for queue in queues for one in queue]
    assert set(found) == {one.server_id for one in listed}
    for one in listed:
        span = found[one.server_id]
        takes_s = one.before_s + one.sent_bytes / min(one.bytes_per_s, rate) + one.after_s
        assert span.start_s >= 0
        assert span.end_s - span.start_s >= takes_s * 0.999 - 1e-3
    for source in ("s", "s2"):
        of_link = [one for one in listed if one.source_host_id == source]
        if of_link:
            last_s = max(found[one.server_id].end_s for one in of_link)
            assert last_s >= sum(one.sent_bytes for one in of_link) / rate * 0.999 - 1e-3
    for heavy in (one for one in listed if one.alone):
        assert not [
            other
            for other in listed
            if other is not heavy
            and (
                other.source_host_id == heavy.source_host_id
                or other.target_host_id == heavy.target_host_id
            )
            and _sends_with(found, heavy, other)
        ]


def _sends_with(found, one: Transfer, other: Transfer) -> bool:
    begin = max(found[each.server_id].start_s + each.before_s for each in (one, other))
    end = min(found[each.server_id].end_s - each.after_s for each in (one, other))
    return end - begin > 1e-3
