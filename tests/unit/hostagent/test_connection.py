"""Connections to a libvirtd that ends at moments at which a real one cannot be made to end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import libvirt
import pytest

from hostagent import connection
from hostagent.connection import Connection
from hostagent.events import Connected, Disconnected, LibvirtEvent


class Handle:
    """A connection that can be told to break once all is registered."""

    def __init__(self, *, breaks: bool) -> None:
        self._breaks = breaks
        self._on_close: Callable[..., None] | None = None
        self.registered: set[int] = set()
        self.closed = False

    def registerCloseCallback(self, callback: Callable[..., None], _: Any) -> None:  # noqa: N802 - libvirt's name
        self._on_close = callback

    def unregisterCloseCallback(self) -> None:  # noqa: N802 - libvirt's name
        self._on_close = None

    def domainEventRegisterAny(self, *_: Any) -> int:  # noqa: N802 - libvirt's name
        self.registered.add(len(self.registered))
        return len(self.registered) - 1

    def storagePoolEventRegisterAny(self, *_: Any) -> int:  # noqa: N802 - libvirt's name
        if self._breaks and self._on_close is not None:
            self._breaks = False
            self._on_close(self, libvirt.VIR_CONNECT_CLOSE_REASON_EOF, None)
        return self.domainEventRegisterAny()

    def domainEventDeregisterAny(self, number: int) -> None:  # noqa: N802 - libvirt's name
        self.registered.remove(number)
        raise libvirt.libvirtError("client socket is closed")

    storagePoolEventDeregisterAny = domainEventDeregisterAny  # noqa: N815 - libvirt's name

    def close(self) -> None:
        self.closed = True


async def test_a_libvirtd_that_ends_while_it_is_connected_to_is_connected_to_again(
    monkeypatch: pytest.MonkeyPatch,
):
    opened: list[Handle] = []

    def open_one(_: str) -> Handle:
        opened.append(Handle(breaks=not opened))
        return opened[-1]

    monkeypatch.setattr(connection, "_open", open_one)
    told: list[LibvirtEvent] = []
    running = asyncio.create_task(Connection("qemu:///system", told.append).run())
    async with asyncio.timeout(10):
        while len(opened) < 2 or not isinstance(told[-1], Connected):
            await asyncio.sleep(0.01)
    assert told == [
        Connected(),
        Disconnected("connection lost: libvirtd ended"),
        Connected(),
    ]
    async with asyncio.timeout(10):
        while not opened[0].closed:
            await asyncio.sleep(0.01)
    assert not opened[0].registered
    assert opened[1].registered
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
