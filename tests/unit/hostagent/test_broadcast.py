"""A listener who falls behind starts over; nobody else notices."""

import msgspec

from hostagent.broadcast import Broadcast
from wire.agent import AgentSnapshot, ServerGone


async def test_snapshot_first_and_then_every_event_in_order(make_facts):
    broadcast = Broadcast(lambda: AgentSnapshot(facts=make_facts(), servers=(), jobs=()))
    stream = broadcast.listen()
    assert (await anext(stream)).name == "snapshot"
    for number in range(3):
        broadcast.publish(ServerGone(server_id=str(number)))
    heard = [await anext(stream) for _ in range(3)]
    assert [event.name for event in heard] == ["server_gone"] * 3
    ids = [msgspec.json.decode(event.data)["server_id"] for event in heard]
    assert ids == ["0", "1", "2"]
    await stream.aclose()


async def test_who_falls_behind_gets_a_snapshot_and_the_events_after_it(make_facts):
    broadcast = Broadcast(lambda: AgentSnapshot(facts=make_facts(), servers=(), jobs=()))
    slow, quick = broadcast.listen(), broadcast.listen()
    await anext(slow)
    await anext(quick)
    heard = 0
    for number in range(2000):
        broadcast.publish(ServerGone(server_id=str(number)))
        heard += (await anext(quick)).name == "server_gone"
    assert heard == 2000
    assert (await anext(slow)).name == "snapshot"
    broadcast.publish(ServerGone(server_id="last"))
    assert b"last" in (await anext(slow)).data
    await slow.aclose()
    await quick.aclose()


async def test_every_stream_ends_when_the_agent_does(make_facts):
    broadcast = Broadcast(lambda: AgentSnapshot(facts=make_facts(), servers=(), jobs=()))
    stream, lagging = broadcast.listen(), broadcast.listen()
    await anext(stream)
    await anext(lagging)
    for _ in range(2000):
        broadcast.publish(ServerGone(server_id="x"))
        await anext(stream)
    broadcast.end()
    assert [event async for event in stream] == []
    assert len([event async for event in lagging]) < 2000
    assert [event async for event in broadcast.listen()] == []
