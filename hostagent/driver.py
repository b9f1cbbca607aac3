"""What the agent asks of its hypervisor: libvirt, never blocking and never for ever."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

import libvirt

from hostagent.calls import CALL_TIMEOUT_S, LibvirtRefused, in_thread
from hostagent.config import AgentConfig
from hostagent.connection import Connection
from hostagent.events import LibvirtEvent
from hostagent.facts import read_facts
from hostagent.guest import Guest, find_domain, read_disks, read_guest, read_truth
from hostagent.meters import CpuTimes, read_meters
from hostagent.statistics import job_runs
from wire.agent import GuestTruth, MigrateCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Disk, HostFacts, HostMeters, StoragePool

ResultT = TypeVar("ResultT")

_FACTS_TIMEOUT_S = 15.0
"""libvirt probes every QEMU binary when it is first asked for capabilities."""
_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
)


class NoSuchServer(GodwitError):
    """libvirt positively does not have this domain."""

    def __init__(self, server_id: str) -> None:
        super().__init__(ErrorCode.NOT_FOUND, f"this host has no server with the id {server_id!r}")


class LibvirtDriver:
    """One host's libvirt.

    Every method raises :class:`hostagent.calls.LibvirtRefused` with libvirt's own text, or
    :class:`hostagent.calls.LibvirtSilent` when libvirtd does not answer in time.
    """

    def __init__(self, config: AgentConfig, on_event: Callable[[LibvirtEvent], None]) -> None:
        self._config = config
        self._connection = Connection(config.libvirt_uri, on_event)
        self._cpu_times: CpuTimes | None = None

    async def run(self) -> NoReturn:
        """Keep the connection open for ever."""
        await self._connection.run()

    @property
    def connected(self) -> bool:
        """Whether libvirtd answered last."""
        return self._connection.connected

    async def facts(self) -> HostFacts:
        """What this host is."""
        return await self._connection.call(
            "tell what this host is",
            lambda handle: read_facts(handle, self._config),
            timeout_s=_FACTS_TIMEOUT_S,
        )

    async def meters(self) -> HostMeters:
        """Volatile figures; the CPU share is that since the last call."""
        meters, self._cpu_times = await self._connection.call(
            "tell the host's load", lambda handle: read_meters(handle, self._cpu_times)
        )
        return meters

    async def server_ids(self) -> tuple[str, ...]:
        """Ids of all domains, running or not."""
        return await self._connection.call(
            "list the domains",
            lambda handle: tuple(domain.UUIDString() for domain in handle.listAllDomains()),
        )

    async def guest(self, server_id: str) -> Guest | None:
        """One domain as it is now; None if this host does not have it."""
        return await self._connection.call(
            "describe a domain", lambda handle: read_guest(handle, server_id)
        )

    async def disks(self, guest: Guest, pools: Iterable[StoragePool]) -> tuple[Disk, ...]:
        """A domain's disks with their pools and sizes."""
        return await self._connection.call(
            "tell the size of disks", lambda handle: read_disks(handle, guest, pools)
        )

    async def truth(self, server_id: str) -> GuestTruth:
        """What libvirt knows of a guest at this moment."""
        return await self._connection.call(
            "tell the state of a domain", lambda handle: read_truth(handle, server_id)
        )

    async def resume(self, server_id: str) -> None:
        """Let a paused guest run (``virDomainResume``)."""
        await self._ask(server_id, "resume a domain", lambda domain: domain.resume())

    async def limit_downtime(self, server_id: str, limit_ms: int) -> int:
        """Set the longest pause that QEMU may plan, and answer what holds now.

        libvirt 9 takes it before a migration begins, so that the first pass already knows it.
        """

        def limit(domain: libvirt.virDomain) -> int:
            domain.migrateSetMaxDowntime(limit_ms)
            return int(domain.migrateGetMaxDowntime())

        return await self._ask(server_id, "limit the downtime", limit)

    def migrate(self, command: MigrateCommand, *, unsafe: bool) -> asyncio.Future[None]:
        """Move a guest away; the future ends when libvirt's call does, however long it takes.

        Args:
            command: what to move where.
            unsafe: do not let libvirt refuse a path that it does not know as shared.
        """
        self._connection.require()
        parameters = {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{command.target_address}"}
        flags = _FLAGS | (libvirt.VIR_MIGRATE_UNSAFE if unsafe else 0)

        def work() -> None:
            with self._connection.lend() as handle:
                domain = handle.lookupByUUIDString(command.server_id)
                domain.migrateToURI3(command.target_libvirt_uri, parameters, flags)

        return in_thread(work, name=f"migrate {command.migration_id}")

    async def abort_job(self, server_id: str) -> bool:
        """Abort a domain's job (``virDomainAbortJob``); False while libvirt has none."""
        try:
            await self._ask(server_id, "abort a job", lambda domain: domain.abortJob())
        except LibvirtRefused as error:
            if error.number == libvirt.VIR_ERR_OPERATION_INVALID:
                return False
            raise
        return True

    async def job_statistics(self, server_id: str) -> Mapping[str, Any] | None:
        """Statistics of the migration away from here that is under way; None if there is none."""
        try:
            stats = await self._ask(
                server_id, "tell a job's statistics", lambda domain: domain.jobStats()
            )
        except NoSuchServer:
            return None
        except LibvirtRefused as error:
            if error.number == libvirt.VIR_ERR_OPERATION_INVALID:
                return None  # it stopped running: the switch-over is done
            raise
        return stats if job_runs(stats) else None

    async def call(
        self,
        what: str,
        function: Callable[[libvirt.virConnect], ResultT],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> ResultT:
        """Ask what no other method asks: ``function`` gets a connection, in a thread."""
        return await self._connection.call(what, function, timeout_s=timeout_s)

    async def _ask(
        self, server_id: str, what: str, question: Callable[[libvirt.virDomain], ResultT]
    ) -> ResultT:
        def ask(handle: libvirt.virConnect) -> ResultT:
            domain = find_domain(handle, server_id)
            if domain is None:
                raise NoSuchServer(server_id)
            return question(domain)

        return await self._connection.call(what, ask)
