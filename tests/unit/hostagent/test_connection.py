"""Connections to a libvirtd that ends at moments at which a real one cannot be made to end."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import libvirt
import pytest

from hostagent import connection
from hostagent.calls import LibvirtSilent
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


class Frozen:
    """A connection whose libvirtd stopped: what was asked ends with the keepalive's words."""

    def __init__(self, *, dies: bool) -> None:
        self._dies = dies
        self._alive = True

    def isAlive(self) -> bool:  # noqa: N802 - libvirt's name
        return self._alive

    def listAllDomains(self) -> None:  # noqa: N802 - libvirt's name
        self._alive = not self._dies
        raise libvirt.libvirtError("connection closed due to keepalive timeout")


@pytest.mark.parametrize(
    ("dies", "kind", "words"),
    [
        (True, LibvirtSilent, f"libvirtd on {socket.gethostname()} does not answer: connection "),
        (False, libvirt.libvirtError, "connection "),  # of a job between two hosts
    ],
)
def test_a_broken_connection_is_told_with_the_libvirtd_that_is_meant(
    monkeypatch, dies, kind, words
):
    monkeypatch.setattr(connection, "_open", lambda _: Frozen(dies=dies))
    with pytest.raises(kind) as caught, Connection("qemu:///system", print).lend() as handle:
        handle.listAllDomains()
    assert str(caught.value) == words + "closed due to keepalive timeout"


def test_no_connection_at_all_is_told_so_too():
    missing = "qemu+unix:///system?socket=/nonexistent"
    with (
        pytest.raises(LibvirtSilent, match=r"^libvirtd on \S+ does not answer: .*/nonexistent"),
        Connection(missing, print).lend(),
    ):
        pass
    libvirt.virResetLastError()  # libvirt gives its text to any error made in this thread
