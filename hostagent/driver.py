"""What the agent asks of its hypervisor: libvirt, never blocking and never for ever."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

import libvirt
import msgspec

from hostagent.bandwidth import Mirror
from hostagent.calls import CALL_TIMEOUT_S, LibvirtRefused, in_thread
from hostagent.config import AgentConfig
from hostagent.connection import Connection
from hostagent.cpu import compare_cpu
from hostagent.departure import Departure
from hostagent.domain import State, describe_state
from hostagent.events import LibvirtEvent
from hostagent.facts import read_facts
from hostagent.guest import Guest, find_domain, read_disks, read_guest, read_truth
from hostagent.identity import Identity
from hostagent.meters import CpuTimes, read_meters
from hostagent.mirrors import limit_mirror, read_mirrors
from hostagent.statistics import job_runs
from wire.agent import CpuComparison, CpuQuestion, GuestTruth
from wire.errors import ErrorCode, GodwitError
from wire.fleet import Disk, HostFacts, HostMeters, StoragePool

ResultT = TypeVar("ResultT")

_FACTS_TIMEOUT_S = 15.0
"""libvirt probes every QEMU binary when it is first asked for capabilities."""


class JobReading(msgspec.Struct, frozen=True, kw_only=True):
    """A domain and its migration away from here, read at one moment."""

    state: State
    statistics: Mapping[str, Any] | None
    """libvirt's; None if it shows no migration."""


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
        self._identity = Identity(config.state_dir)
        self._cpu_times: CpuTimes | None = None

    async def run(self) -> NoReturn:
        """Keep the connection open for ever."""
        await self._connection.run()

    @property
    def connected(self) -> bool:
        """Whether libvirtd answered last."""
        return self._connection.connected

    async def facts(self) -> HostFacts:
        """What this host is; refused if libvirt takes it for another one (:class:`Identity`)."""

        def read(handle: libvirt.virConnect) -> HostFacts:
            facts = read_facts(handle, self._config)
            self._identity.require(facts.host_id)
            return facts

        return await self._connection.call(
            "tell what this host is", read, timeout_s=_FACTS_TIMEOUT_S
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

    async def compare_cpu(self, question: CpuQuestion) -> CpuComparison:
        """Whether a guest's CPU can be had here."""
        return await self._connection.call(
            "compare a CPU", lambda handle: compare_cpu(handle, question)
        )

    async def resume(self, server_id: str) -> None:
        """Let a paused guest run (``virDomainResume``)."""
        await self._ask(server_id, "resume a domain", lambda domain: domain.resume())

    async def take_disks_back(self, server_id: str) -> None:
        """Pause a guest that runs, for a moment, so that QEMU opens its disks as it goes on.

        When the connection breaks as the state of the devices is sent, QEMU before 8.1 lets the
        guest run on with its disks given up, and ends at its next write (``Assertion
        `!(bs->open_flags & BDRV_O_INACTIVE)' failed``). Each ``cont`` opens them.
        """

        def take(domain: libvirt.virDomain) -> None:
            if domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING:
                domain.suspend()
                domain.resume()

        await self._ask(server_id, "take disks back", take)

    async def limit_downtime(self, server_id: str, limit_ms: int) -> int:
        """Set the longest pause that QEMU may plan, and answer what holds now.

        libvirt 9 takes it before a migration begins, so that the first pass already knows it.
        """

        def limit(domain: libvirt.virDomain) -> int:
            domain.migrateSetMaxDowntime(limit_ms)
            return int(domain.migrateGetMaxDowntime())

        return await self._ask(server_id, "limit the downtime", limit)

    def migrate(self, departure: Departure) -> asyncio.Future[None]:
        """Move a guest away; the future ends when libvirt's call does, however long it takes."""
        self._connection.require()
        command = departure.command

        def work() -> None:
            with self._connection.lend() as handle:
                domain = handle.lookupByUUIDString(command.server_id)
                parameters = departure.parameters(domain)
                domain.migrateToURI3(command.target_libvirt_uri, parameters, departure.flags)

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

    async def read_job(self, server_id: str) -> JobReading | None:
        """The migration away from here; None if this host does not have the server."""
        try:
            return await self._ask(server_id, "tell a job's statistics", _read_job)
        except NoSuchServer:
            return None
        except LibvirtRefused as error:
            if error.number == libvirt.VIR_ERR_NO_DOMAIN:
                return None  # gone between two calls
            raise

    async def start_postcopy(self, server_id: str) -> None:
        """Let the guest run on the target now (``virDomainMigrateStartPostCopy``)."""
        await self._ask(
            server_id, "switch to post-copy", lambda domain: domain.migrateStartPostCopy()
        )

    async def break_off_postcopy(self, server_id: str) -> None:
        """Tell QEMU that the connection of its post-copy is broken, so that it may be resumed.

        After a cut libvirt knows that sooner than QEMU, which refuses then to be resumed.
        """

        def break_off(domain: libvirt.virDomain) -> None:
            with contextlib.suppress(libvirt.libvirtError):  # QEMU knows it already
                domain.abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY)

        await self._ask(server_id, "break off a post-copy", break_off)

    async def limit_memory(self, server_id: str, mib_per_s: int, *, postcopy: bool) -> None:
        """Limit the memory stream of a migration under way (``virDomainMigrateSetMaxSpeed``)."""
        flags = libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY if postcopy else 0
        await self._ask(
            server_id,
            "limit a migration's bandwidth",
            lambda domain: domain.migrateSetMaxSpeed(mib_per_s, flags),
        )

    async def mirrors(self, server_id: str) -> tuple[Mirror, ...]:
        """Copies of disks that are under way."""
        return await self._ask(server_id, "tell what disks are copied", read_mirrors)

    async def limit_mirror(self, server_id: str, device: str, bytes_per_s: int) -> None:
        """Limit the copy of one disk."""
        await self._ask(
            server_id,
            "limit the copy of a disk",
            lambda domain: limit_mirror(domain, device, bytes_per_s),
        )

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


def _read_job(domain: libvirt.virDomain) -> JobReading:
    state = describe_state(*domain.state())
    try:
        stats = domain.jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
        return JobReading(state=state, statistics=None)  # it stopped: the switch-over is done
    return JobReading(state=state, statistics=stats if job_runs(stats) else None)
