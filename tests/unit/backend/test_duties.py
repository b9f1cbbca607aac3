"""A duty that fails is begun anew, and the others go on meanwhile."""

import asyncio

import pytest

from backend import duties
from backend.duties import Faults
from wire.errors import ErrorCode, GodwitError


async def test_one_that_fails_begins_anew_and_takes_no_other_along(monkeypatch, caplog):
    monkeypatch.setattr(duties, "AGAIN_S", 0.01)
    begun, steps = 0, 0
    enough = asyncio.Event()

    async def fails() -> None:
        nonlocal begun
        begun += 1
        if begun == 3 and steps:
            enough.set()
        raise KeyError("x")

    async def goes_on() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(duties.do_all({"x": fails, "y": goes_on}, Faults(lambda: None)))
    async with asyncio.timeout(5):
        await enough.wait()
    assert not task.done()
    assert "the duty x failed: it begins anew" in caplog.text
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Told:
    """Faults, with what was told of them at each change."""

    def __init__(self) -> None:
        self.faults = Faults(self.note)
        self.said: list[list[tuple[str, int, str]]] = []
        self.changed = asyncio.Event()

    def note(self) -> None:
        known = self.faults.failing
        self.said.append([(one.name, one.failures, one.reason) for one in known])
        self.changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.said) < count:
                self.changed.clear()
                await self.changed.wait()


async def never_ends() -> None:
    await asyncio.Event().wait()


async def test_each_failure_is_counted_with_its_reason_until_the_duty_ends(monkeypatch):
    monkeypatch.setattr(duties, "AGAIN_S", 0.01)
    told = Told()

    async def fails() -> None:
        raise ValueError("no such\nhost")

    task = asyncio.create_task(duties.do_all({"bad": fails, "good": never_ends}, told.faults))
    await told.until(2)
    (first,) = told.faults.failing
    await told.until(3)
    (later,) = told.faults.failing
    assert later.since_ms == first.since_ms > 0
    assert told.said[:3] == [[("bad", count, "ValueError: no such host")] for count in (1, 2, 3)]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.faults.failing == (), "another backend leads, and may do better"


async def test_one_that_goes_on_well_is_not_told_any_more(monkeypatch):
    monkeypatch.setattr(duties, "AGAIN_S", 0.01)
    monkeypatch.setattr(duties, "WELL_S", 0.05)
    told, tries = Told(), 0

    async def fails_once() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyError
        await never_ends()

    task = asyncio.create_task(duties.do_all({"bad": fails_once}, told.faults))
    await told.until(2)
    assert told.said == [[("bad", 1, "KeyError")], []]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_part_that_goes_on_failing_is_told_until_it_does_not(monkeypatch):
    monkeypatch.setattr(duties, "WELL_S", 0.01)
    told = Told()
    fault = GodwitError(ErrorCode.CONFLICT, "it cannot be read")

    async def goes_on() -> None:
        told.faults.add_part("x", "a", fault, of="kvm-01")
        told.faults.add_part("x", "b", KeyError("y"))
        told.faults.add_part("x", "b", KeyError("y"))
        await asyncio.sleep(0.1)
        told.faults.keep_parts("x", {"b"})
        assert told.faults.failing, "however long it is since the duty began"
        told.faults.keep_parts("x", ())

    task = asyncio.create_task(duties.do_all({"x": goes_on}, told.faults))
    await told.until(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    first, second, last = told.said
    assert first == [("x", 1, "kvm-01: it cannot be read")]
    assert second == [("x", 2, "KeyError: 'y'")], "and not three at once"
    assert last == []
