"""A small fleet, a backend that answers from it, and the console over both."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot

# Snapshots must not depend on where they are made; both are read when textual is imported.
os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ.pop("NO_COLOR", None)

from tests.console import emptying
from tests.console.host_down import make_health, make_report
from tui.app import Console
from tui.client import Connected, Disconnected, Event
from tui.desk import Desk
from tui.formats.options import option_words
from tui.plot import GraphStyle
from wire.audit import AuditEntry
from wire.candidates import Candidate, FilterVerdict
from wire.console import BackendStatus, FleetSnapshot, Role
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import (
    Evacuation,
    EvacuationChange,
    EvacuationKind,
    Plan,
    PlanRequest,
    ReturnRequest,
)
from wire.fleet import (
    Disk,
    HostFacts,
    HostMeters,
    HostStatus,
    HostView,
    ServerStatus,
    ServerView,
    StoragePool,
)
from wire.life import HealthValue
from wire.migration import (
    Migration,
    MigrationDetail,
    MigrationOptions,
    MigrationParameters,
    MigrationState,
    Pass,
    Sample,
    Statistics,
)
from wire.rescue import (
    HealthReport,
    HostPolicyChange,
    Incident,
    RescueGuard,
    RescueOptions,
    ServerPolicyChange,
)

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE
NOON_MS = 1_795_435_200_000  # 2026-11-23 12:00:00 UTC


@pytest.fixture(autouse=True)
def fixed_timezone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Moments are shown in local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def make_host(number: int, **changed: object) -> HostView:
    """A host that is like all others but for its number and what is given."""
    name = f"kvm-{number:02d}"
    facts = {
        "host_id": f"0b5e4a4e-0000-4000-8000-0000000000{number:02d}",
        "name": name,
        "address": f"10.77.1.{10 + number}",
        "agent_url": f"https://10.77.1.{10 + number}:8600",
        "cpu_architecture": "x86_64",
        "cpu_model_name": "Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz",
        "microcode": "0x42e",
        "kernel": "6.1.0-28-amd64",
        "cpu_count": 16,
        "page_size_bytes": 4096,
        "memory_total_bytes": 24 * GIBIBYTE,
        "libvirt_cpu_model": "IvyBridge-IBRS",
        "cpu_features": ("arat", "hypervisor", "ss", "vmx"),
        "machine_types": ("pc-i440fx-7.2", "pc-q35-7.2"),
        "virt_types": ("kvm", "qemu"),
        "qemu_version": "7.2.15",
        "libvirt_version": "9.0.0",
        "agent_version": "0.1.0",
        "pools": (
            StoragePool(
                pool_id="5e1f0000-0000-4000-8000-000000000001",
                name="shared",
                shared=True,
                path="/var/lib/godwit/shared",
                capacity_bytes=400 * GIBIBYTE,
                available_bytes=311 * GIBIBYTE,
            ),
            StoragePool(
                pool_id=f"5e1f0000-0000-4000-8000-0000000001{number:02d}",
                name="local",
                shared=False,
                path="/var/lib/libvirt/images",
                capacity_bytes=80 * GIBIBYTE,
                available_bytes=61 * GIBIBYTE,
            ),
        ),
    }
    view = {
        "status": HostStatus.ONLINE,
        "health": HealthValue(boot_id="b", epoch=3),
        "meters": HostMeters(cpu_percent=7.5, memory_used_bytes=(2 + 3 * number) * GIBIBYTE),
        "server_count": 3,
        "running_server_count": 2,
        "server_memory_bytes": 1536 * MEBIBYTE,
        "seen_at_ms": NOON_MS,
    }
    for key, value in changed.items():
        (facts if key in facts else view)[key] = value
    return HostView(facts=HostFacts(**facts), **view)


def make_server(number: int, name: str, host: int, **changed: object) -> ServerView:
    """A running server with one shared disk, unless told otherwise."""
    view = {
        "server_id": f"7c1d0000-0000-4000-8000-0000000000{number:02d}",
        "name": name,
        "status": ServerStatus.RUNNING,
        "host_id": f"0b5e4a4e-0000-4000-8000-0000000000{host:02d}",
        "host_name": f"kvm-{host:02d}",
        "vcpu_count": 1,
        "memory_bytes": 256 * MEBIBYTE,
        "storage": "shared",
        "target_host_names": ("kvm-02",),
        "disks": (
            Disk(
                target="vda",
                source=f"/var/lib/godwit/shared/{name}.img",
                pool_name="shared",
                shared=True,
                capacity_bytes=20 * MEBIBYTE,
                allocation_bytes=4 * MEBIBYTE,
            ),
        ),
    }
    return ServerView(**{**view, **changed})


def make_samples(count: int) -> tuple[Sample, ...]:
    """The curve of a guest that dirties memory nearly as quickly as the link carries it."""
    samples = []
    remaining, number = 257.0, 1
    for step in range(count):
        samples.append(
            Sample(
                elapsed_ms=250 * step,
                pass_number=number,
                memory_total_bytes=257 * MEBIBYTE,
                memory_processed_bytes=12 * step * MEBIBYTE,
                memory_remaining_bytes=int(remaining * MEBIBYTE),
                bandwidth_bytes_per_s=0 if not step else int((47 + step % 3) * MEBIBYTE),
                dirty_bytes_per_s=0 if number == 1 else int((60 - 4 * number) * MEBIBYTE),
                expected_downtime_ms=0 if number == 1 else 1200 - 100 * number,
                downtime_limit_ms=300,
                throttle_percent=0 if number < 3 else 10 * (number - 1),
            )
        )
        remaining -= 11.8
        if remaining < 8:
            number += 1
            remaining = max(12.0, 200.0 - 45.0 * number)
    return tuple(samples)


def make_passes(count: int) -> tuple[Pass, ...]:
    """Passes that go with :func:`make_samples`."""
    return tuple(
        Pass(
            number=number,
            started_ms=2700 * (number - 1),
            duration_ms=2700 - 300 * number,
            remaining_at_start_bytes=(257 - 45 * (number - 1)) * MEBIBYTE,
            transferred_bytes=(250 - 45 * (number - 1)) * MEBIBYTE,
            dirty_bytes_per_s=0 if number == 1 else (60 - 4 * number) * MEBIBYTE,
            bandwidth_bytes_per_s=48 * MEBIBYTE,
            throttle_percent=0 if number < 3 else 10 * (number - 1),
        )
        for number in range(1, count + 1)
    )


def cut_short(detail: MigrationDetail, samples: int) -> MigrationDetail:
    """A recorded migration as it was when this many samples had come."""
    kept = detail.samples[:samples]
    now_ms = kept[-1].elapsed_ms
    passes = [
        each for each in detail.migration.passes if each.started_ms + each.duration_ms <= now_ms
    ]
    migration = msgspec.structs.replace(
        detail.migration,
        state=MigrationState.COPYING_MEMORY,
        passes=tuple(passes),
        statistics=Statistics(),
        outcome="",
        finished_at_ms=0,
    )
    return MigrationDetail(migration=migration, samples=kept)


def make_migration(number: int, server: ServerView, **changed: object) -> Migration:
    """A live migration to kvm-02 that has succeeded, unless told otherwise."""
    view = {
        "migration_id": f"3f0000{number:02d}",
        "server_id": server.server_id,
        "server_name": server.name,
        "source_host_id": server.host_id,
        "source_host_name": server.host_name,
        "target_host_id": "0b5e4a4e-0000-4000-8000-000000000002",
        "target_host_name": "kvm-02",
        "state": MigrationState.SUCCEEDED,
        "requested_by": "alice",
        "created_at_ms": NOON_MS + 60_000 * number,
        "started_at_ms": NOON_MS + 60_000 * number + 300,
        "finished_at_ms": NOON_MS + 60_000 * number + 12_800,
        "passes": make_passes(4),
        "statistics": Statistics(
            total_ms=12_500,
            downtime_ms=41,
            setup_ms=9,
            memory_total_bytes=257 * MEBIBYTE,
            memory_transferred_bytes=614 * MEBIBYTE,
            memory_bandwidth_bytes_per_s=48 * MEBIBYTE,
            pass_count=4,
            throttle_max_percent=30,
        ),
        "outcome": f"{server.name} runs on kvm-02",
    }
    return Migration(**{**view, **changed})


def make_fleet(role: Role = Role.OPERATOR) -> FleetSnapshot:
    """Four hosts, of which one differs in microcode, one in CPU and one is down; six servers."""
    hosts = (
        make_host(1),
        make_host(2),
        make_host(3, microcode="0x428", kernel="6.1.0-26-amd64"),
        make_host(
            4,
            cpu_model_name="AMD EPYC 7763 64-Core Processor",
            microcode="0xa0011d1",
            status=HostStatus.OFFLINE,
            status_reason="kvm-04 has lost its health key since 11:58:12",
            meters=None,
            health=None,
        ),
    )
    moving = make_server(
        3,
        "db-1",
        1,
        status=ServerStatus.LIVE_MIGRATING,
        migration_id="3f000003",
        target_host_names=(),
        memory_bytes=1024 * MEBIBYTE,
    )
    servers = (
        make_server(1, "web-1", 1),
        make_server(2, "web-2", 2, target_host_names=("kvm-01",)),
        moving,
        make_server(4, "batch-1", 3, target_host_names=(), storage="local"),
        make_server(5, "old-1", 1, status=ServerStatus.READY, target_host_names=()),
        make_server(6, "mail-10", 4, status=ServerStatus.UNKNOWN, target_host_names=()),
    )
    migrations = (
        make_migration(
            3,
            moving,
            state=MigrationState.COPYING_MEMORY,
            finished_at_ms=0,
            statistics=Statistics(),
            outcome="",
            passes=make_passes(3),
        ),
        make_migration(
            2,
            servers[3],
            state=MigrationState.FAILED,
            statistics=Statistics(total_ms=2100, memory_transferred_bytes=31 * MEBIBYTE),
            passes=(),
            error=(
                "operation failed: migration out job: unexpectedly failed\n"
                "qemu-system-x86_64: Unable to write to socket: Broken pipe"
            ),
            advice="Check the link between kvm-03 and kvm-02, then try again.",
            outcome="batch-1 runs on kvm-03",
        ),
        make_migration(1, servers[1]),
    )
    return FleetSnapshot(
        status=BackendStatus(version="0.1.0", role=role, token_name="alice", etcd_ok=True),
        hosts=hosts,
        servers=servers,
        migrations=migrations,
    )


def make_candidates() -> list[Candidate]:
    """Two hosts that fit and one that does not."""

    values = {
        "cpu_model": ("Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz",) * 2,
        "microcode": ("0x42e", "0x42e"),
        "kernel": ("6.1.0-28-amd64", "6.1.0-28-amd64"),
        "memory": ("256 MiB", "21 GiB"),
    }

    def verdicts(**reasons: str) -> tuple[FilterVerdict, ...]:
        others = {"microcode": "0x428", "kernel": "6.1.0-26-amd64"}
        names = ("online", "not_source", "cpu_model", "microcode", "kernel", "memory", "storage")
        return tuple(
            FilterVerdict(
                filter=name,
                passed=name not in reasons,
                reason=reasons.get(name, ""),
                wanted=values.get(name, ("", ""))[0],
                found=others[name] if name in reasons else values.get(name, ("", ""))[1],
            )
            for name in names
        )

    return [
        Candidate(
            host_id=make_host(3).facts.host_id,
            host_name="kvm-03",
            verdicts=verdicts(
                microcode="microcode 0x42e on kvm-01, 0x428 on kvm-03",
                kernel="kernel 6.1.0-28-amd64 on kvm-01, 6.1.0-26-amd64 on kvm-03",
            ),
        ),
        Candidate(
            host_id=make_host(2).facts.host_id, host_name="kvm-02", verdicts=verdicts(), weight=0.4
        ),
        Candidate(
            host_id=make_host(5).facts.host_id, host_name="kvm-05", verdicts=verdicts(), weight=0.9
        ),
    ]


def skipping(candidate: Candidate, options: MigrationOptions) -> Candidate:
    """The candidate as the backend shows it when checks are skipped."""
    lifted = set()
    if options.skip_cpu_check:
        lifted |= {"cpu_model", "microcode"}
    if options.skip_kernel_check:
        lifted.add("kernel")
    verdicts = [
        msgspec.structs.replace(each, passed=True, skipped=True) if each.filter in lifted else each
        for each in candidate.verdicts
    ]
    lifted = {each.filter for each in verdicts if each.skipped and each.reason}
    there = candidate.host_name
    return msgspec.structs.replace(
        candidate,
        verdicts=tuple(verdicts),
        risk=f"nobody knows what the kernel of {there} offers" if "kernel" in lifted else "",
        safe=f"the guest loses no CPU feature on {there}" if lifted - {"kernel"} else "",
    )


class StubClient:
    """Answers as the backend would; keeps what it was asked to do."""

    def __init__(self, fleet: FleetSnapshot) -> None:
        self.fleet = fleet
        self.stream: asyncio.Queue[Connected | Disconnected | Event] = asyncio.Queue()
        self.asked: list[tuple[str, str]] = []
        self.refusal: GodwitError | None = None
        self.answering = asyncio.Event()
        """Cleared, it holds the answer to a start back."""
        self.answering.set()
        self.samples: tuple[Sample, ...] = make_samples(40)
        self.candidate_list = make_candidates()
        self.recorded: MigrationDetail | None = None
        self.options = MigrationOptions()
        """What the last migration was asked for with."""
        self.parameters = MigrationParameters()
        """What was last changed in one."""
        self.report: HealthReport | None = None
        """What etcd says; of the fleet unless a test wants another."""
        self.plan_shown = emptying.make_plan()
        """What is answered for a host; wishes are worked into it."""
        self.bodies: list[object] = []
        """What came with acts on hosts, servers and rescues."""
        self.acts: list[AuditEntry] = []
        """What people did, newest first."""

    async def __aenter__(self) -> "StubClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def say(self, payload: object, name: str = "event") -> None:
        """Let the stream say something."""
        self.stream.put_nowait(Event(name=name, payload=payload))

    async def events(self) -> AsyncIterator[Connected | Disconnected | Event]:
        yield Connected()
        yield Event(name="snapshot", payload=self.fleet)
        while True:
            yield await self.stream.get()

    async def candidates(
        self, server: str, kind: str, options: MigrationOptions
    ) -> list[Candidate]:
        self.asked.append(("candidates", f"{server} {kind} {option_words(options)}"))
        if options.skip_cpu_check or options.skip_kernel_check:
            return [skipping(each, options) for each in self.candidate_list]
        return self.candidate_list

    async def migrate(self, server: str, kind: str, options: MigrationOptions) -> Migration:
        self.asked.append((f"{kind}_migrate", f"{server} {options.prefer_host}".strip()))
        self.options = options
        await self.answering.wait()
        if self.refusal is not None:
            raise self.refusal
        view = next(each for each in self.fleet.servers if each.server_id == server)
        return make_migration(
            9, view, kind=kind, state=MigrationState.QUEUED, passes=(), outcome=""
        )

    async def rescue(self, server: str, options: RescueOptions) -> Migration:
        self._told("rescue", server, options)
        view = next(each for each in self.fleet.servers if each.server_id == server)
        return make_migration(
            9, view, kind="rescue", state=MigrationState.QUEUED, passes=(), outcome=""
        )

    async def set_host_policy(self, host: str, changed: HostPolicyChange) -> HostView:
        self._told("host_policy", host, changed)
        return next(each for each in self.fleet.hosts if each.facts.host_id == host)

    async def set_server_policy(self, server: str, changed: ServerPolicyChange) -> ServerView:
        self._told("server_policy", server, changed)
        return next(each for each in self.fleet.servers if each.server_id == server)

    async def declare_off(self, host: str, typed_name: str) -> Incident:
        self._told("declare_off", host, typed_name)
        return self.fleet.incidents[0]

    async def arm(self) -> RescueGuard:
        self._told("arm", "", None)
        return RescueGuard()

    async def disarm(self, reason: str) -> RescueGuard:
        self._told("disarm", reason, None)
        return RescueGuard(armed=False, reason=reason)

    async def health(self) -> HealthReport:
        self.asked.append(("health", ""))
        if self.refusal is not None:
            raise self.refusal
        return self.report or make_report(self.fleet)

    async def audit(self) -> list[AuditEntry]:
        self.asked.append(("audit", ""))
        await self.answering.wait()
        if self.refusal is not None:
            raise self.refusal
        return list(self.acts)

    async def plan(self, wanted: PlanRequest) -> list[Plan]:
        self._told("plan", " ".join(wanted.hosts), wanted)
        await self.answering.wait()
        return emptying.answer(self, wanted)

    async def evacuate(self, wanted: PlanRequest) -> list[Evacuation]:
        self._told("evacuate", " ".join(wanted.confirmed), wanted)
        return [
            emptying.course(evacuation_id=f"e{number}", host_id=key)
            for number, key in enumerate(wanted.hosts)
        ]

    async def return_plan(self, host: str, wanted: ReturnRequest) -> Plan:
        self._told("return_plan", host, wanted)
        return msgspec.structs.replace(
            self.plan_shown, kind=EvacuationKind.RETURN, host_id=host, host_name="kvm-01"
        )

    async def bring_back(self, host: str, wanted: ReturnRequest) -> Evacuation:
        self._told("bring_back", host, wanted)
        return emptying.course(kind=EvacuationKind.RETURN, evacuation_id="e9")

    async def set_maintenance(self, host: str, *, on: bool) -> HostView:
        self._told("maintenance", host, on)
        return next(each for each in self.fleet.hosts if each.facts.host_id == host)

    async def pause_evacuation(self, evacuation_id: str) -> Evacuation:
        return self._steered("pause", evacuation_id, None)

    async def resume_evacuation(self, evacuation_id: str) -> Evacuation:
        return self._steered("resume", evacuation_id, None)

    async def cancel_evacuation(self, evacuation_id: str, servers: tuple[str, ...]) -> Evacuation:
        return self._steered("cancel", evacuation_id, servers)

    async def retry_evacuation(self, evacuation_id: str, servers: tuple[str, ...]) -> Evacuation:
        return self._steered("retry", evacuation_id, servers)

    async def replan_evacuation(self, evacuation_id: str) -> Evacuation:
        return self._steered("replan", evacuation_id, None)

    async def change_evacuation(self, evacuation_id: str, changed: EvacuationChange) -> Evacuation:
        return self._steered("change", evacuation_id, changed)

    def _steered(self, act: str, evacuation_id: str, body: object) -> Evacuation:
        self._told(act, evacuation_id, body)
        return next(each for each in self.fleet.evacuations if each.evacuation_id == evacuation_id)

    def _told(self, name: str, what: str, body: object) -> None:
        self.asked.append((name, what))
        self.bodies.append(body)
        if self.refusal is not None:
            raise self.refusal

    async def settle(self, server: str, keep_host: str) -> ServerView:
        self.asked.append(("settle", f"{server} {keep_host}"))
        return next(each for each in self.fleet.servers if each.server_id == server)

    async def cancel(self, migration_id: str) -> Migration:
        return self._act("cancel", migration_id)

    async def set_parameters(self, migration_id: str, changed: MigrationParameters) -> Migration:
        self.parameters = changed
        return self._act("parameters", migration_id)

    async def switch_to_postcopy(self, migration_id: str) -> Migration:
        return self._act("postcopy", migration_id)

    async def recover_postcopy(self, migration_id: str) -> Migration:
        return self._act("recover", migration_id)

    async def remove_kept(self, migration_id: str) -> Migration:
        return self._act("remove_kept", migration_id)

    def _act(self, name: str, migration_id: str) -> Migration:
        self.asked.append((name, migration_id))
        if self.refusal is not None:
            raise self.refusal
        return self._migration(migration_id)

    async def migration(self, migration_id: str) -> MigrationDetail:
        self.asked.append(("migration", migration_id))
        if self.recorded is not None:
            return self.recorded
        migration = self._migration(migration_id)
        begun = migration.state.rank >= MigrationState.COPYING_DISKS.rank
        samples = self.samples if begun and not migration.state.ended else ()
        return MigrationDetail(migration=migration, samples=samples)

    def _migration(self, migration_id: str) -> Migration:
        for each in self.fleet.migrations:
            if each.migration_id == migration_id:
                return each
        raise GodwitError(ErrorCode.NOT_FOUND, f"no migration is called {migration_id!r}")


@pytest.fixture(scope="session", autouse=True)
def parsed_styles() -> Iterator[None]:
    """Parse each style sheet once for all consoles of this process: all have the same."""
    kept: dict[object, list[RuleSet]] = {}
    parse = Stylesheet._parse_rules

    def parse_once(sheet: Stylesheet, *args: Any, **kwargs: Any) -> list[RuleSet]:
        asked = (args, *sorted(kwargs.items()), *sorted(sheet._variables.items()))
        if asked not in kept:
            kept[asked] = parse(sheet, *args, **kwargs)
        return kept[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield


@pytest.fixture
def fleet() -> FleetSnapshot:
    return make_fleet()


@pytest.fixture
def client(fleet: FleetSnapshot) -> StubClient:
    return StubClient(fleet)


@pytest.fixture
def open_console(client: StubClient) -> Callable[..., Console]:
    """Make a console over the stub; keyword arguments go to the desk."""

    def build(**options: object) -> Console:
        desk = Desk(client=client, address="10.77.1.2:8700", **options)  # type: ignore[arg-type]
        return Console(desk)

    return build


@pytest.fixture
def settled() -> Callable[[Pilot[None]], Awaitable[None]]:
    """Wait until the fleet has come and every answer that was asked for is shown."""

    async def wait(pilot: Pilot[None]) -> None:
        console = pilot.app
        assert isinstance(console, Console)
        for _ in range(200):
            await pilot.pause(0.01)
            running = [each for each in console.workers if each.is_running]
            if console.desk.store.complete and len(running) <= 1:
                break
        console.show_changes()
        await pilot.pause()
        await pilot.pause()

    return wait


@pytest.fixture
def data() -> Path:
    """The folder of recorded traces."""
    return Path(__file__).parent / "data"


@pytest.fixture
def busy(data: Path) -> MigrationDetail:
    """A guest that dirties 60 MB/s across 400 Mbit/s, recorded in the lab."""
    return msgspec.json.decode((data / "busy.json").read_bytes(), type=MigrationDetail)


@pytest.fixture
def cut_link(data: Path) -> MigrationDetail:
    """The same guest when the link was cut in its second pass, recorded in the lab."""
    return msgspec.json.decode((data / "cut_link.json").read_bytes(), type=MigrationDetail)


@pytest.fixture
def replay(client: StubClient) -> Callable[[MigrationDetail], None]:
    """Let the stub's fleet have this migration only, with its curve."""

    def put(detail: MigrationDetail) -> None:
        client.recorded = detail
        client.fleet = msgspec.structs.replace(client.fleet, migrations=(detail.migration,))

    return put


@pytest.fixture
def make() -> dict[str, Callable[..., object]]:
    """The makers of wire structs, for tests that want one of their own."""
    return {
        "host": make_host,
        "server": make_server,
        "migration": make_migration,
        "samples": make_samples,
        "health": make_health,
        "report": make_report,
        "fleet": make_fleet,
        "cut_short": cut_short,
    }


@pytest.fixture(params=list(GraphStyle))
def graph(request: pytest.FixtureRequest) -> GraphStyle:
    return request.param
