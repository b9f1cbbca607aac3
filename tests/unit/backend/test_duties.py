"""A duty that fails is begun anew, and the others go on meanwhile."""

import asyncio

import pytest

from backend import duties


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

    task = asyncio.create_task(duties.do_all(fails, goes_on))
    async with asyncio.timeout(5):
        await enough.wait()
    assert not task.done()
    assert "fails failed: it begins anew" in caplog.text
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
