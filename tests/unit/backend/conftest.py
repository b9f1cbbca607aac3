"""Hosts and servers for the backend's unit tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from backend.agents import Agents
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.leader import Leadership
from backend.migrations.drive import Drive
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from wire import keys
from wire.agent import (
    AgentSnapshot,
    GuestTruth,
    Job,
    JobCommand,
    JobDetail,
    JobState,
    ParametersCommand,
    ServerCommand,
)
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Etcd
from wire.fleet import (
    Disk,
    HostFacts,
    HostMeters,
    Owner,
    OwnerPhase,
    PowerState,
    ServerFacts,
    ServerRecord,
    StoragePool,
)
from wire.life import HealthValue
from wire.migration import Migration, MigrationState, PostcopyState, Statistics
from wire.storage import (
    DefineCommand,
    DiscardCommand,
    Discarded,
    Export,
    ExportCommand,
    Incoming,
    IncomingFile,
    Leftovers,
    PrepareCommand,
    PullCommand,
    ReleaseCommand,
    ServerStorage,
    StorageFile,
)

GIB = 1 << 30
SHARED = StoragePool(
    pool_id="pool-shared",
    name="shared",
    shared=True,
    path="/shared",
    capacity_bytes=100 * GIB,
    available_bytes=50 * GIB,
)
SHARED_DISK = Disk(
    target="vda",
    source="/shared/web-1.img",
    pool_id="pool-shared",
    pool_name="shared",
    shared=True,
)

MakeHost = Callable[..., HostFacts]
MakeServer = Callable[..., ServerFacts]


@pytest.fixture
def make_host() -> MakeHost:
    def make(number: int, **changes: object) -> HostFacts:
        values: dict[str, object] = {
            "host_id": f"host-{number}",
            "name": f"kvm-{number:02}",
            "address": f"10.77.1.{10 + number}",
            "agent_url": f"https://10.77.1.{10 + number}:8600",
            "cpu_architecture": "x86_64",
            "cpu_model_name": "Intel Xeon E5-2650 v2",
            "microcode": "0x42e",
            "kernel": "6.1.0-1-amd64",
            "cpu_count": 8,
            "page_size_bytes": 4096,
            "memory_total_bytes": 16 * GIB,
            "libvirt_cpu_model": "IvyBridge",
            "cpu_features": (),
            "machine_types": ("pc-i440fx-7.2",),
            "virt_types": ("qemu",),
            "qemu_version": "7.2.0",
            "libvirt_version": "9.0.0",
            "agent_version": "0.1.0",
            "pools": (SHARED,),
        }
        return HostFacts(**(values | changes))  # type: ignore[arg-type]  # test data by field name

    return make


@pytest.fixture
def make_server() -> MakeServer:
    def make(name: str = "web-1", **changes: object) -> ServerFacts:
        values: dict[str, object] = {
            "server_id": f"id-{name}",
            "name": name,
            "vcpu_count": 1,
            "memory_bytes": GIB,
            "disks": (SHARED_DISK,),
            "machine": "pc-i440fx-7.2",
            "virt_type": "qemu",
            "state": PowerState.RUNNING,
        }
        return ServerFacts(**(values | changes))  # type: ignore[arg-type]  # test data by field name

    return make


class FleetOfTwo:
    """kvm-01 and kvm-02 online, web-1 running on kvm-01; tests change what they are about."""

    def __init__(self, make_host: MakeHost, make_server: MakeServer) -> None:
        self.fleet = Fleet()
        self.hosts = [make_host(1), make_host(2)]
        self.server = make_server()
        for host in self.hosts:
            self.add_host(host)
        self.add_record(self.server, self.hosts[0])
        self.report(self.hosts[0], self.server)
        self.report(self.hosts[1])

    def add_host(self, host: HostFacts) -> None:
        self.fleet.put_facts(host.host_id, host)
        self.fleet.put_health(host.host_id, HealthValue(boot_id="b", epoch=3))

    def add_record(
        self,
        server: ServerFacts,
        host: HostFacts,
        *,
        wanted_on: bool = True,
        migration_id: str = "",
    ) -> ServerRecord:
        record = ServerRecord(
            server_id=server.server_id,
            name=server.name,
            vcpu_count=server.vcpu_count,
            memory_bytes=server.memory_bytes,
            disks=server.disks,
            owner=Owner(
                host_id=host.host_id,
                epoch=3,
                generation=1,
                phase=OwnerPhase.MIGRATING if migration_id else OwnerPhase.SETTLED,
                migration_id=migration_id,
            ),
            wanted_on=wanted_on,
        )
        self.fleet.put_record(server.server_id, record)
        return record

    def report(self, host: HostFacts, *servers: ServerFacts, used_bytes: int = GIB) -> None:
        self.fleet.put_snapshot(
            host.host_id,
            AgentSnapshot(
                facts=host,
                servers=servers,
                jobs=(),
                meters=HostMeters(cpu_percent=1.0, memory_used_bytes=used_bytes),
            ),
        )


@pytest.fixture
def two(make_host: MakeHost, make_server: MakeServer) -> FleetOfTwo:
    return FleetOfTwo(make_host, make_server)


@pytest.fixture
async def leads(etcd: Etcd) -> AsyncIterator[Leadership]:
    """A term of leadership that lasts as long as the test."""
    begun = asyncio.Event()

    async def duty() -> None:
        begun.set()
        await asyncio.Event().wait()

    leadership = Leadership(etcd, "backend-1")
    standing = asyncio.create_task(leadership.run(duty, lambda: None))
    await asyncio.wait_for(begun.wait(), 30)
    yield leadership
    standing.cancel()
    await asyncio.gather(standing, return_exceptions=True)


class FakeHost:
    """An agent with one server's state, which can be made to refuse or to be away.

    Real agents cannot be stopped between two given calls.
    """

    def __init__(self, name: str, owner: Callable[[], Owner]) -> None:
        self.name = name
        self.owner = owner
        self.state = PowerState.ABSENT
        self.detail = ""
        self.incoming_memory = False
        self.files: tuple[StorageFile, ...] = ()
        self.digests: dict[str, str] = {}
        self.changed = ""
        self.refusal = ""
        self.incoming: Incoming | None = None
        self.present: dict[str, str] = {}
        self.held = False
        self.pulled: dict[str, str] = {}
        self.pull_jobs: list[Job] = []
        self.calls: list[str] = []
        self.commands: dict[str, msgspec.Struct] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}
        self.source: FakeHost | None = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        act = object.__getattribute__(self, f"do_{name}")

        async def call(*arguments: Any) -> Any:
            await asyncio.sleep(0)
            self.calls.append(name)
            for one in arguments:
                if not isinstance(one, str):
                    self.commands[name] = one
            self.before.get(name, _nothing)()
            answer = act(*arguments)
            self.after.get(name, _nothing)()
            return answer

        return call

    def do_truth(self, server_id: str) -> GuestTruth:
        return GuestTruth(
            server_id=server_id,
            state=self.state,
            state_detail=self.detail,
            incoming=self.incoming_memory,
        )

    def do_storage(self, server_id: str) -> ServerStorage:
        if self.state is PowerState.ABSENT:
            raise GodwitError(ErrorCode.NOT_FOUND, f"{self.name} has no {server_id}")
        return ServerStorage(
            server_id=server_id,
            name="web-1",
            definition="<domain/>",
            snapshots=("<snapshot/>",),
            files=self.files,
            refusal=self.refusal,
        )

    def do_prepare(self, command: PrepareCommand) -> Incoming:
        self.incoming = Incoming(
            migration_id=command.migration_id,
            server_id=command.server_id,
            files=tuple(
                IncomingFile(
                    source_path=one.path,
                    path=f"/there{one.path}",
                    role=one.role,
                    present_digest=self.present.get(one.path, ""),
                )
                for one in command.files
            ),
        )
        return self.incoming

    def do_export(self, command: ExportCommand) -> Export:
        return Export(
            migration_id=command.migration_id,
            server_id=command.server_id,
            port=10809,
            names={path: f"x{path}" for path in command.paths},
            digests=self.digests,
            changed=self.changed,
        )

    def do_exported(self, migration_id: str) -> Export:
        return Export(
            migration_id=migration_id,
            server_id="id-web-1",
            port=10809,
            names={},
            digests=self.digests,
            changed=self.changed,
        )

    def do_close_export(self, migration_id: str) -> Export:
        return self.do_exported(migration_id)

    def do_pull(self, command: PullCommand) -> Job:
        if self.incoming is None:
            raise GodwitError(ErrorCode.CONFLICT, f"{self.name} was not prepared")
        if self.pull_jobs:
            return self.pull_jobs.pop(0)
        assert self.source is not None
        self.pulled = {
            one.source_path: self.source.digests[one.source_path] for one in command.files
        }
        return self._whole(command.migration_id)

    def _whole(self, migration_id: str) -> Job:
        return Job(
            migration_id=migration_id,
            server_id="id-web-1",
            state=JobState.ENDED,
            statistics=Statistics(disk_transferred_bytes=9),
            digests=self.pulled,
        )

    def do_job(self, migration_id: str) -> JobDetail:
        if not self.pulled:
            raise GodwitError(ErrorCode.NOT_FOUND, "no such job")
        return JobDetail(job=self._whole(migration_id))

    def do_cancel(self, migration_id: str, _: JobCommand) -> Job:
        return self._whole(migration_id)

    def do_define(self, _: str, command: DefineCommand) -> GuestTruth:
        if self.incoming is None:
            raise GodwitError(ErrorCode.CONFLICT, f"{self.name} was not prepared")
        if self.state is PowerState.ABSENT:
            self.state = PowerState.SHUT_OFF
        return self.do_truth(command.server_id)

    def do_complete(self, _: str) -> None:
        self.incoming = None

    def do_discard(self, _: str, command: DiscardCommand) -> Discarded:
        if self.owner().host_id == HOST_IDS[self.name]:
            raise GodwitError(ErrorCode.CONFLICT, f"{self.name} owns it")
        if command.generation < self.owner().generation:
            raise GodwitError(ErrorCode.STALE_GENERATION, "older")
        self.incoming, self.pulled, self.state = None, {}, PowerState.ABSENT
        return Discarded()

    def do_release(self, server_id: str, command: ReleaseCommand) -> GuestTruth:
        if self.owner().host_id == HOST_IDS[self.name]:
            raise GodwitError(ErrorCode.CONFLICT, f"{self.name} owns it")
        if self.state not in {PowerState.SHUT_OFF, PowerState.ABSENT}:
            raise GodwitError(ErrorCode.CONFLICT, f"{server_id} is {self.state} on {self.name}")
        self.state = PowerState.ABSENT
        self.files = tuple(one for one in self.files if one.path not in command.paths)
        return self.do_truth(server_id)

    def do_remove(self, server_id: str, _: ServerCommand) -> GuestTruth:
        if self.owner().host_id == HOST_IDS[self.name]:
            raise GodwitError(ErrorCode.CONFLICT, f"{self.name} owns it")
        self.state, self.detail, self.incoming_memory = PowerState.ABSENT, "", False
        return self.do_truth(server_id)

    def do_start(self, server_id: str, _: ServerCommand) -> GuestTruth:
        if self.owner().host_id != HOST_IDS[self.name]:
            raise GodwitError(ErrorCode.CONFLICT, f"{self.name} does not own it")
        self.state = PowerState.RUNNING
        return self.do_truth(server_id)

    def do_resume(self, server_id: str, command: ServerCommand) -> GuestTruth:
        self.detail = ""
        return self.do_start(server_id, command)

    def do_set_parameters(self, migration_id: str, _: ParametersCommand) -> Job:
        return Job(migration_id=migration_id, server_id="id-web-1", state=JobState.COPYING_MEMORY)

    def do_postcopy(self, migration_id: str, _: JobCommand) -> Job:
        return Job(migration_id=migration_id, server_id="id-web-1", state=JobState.COPYING_MEMORY)

    def do_recover(self, migration_id: str, _: JobCommand) -> Job:
        return Job(
            migration_id=migration_id,
            server_id="id-web-1",
            state=JobState.COPYING_MEMORY,
            postcopy=PostcopyState.ACTIVE,
        )

    def do_leftovers(self, migration_id: str) -> Leftovers:
        return Leftovers(migration_id=migration_id, held=self.held)

    def do_remove_kept(self, _: str) -> None:
        """Nothing is really kept here."""


HOST_IDS = {"kvm-01": "host-1", "kvm-02": "host-2"}


def _nothing() -> None:
    pass


class FakeHosts(Agents):
    def __init__(self, *hosts: FakeHost) -> None:
        self.by_id = {HOST_IDS[host.name]: host for host in hosts}

    def of(self, host_id: str, *_: object) -> Any:
        return self.by_id[host_id]


class Stage:
    """web-1 on kvm-01, in etcd and in the fleet model, with two fake hosts."""

    def __init__(self, two: FleetOfTwo, etcd: Etcd, leadership: Leadership) -> None:
        self.two, self.etcd, self.leadership = two, etcd, leadership
        self.here = FakeHost("kvm-01", lambda: self.owner)
        self.there = FakeHost("kvm-02", lambda: self.owner)
        self.there.source = self.here
        agents = FakeHosts(self.here, self.there)
        self.drive = Drive(
            fleet=two.fleet,
            agents=agents,
            jobs=Jobs(),
            journal=Journal(etcd, leadership, two.fleet),
            comparisons=Comparisons(agents),
        )

    def put_server(self, state: PowerState, **owner: object) -> None:
        """Have web-1 in this state on kvm-01, and its record in etcd."""
        two = self.two
        two.server = msgspec.structs.replace(two.server, state=state)
        two.report(two.hosts[0], two.server)
        self.here.state = state
        record = two.fleet.records[two.server.server_id]
        changed = msgspec.structs.replace(record.owner, **owner)
        record = msgspec.structs.replace(record, disks=two.server.disks, owner=changed)
        two.fleet.put_record(record.server_id, record)
        self.etcd.put(keys.SERVERS + record.server_id, msgspec.json.encode(record))

    def put_migration(self, state: MigrationState, **changes: object) -> Migration:
        """Journal a migration of web-1 from kvm-01 to kvm-02."""
        values: dict[str, object] = {
            "migration_id": "m1",
            "server_id": "id-web-1",
            "server_name": "web-1",
            "source_host_id": "host-1",
            "source_host_name": "kvm-01",
            "target_host_id": "host-2",
            "target_host_name": "kvm-02",
            "generation": 1,
            "state": state,
            "outcome": "web-1 stays on kvm-01" if state.ended else "",
        }
        migration = Migration(**(values | changes))  # type: ignore[arg-type]  # by field name
        self.etcd.put(keys.MIGRATIONS + migration.migration_id, msgspec.json.encode(migration))
        self.two.fleet.put_migration(migration.migration_id, migration)
        return migration

    @property
    def owner(self) -> Owner:
        item = self.etcd.get(keys.SERVERS + "id-web-1")
        assert item is not None
        return msgspec.json.decode(item.value, type=ServerRecord).owner

    @property
    def migration(self) -> Migration:
        item = self.etcd.get(keys.MIGRATIONS + "m1")
        assert item is not None
        return msgspec.json.decode(item.value, type=Migration)


@pytest.fixture
def stage(two: FleetOfTwo, etcd: Etcd, leads: Leadership) -> Stage:
    return Stage(two, etcd, leads)
