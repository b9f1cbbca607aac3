"""The first full state is out of the garbage collector's sight."""

import asyncio
import gc

import pytest

from backend import freezing


@pytest.fixture
def thaw():
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thaw")
async def test_it_waits_for_etcd_and_for_hosts_that_live_and_then_freezes(two, monkeypatch):
    monkeypatch.setattr(freezing, "_LOOK_S", 0.0)
    fleet = two.fleet
    before = gc.get_freeze_count()
    silent = next(iter(fleet.health))
    fleet.put_etcd_error("/servers/", "etcd has not answered yet")
    fleet.link(silent).connected = False
    task = asyncio.create_task(freezing.freeze_first_state(fleet))
    for _ in range(20):
        await asyncio.sleep(0)
    fleet.put_etcd_error("/servers/", "")
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    assert gc.get_freeze_count() == before
    fleet.link(silent).connected = True
    await task
    assert gc.get_freeze_count() > before + 1_000
    assert not any(one is fleet.facts for one in gc.get_objects())


@pytest.mark.usefixtures("thaw")
async def test_a_host_that_never_answers_is_not_waited_for_for_ever(two, monkeypatch):
    monkeypatch.setattr(freezing, "_LOOK_S", 0.0)
    monkeypatch.setattr(freezing, "_PATIENCE_S", 0.0)
    two.fleet.link(next(iter(two.fleet.health))).connected = False
    await freezing.freeze_first_state(two.fleet)
    assert gc.get_freeze_count() > 0
