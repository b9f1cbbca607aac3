"""Calls that hang are given up, and cannot pile up."""

import asyncio
import threading

import libvirt
import pytest

from hostagent.calls import Calls, LibvirtRefused, LibvirtSilent


def missing() -> None:
    libvirt.open("qemu+unix:///system?socket=/nonexistent")


async def test_an_answer_and_a_refusal_with_libvirts_own_text():
    calls = Calls()
    assert await calls.run("add", lambda: 1 + 1) == 2
    libvirt.registerErrorHandler(lambda *_: None, None)
    with pytest.raises(LibvirtRefused, match="/nonexistent") as caught:
        await calls.run("open", missing)
    assert caught.value.number == libvirt.VIR_ERR_SYSTEM_ERROR


async def test_a_call_that_hangs_is_given_up_with_one_sentence():
    release = threading.Event()
    with pytest.raises(LibvirtSilent) as caught:
        await Calls().run("list the domains", release.wait, timeout_s=0.05)
    assert caught.value.message == "libvirt did not list the domains within 0.05 s"
    release.set()


async def test_hanging_calls_do_not_pile_up_and_return_their_places():
    calls, release = Calls(), threading.Event()
    for _ in range(16):
        with pytest.raises(LibvirtSilent, match="within"):
            await calls.run("hang", release.wait, timeout_s=0.01)
    with pytest.raises(LibvirtSilent, match="was not asked to answer: 16 earlier calls hang"):
        await calls.run("answer", lambda: None)
    release.set()
    while True:
        try:
            assert await calls.run("answer", lambda: 42) == 42
            break
        except LibvirtSilent:
            await asyncio.sleep(0.01)


async def test_other_errors_reach_the_caller():
    def divide() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        await Calls().run("divide", divide)
