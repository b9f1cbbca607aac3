"""Events are numbered, kept for a while, and resumed exactly where a console left."""

import asyncio

import msgspec
import pytest

from backend.events import QUEUE_SIZE, RING_SIZE, Broadcaster, Listener
from wire.console import ServerRemoved


@pytest.fixture
def broadcaster() -> Broadcaster:
    return Broadcaster("start")


def publish(broadcaster: Broadcaster, *numbers: int) -> None:
    for number in numbers:
        broadcaster.publish("server_gone", ServerRemoved(server_id=str(number)))


def ids(events: object) -> list[str]:
    return [msgspec.json.decode(event.data)["server_id"] for event in events]


def test_a_console_that_comes_back_gets_exactly_what_it_missed(broadcaster):
    publish(broadcaster, 1, 2)
    left_at = broadcaster.last_event_id
    publish(broadcaster, 3, 4)
    assert ids(broadcaster.since(left_at)) == ["3", "4"]


def test_a_console_that_missed_nothing_gets_nothing(broadcaster):
    publish(broadcaster, 1)
    assert ids(broadcaster.since(broadcaster.last_event_id)) == []


def test_the_id_of_a_first_snapshot_can_be_resumed(broadcaster):
    at_first = broadcaster.last_event_id
    publish(broadcaster, 1)
    assert ids(broadcaster.since(at_first)) == ["1"]


@pytest.mark.parametrize("unknown", ["", "other-1", "start-", "start-x", "start-99", "start--1"])
def test_an_id_that_is_not_ours_asks_for_a_snapshot(broadcaster, unknown):
    publish(broadcaster, 1)
    assert broadcaster.since(unknown) is None


def test_an_id_that_fell_out_of_the_ring_asks_for_a_snapshot(broadcaster):
    at_first = broadcaster.last_event_id
    publish(broadcaster, *range(RING_SIZE))
    assert broadcaster.since(at_first) is not None
    publish(broadcaster, 0)
    assert broadcaster.since(at_first) is None


async def test_each_listener_gets_each_event_in_order(broadcaster):
    one, other = broadcaster.listen(), broadcaster.listen()
    publish(broadcaster, 1, 2)
    for listener in (one, other):
        assert ids([await listener.next(1), await listener.next(1)]) == ["1", "2"]


async def test_waiting_ends_when_an_event_comes(broadcaster):
    listener = broadcaster.listen()
    waiting = asyncio.create_task(listener.next(30))
    await asyncio.sleep(0)
    publish(broadcaster, 7)
    assert ids([await waiting]) == ["7"]


async def test_waiting_ends_without_an_event(broadcaster):
    assert await broadcaster.listen().next(0.01) is None


async def test_a_slow_listener_is_dropped_and_the_others_go_on(broadcaster):
    slow = broadcaster.listen()
    publish(broadcaster, *range(QUEUE_SIZE))
    quick = broadcaster.listen()
    assert not slow.dropped
    publish(broadcaster, 1, 2)
    assert slow.dropped
    assert await slow.next(1) is None
    assert ids([await quick.next(1), await quick.next(1)]) == ["1", "2"]


async def test_closing_ends_every_listener(broadcaster):
    listener: Listener = broadcaster.listen()
    waiting = asyncio.create_task(listener.next(30))
    await asyncio.sleep(0)
    broadcaster.close()
    assert await waiting is None
    assert listener.dropped
