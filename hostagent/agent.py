"""The agent's parts together: what libvirt says goes to the stream and to etcd."""

import asyncio
import logging
from typing import NoReturn

from hostagent.broadcast import Broadcast
from hostagent.config import AgentConfig
from hostagent.driver import LibvirtDriver
from hostagent.events import (
    Change,
    Connected,
    Disconnected,
    DomainChanged,
    JobCompleted,
    LibvirtEvent,
    PassBegan,
    PoolsChanged,
)
from hostagent.heartbeat import Heartbeat
from hostagent.inventory import Inventory
from hostagent.ownership import Ownership
from hostagent.register import Register
from wire.agent import AgentSnapshot
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Etcd
from wire.fleet import HostMeters

_log = logging.getLogger(__name__)

_METERS_S = 2.0


class Agent:
    """One host's agent; :meth:`run` is its life."""

    def __init__(self, config: AgentConfig, etcd: Etcd) -> None:
        self._config = config
        self._etcd = etcd
        self._meters: HostMeters | None = None
        self._heartbeat: Heartbeat | None = None
        self.driver = LibvirtDriver(config, self._on_libvirt)
        self.broadcast = Broadcast(self.snapshot)
        self.inventory = Inventory(
            self.driver, publish=self.broadcast.publish, on_change=self._on_change
        )
        self.ownership = Ownership(etcd)
        self._register = Register(etcd, self.inventory, self.ownership)

    def snapshot(self) -> AgentSnapshot:
        """Everything that is known now.

        Raises:
            GodwitError: ``LIBVIRT`` while libvirtd has never answered.
        """
        facts = self.inventory.facts
        if facts is None or not self.inventory.listed:
            raise GodwitError(
                ErrorCode.LIBVIRT,
                f"libvirtd has not answered yet at {self._config.libvirt_uri}",
            )
        return AgentSnapshot(
            facts=facts,
            servers=tuple(server.facts for server in self.inventory.servers.values()),
            jobs=(),
            meters=self._meters,
        )

    async def run(self) -> NoReturn:
        """Follow libvirt and etcd until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.driver.run())
                tasks.create_task(self.inventory.run())
                tasks.create_task(self._register.run())
                tasks.create_task(self._meter())
        finally:
            if self._heartbeat is not None:
                self._heartbeat.stop()
        raise AssertionError  # the tasks above never end

    def _on_libvirt(self, event: LibvirtEvent) -> None:
        match event:
            case Connected():
                self.inventory.everything_changed()
            case DomainChanged():
                if event.change is Change.POWERED_ON:
                    self._register.powered(event.server_id, on=True)
                elif event.change is Change.POWERED_OFF:
                    self._register.powered(event.server_id, on=False)
                self.inventory.server_changed(event.server_id)
            case PoolsChanged():
                self.inventory.pools_changed()
            case Disconnected() | PassBegan() | JobCompleted():
                pass

    def _on_change(self) -> None:
        """The inventory has changed; the first facts also tell whose health key to hold."""
        facts = self.inventory.facts
        if facts is not None and self._heartbeat is None:
            loop = asyncio.get_running_loop()

            def on_held(epoch: int) -> None:
                loop.call_soon_threadsafe(self._register.begin_epoch, epoch)

            self._heartbeat = Heartbeat(
                self._etcd, facts.host_id, ttl_s=self._config.lease_ttl_s, on_held=on_held
            )
            self._heartbeat.start()
        self._register.changed()

    async def _meter(self) -> NoReturn:
        while True:
            await asyncio.sleep(_METERS_S)
            if not self.driver.connected:
                continue
            try:
                self._meters = await self.driver.meters()
            except GodwitError as error:
                _log.warning("load not measured: %s", error.message)
                continue
            self.broadcast.publish(self._meters)
