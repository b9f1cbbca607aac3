"""The agent's parts together: what libvirt says goes to the stream and to etcd."""

import asyncio
import logging
from typing import NoReturn

from hostagent.autostart import Autostart
from hostagent.broadcast import Broadcast
from hostagent.calls import CALL_TIMEOUT_S, in_thread
from hostagent.config import AgentConfig
from hostagent.copies.desk import Copies
from hostagent.copies.pulls import Pulls
from hostagent.dirtying import Sampling
from hostagent.driver import LibvirtDriver, NoSuchServer
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
from hostagent.fencing import Fencing
from hostagent.identity import Identity
from hostagent.inventory import Inventory
from hostagent.jobs import Jobs
from hostagent.journal import Journal
from hostagent.life import Life
from hostagent.ownership import Ownership
from hostagent.postcopy import HALF
from hostagent.register import Register
from hostagent.returning import Returning
from hostagent.shutdown import mark
from hostagent.starting import Starts
from hostagent.stream import cut_stream
from wire.agent import (
    AgentSnapshot,
    BreakOffCommand,
    GuestTruth,
    Job,
    MigrateCommand,
    ServerCommand,
)
from wire.errors import ErrorCode, GodwitError, conflict
from wire.etcd import Etcd
from wire.fleet import HostMeters, PowerState

_log = logging.getLogger(__name__)

_METERS_S = 2.0


class Agent:
    """One host's agent; :meth:`run` is its life."""

    def __init__(self, config: AgentConfig, etcd: Etcd) -> None:
        self._config = config
        self._etcd = etcd
        self._meters: HostMeters | None = None
        self._fencing = Fencing(config.run_dir)
        self.driver = LibvirtDriver(config, self._on_libvirt)
        self.broadcast = Broadcast(self.snapshot)
        self.inventory = Inventory(
            self.driver, publish=self.broadcast.publish, on_change=self._on_change
        )
        self.ownership = Ownership(etcd)
        starts = Starts(self.driver, self.ownership, self._fencing, self._require_ready)
        self.jobs = Jobs(
            self.driver,
            self.inventory,
            self.ownership,
            Journal(config.state_dir),
            publish=self.broadcast.publish,
            on_broken=self._move_broke,
        )
        self.copies = Copies(
            config,
            etcd,
            self.driver,
            self.inventory,
            self.ownership,
            starts=starts,
            publish=self.broadcast.publish,
        )
        self._sampling = Sampling(
            self.driver,
            self.inventory,
            may_ask=self._may_measure,
            publish=self.broadcast.publish,
        )
        self.life = Life(
            config,
            etcd,
            self._fencing,
            Returning(etcd, self.driver, starts, self._leaving_ids),
            on_epoch=self._epoch_began,
            on_ready=self._ready,
        )
        self._autostart = Autostart(
            etcd,
            self.driver,
            self.inventory,
            self.ownership,
            starts,
            host_shuts_down=self._host_shuts_down,
        )
        self._register = Register(
            etcd,
            self.inventory,
            self.ownership,
            self._fencing,
            key_revision=self.life.key_revision,
            host_shuts_down=self._host_shuts_down,
        )

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
            jobs=(*self.jobs.all(), *self.copies.pulls.all()),
            meters=self._meters,
            dirtying=self._sampling.all(),
        )

    async def load(self) -> None:
        """Read what an earlier process left; before :meth:`run` and before the first call."""
        await self.jobs.load()
        await self.copies.load()
        if self._fencing.host_id:
            await asyncio.to_thread(Identity(self._config.state_dir).require, self._fencing.host_id)
            # the key has to be there again in time; libvirtd takes its own to answer
            self.life.begin(self._fencing.host_id)

    def jobs_of(self, migration_id: str) -> Jobs | Pulls:
        """Who has a job: a live migration away from here, or a copy to here."""
        return self.copies.pulls if migration_id in self.copies.pulls else self.jobs

    async def run(self) -> NoReturn:
        """Follow libvirt and etcd until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.driver.run())
            tasks.create_task(self.inventory.run())
            tasks.create_task(self._register.run())
            tasks.create_task(self._meter())
            tasks.create_task(self.jobs.run())
            tasks.create_task(self.copies.run())
            tasks.create_task(self.life.run())
            tasks.create_task(self._autostart.run())
            tasks.create_task(self._sampling.run())
        raise AssertionError  # the tasks above never end

    def _on_libvirt(self, event: LibvirtEvent) -> None:
        match event:
            case Connected():
                self.inventory.everything_changed()
                if self.life.ready:
                    self._autostart.begin()
            case Disconnected():
                pass  # what is known stays, until libvirtd can be asked again
            case DomainChanged():
                self._on_domain(event)
            case PoolsChanged():
                self.inventory.pools_changed()
            case PassBegan():
                job = self.jobs.running(event.server_id)
                if job is not None:
                    job.pass_began(event.iteration)
            case JobCompleted():
                job = self.jobs.running(event.server_id)
                if job is not None:
                    job.completed(event.statistics)

    def _on_domain(self, event: DomainChanged) -> None:
        self.inventory.server_changed(event.server_id)
        match event.change:
            case Change.POWERED_ON:
                self.copies.source.exports.server_started(event.server_id)
                self._register.powered(event.server_id, on=True)
            case Change.POWERED_OFF:
                self._register.powered(event.server_id, on=False)
            case Change.SWITCHING_OVER:
                job = self.jobs.running(event.server_id)
                if job is not None:
                    job.switching_over()
            case Change.OTHER:
                pass

    def _on_change(self) -> None:
        """The inventory has changed; the first facts also tell whose health key to hold."""
        facts = self.inventory.facts
        if facts is not None:
            self.life.begin(facts.host_id)
        self._register.changed()

    def _epoch_began(self, epoch: int) -> None:
        self._register.begin_epoch(epoch)

    def _may_measure(self, server_id: str) -> bool:
        return self.life.ready and self.jobs.running(server_id) is None

    def _require_ready(self) -> None:
        self.life.require_ready()

    def _ready(self) -> None:
        self.copies.epoch_began()
        self._autostart.begin()

    def _move_broke(self, server_id: str) -> None:
        self._autostart.look_after(server_id)

    async def _leaving_ids(self) -> frozenset[str]:
        outgoing = await self.copies.source.outgoing()
        return frozenset(one.server_id for one in outgoing.values())

    def _host_shuts_down(self) -> bool:
        return mark(self._config.run_dir).exists()

    async def migrate(self, command: MigrateCommand) -> Job:
        """Begin to move a running guest away.

        Raises:
            GodwitError: as of :meth:`Jobs.start`; nothing was begun.
        """
        await asyncio.to_thread(self._fencing.withdraw, command.server_id)
        return await self.jobs.start(command, self.copies.source.note_departure)

    async def resume(self, server_id: str, command: ServerCommand) -> GuestTruth:
        """Let a guest run that a failed migration left paused.

        Raises:
            GodwitError: ``NOT_FOUND``, ``STALE_GENERATION``, ``CONFLICT`` when it is not this
                host's to run, or ``LIBVIRT``.
        """
        truth = await self.driver.truth(server_id)
        if truth.state is PowerState.ABSENT:
            raise NoSuchServer(server_id)
        record = await self.ownership.require_generation(server_id, command.generation)
        facts = self.inventory.facts
        if record is not None and facts is not None and record.owner.host_id != facts.host_id:
            raise conflict(
                f"{record.name!r} belongs to the host {record.owner.host_id} and must not run here",
            )
        if truth.job_active or truth.state is PowerState.SHUT_OFF:
            why = "has a migration under way" if truth.job_active else "is shut off"
            raise conflict(f"the server {server_id} {why}: nothing resumed")
        if truth.state is PowerState.PAUSED:
            await self.driver.resume(server_id)
        return await self.driver.truth(server_id)

    async def break_off(self, server_id: str, command: BreakOffCommand) -> GuestTruth:
        """Cut the connection of a guest that arrives by post-copy, if libvirt takes it for whole.

        Raises:
            GodwitError: ``STALE_GENERATION``, ``CONFLICT`` with the system's refusal, or
                ``LIBVIRT``.
        """
        await self.ownership.require_generation(server_id, command.generation)
        truth = await self.driver.truth(server_id)
        if truth.state is PowerState.RUNNING and truth.state_detail == HALF:
            cutting = in_thread(
                lambda: cut_stream(server_id, command.source_address), name="cut a stream"
            )
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    cut = await cutting
            except (OSError, TimeoutError) as error:
                raise conflict(
                    f"the connection of the server {server_id} to {command.source_address} cannot "
                    f"be cut: {error or 'no answer in time'}",
                ) from None
            _log.info("%s: %d connections cut", server_id, cut)
        return await self.driver.truth(server_id)

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
