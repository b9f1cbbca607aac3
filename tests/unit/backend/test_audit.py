"""Every act of a person has one entry in etcd, from the transaction that made its change."""

from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import msgspec
import pytest

from backend.api.access import operators_only
from backend.api.app import make_app
from backend.api.audit import audit as audit_route
from backend.audit import entries
from backend.audit.act import unasked
from backend.audit.entries import Audit
from backend.health.policies import Policies
from backend.leader_writes import LeaderWrites
from backend.migrations.acts import Acts
from backend.migrations.forgetting import Forgetter
from backend.tokens import Token
from wire import keys
from wire.audit import AuditEntry, AuditObject
from wire.console import SettleRequest
from wire.errors import ErrorCode, GodwitError
from wire.etcd import EtcdUnreachable, Write
from wire.evacuation import (
    Evacuation,
    EvacuationChange,
    EvacuationKind,
    MoveOptions,
    PlanEdit,
    PlanRequest,
    ReturnRequest,
    ServersOf,
    Way,
)
from wire.fleet import OwnerPhase, PowerState, RescuePriority
from wire.migration import MigrationOptions, MigrationParameters, MigrationState
from wire.rescue import (
    DeclareOff,
    Disarm,
    HostPolicyChange,
    RescueOptions,
    ServerPolicyChange,
)
from wire.role import Role

ALICE = Token(name="alice", role=Role.OPERATOR, sha256="0" * 64)
WEB_1 = AuditObject(kind="server", object_id="id-web-1", name="web-1")
KVM_01 = AuditObject(kind="host", object_id="host-1", name="kvm-01")
KVM_02 = AuditObject(kind="host", object_id="host-2", name="kvm-02")
CHANGED = "/godwit/changed"


class Case(NamedTuple):
    """A call of a route, and what is to be entered of it."""

    verb: str
    path: dict[str, str]
    body: msgspec.Struct | None
    objects: tuple[AuditObject, ...]
    parameters: dict[str, Any]


def of_server(verb: str, body: msgspec.Struct | None = None, **parameters: Any) -> Case:
    return Case(verb, {"server": "web-1"}, body, (WEB_1,), parameters)


def of_host(verb: str, body: msgspec.Struct | None = None, **parameters: Any) -> Case:
    return Case(verb, {"host": "kvm-01"}, body, (KVM_01,), parameters)


def of_migration(verb: str, body: msgspec.Struct | None = None, **parameters: Any) -> Case:
    return Case(verb, {"migration": "m1"}, body, (WEB_1,), {"migration": "m1", **parameters})


def of_evacuation(verb: str, body: msgspec.Struct | None = None, **parameters: Any) -> Case:
    return Case(verb, {"evacuation": "e1"}, body, (KVM_01,), {"evacuation": "e1", **parameters})


ACTS = {
    "/v1/servers/{server}/live-migrate": of_server(
        "server-live-migrate",
        MigrationOptions(prefer_host="kvm-02", skip_cpu_check=True, downtime_limit_ms=300),
        prefer_host="kvm-02",
        skip_cpu_check=True,
    ),
    "/v1/servers/{server}/migrate": of_server("server-migrate"),
    "/v1/servers/{server}/rescue": of_server(
        "server-migrate --rescue-mode", RescueOptions(host_is_off="kvm-01"), host_is_off="kvm-01"
    ),
    "/v1/servers/{server}/settle": of_server(
        "server-settle", SettleRequest(keep_host="kvm-02"), keep_host="kvm-02"
    ),
    "/v1/servers/{server}/forget": of_server("server-forget"),
    "/v1/servers/{server}/policy": of_server(
        "server-set-rescue-priority",
        ServerPolicyChange(rescue_priority=RescuePriority.HIGH),
        rescue_priority="high",
    ),
    "/v1/hosts/{host}/policy": of_host(
        "host-auto-migrate-on-host-down",
        HostPolicyChange(auto_migrate_on_host_down=False),
        auto_migrate_on_host_down=False,
    ),
    "/v1/hosts/{host}/declare-off": of_host("host-declare-off", DeclareOff(host_name="kvm-01")),
    "/v1/hosts/{host}/maintenance": of_host("host-maintenance"),
    "/v1/hosts/{host}/exit-maintenance": of_host("host-exit-maintenance"),
    "/v1/hosts/{host}/return": of_host(
        "host-return", ReturnRequest(max_bandwidth_bytes_per_s=9), max_bandwidth_bytes_per_s=9
    ),
    "/v1/rescue/arm": Case("rescue-arm", {}, None, (), {}),
    "/v1/rescue/disarm": Case("rescue-disarm", {}, Disarm(reason="work"), (), {"reason": "work"}),
    "/v1/migrations/{migration}/cancel": of_migration("server-cancel-live-migrate"),
    "/v1/migrations/{migration}/parameters": of_migration(
        "server-set-live-migrate-params",
        MigrationParameters(no_bandwidth_limit=True),
        no_bandwidth_limit=True,
    ),
    "/v1/migrations/{migration}/postcopy": of_migration("server-switch-to-postcopy"),
    "/v1/migrations/{migration}/recover": of_migration("server-recover-postcopy"),
    "/v1/migrations/{migration}/remove-kept": of_migration("migration-remove-kept"),
    "/v1/evacuations": Case(
        "host-evacuate",
        {},
        PlanRequest(
            hosts=("kvm-01", "host-2"),
            confirmed=("kvm-01", "kvm-02"),
            options=MoveOptions(enable_tls=True),
            edits=(
                PlanEdit(server="web-1", target="kvm-03", first=True),
                PlanEdit(server="db-1", way=Way.STAYS, options=MoveOptions(quickly_finish=False)),
            ),
        ),
        (KVM_01, KVM_02),
        {
            "enable_tls": True,
            "edits": "server web-1, target kvm-03, first yes; "
            "server db-1, way stays, options quickly_finish no",
        },
    ),
    "/v1/evacuations/{evacuation}/pause": of_evacuation("evacuation-pause"),
    "/v1/evacuations/{evacuation}/resume": of_evacuation("evacuation-resume"),
    "/v1/evacuations/{evacuation}/cancel": of_evacuation(
        "evacuation-cancel", ServersOf(servers=("web-1", "db-1")), servers="web-1, db-1"
    ),
    "/v1/evacuations/{evacuation}/retry": of_evacuation("evacuation-retry"),
    "/v1/evacuations/{evacuation}/replan": of_evacuation("evacuation-replan"),
    "/v1/evacuations/{evacuation}/change": of_evacuation(
        "evacuation-change", EvacuationChange(empty_by_ms=0), empty_by_ms=0
    ),
}
CHANGE_NOTHING = {"/v1/evacuations/plan", "/v1/hosts/{host}/return-plan"}
"""Questions that are too long for an address."""


def routes() -> dict[str, Any]:
    """Every route of the API that is no mere look, by its path."""
    app = make_app(MagicMock(version="1"), ())
    return {
        route.path_format: handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if handler.http_methods - {"GET", "HEAD", "OPTIONS"}
        and route.path_format not in CHANGE_NOTHING
    }


ROUTES = routes()


class Acting:
    """Does whatever it is asked for by one write: what acts really write has tests of its own."""

    def __init__(self, writes: LeaderWrites) -> None:
        self._writes = writes

    def __getattr__(self, _: str) -> Any:
        async def act(*_: object, **__: object) -> Any:
            await self._writes.write([Write(key=CHANGED, value=b"1")])
            return MagicMock()

        return act


@pytest.fixture
def writes(stage) -> LeaderWrites:
    return LeaderWrites(stage.etcd, stage.leadership)


@pytest.fixture
def audit(stage, writes) -> Audit:
    return Audit(writes, stage.two.fleet)


def entered(stage) -> list[AuditEntry]:
    """What etcd has, which the fleet model has as well."""
    items = stage.etcd.list(keys.AUDIT).items
    found = [msgspec.json.decode(one.value, type=AuditEntry) for one in items]
    assert {one.entry_id: one for one in found} == stage.two.fleet.audit
    return sorted(found, key=lambda one: one.at_ms)


def entry(entry_id: str = "a1", at_ms: int = 1) -> AuditEntry:
    return AuditEntry(entry_id=entry_id, at_ms=at_ms, user="alice", role=Role.OPERATOR, verb="act")


def test_each_route_that_acts_is_known_here_and_for_operators_alone():
    assert ROUTES.keys() == ACTS.keys()
    for path, handler in ROUTES.items():
        assert operators_only in handler.guards, path


@pytest.mark.parametrize("path", ROUTES)
async def test_each_route_that_acts_enters_who_did_what(stage, writes, audit, path):
    case, fleet = ACTS[path], stage.two.fleet
    stage.put_migration(MigrationState.COPYING_MEMORY)
    evacuation = Evacuation(
        evacuation_id="e1", kind=EvacuationKind.EVACUATE, host_id="host-1", host_name="kvm-01"
    )
    fleet.put_evacuation("e1", evacuation)
    acting = Acting(writes)
    services = ("desk", "acts", "settler", "forgetter", "policies", "rescue_desk", "steering")
    context = SimpleNamespace(
        fleet=fleet,
        audit=audit,
        publisher=MagicMock(),
        evacuation_desk=acting,
        **dict.fromkeys(services, acting),
    )
    given = {"data": case.body} if case.body is not None else {}
    await ROUTES[path].fn(
        request=SimpleNamespace(user=ALICE), context=context, **case.path, **given
    )
    (told,) = entered(stage)
    assert (told.user, told.role, told.verb) == ("alice", Role.OPERATOR, case.verb)
    assert (told.objects, told.parameters) == (case.objects, case.parameters)
    changed, kept = stage.etcd.get(CHANGED), stage.etcd.get(keys.AUDIT + told.entry_id)
    assert kept.mod_revision == changed.mod_revision


async def change_host(stage, writes) -> str:
    change = HostPolicyChange(auto_migrate_on_host_down=True)
    policies = Policies(writes, stage.two.fleet, stage.leadership)
    await policies.change_host("kvm-01", change, requested_by="alice")
    return keys.POLICIES + "host-1"


async def maintain(stage, writes) -> str:
    policies = Policies(writes, stage.two.fleet, stage.leadership)
    await policies.set_maintenance("kvm-01", on=True, requested_by="alice")
    return keys.POLICIES + "host-1"


async def cancel(stage, _) -> str:
    stage.put_server(PowerState.RUNNING)
    stage.put_migration(MigrationState.COPYING_MEMORY)
    await Acts(stage.drive, stage.leadership).cancel("m1", requested_by="alice")
    return keys.MIGRATIONS + "m1"


async def begin(stage, _) -> str:
    stage.put_server(PowerState.RUNNING)
    migration = stage.put_migration(MigrationState.QUEUED)
    stage.etcd.delete(keys.MIGRATIONS + "m1")
    await stage.drive.journal.begin(migration)
    return keys.MIGRATIONS + "m1"


REAL = [change_host, maintain, cancel, begin]


@pytest.mark.parametrize("act", REAL)
async def test_the_entry_comes_with_the_change_that_it_tells_of(stage, writes, audit, act):
    with audit.entered(entry()):
        key = await act(stage, writes)
    assert entered(stage) == [entry()]
    assert stage.etcd.get(key).mod_revision == stage.etcd.get(keys.AUDIT + "a1").mod_revision


async def test_forgetting_deletes_and_enters_at_once(stage, writes, audit, monkeypatch):
    stage.put_server(PowerState.ABSENT, phase=OwnerPhase.LOST)
    stage.put_migration(MigrationState.FAILED)
    real, sent = stage.etcd.transact, []

    def recorded(**writes: Any) -> int:
        sent.append([one.key for one in writes["then"]])
        return real(**writes)

    monkeypatch.setattr(stage.etcd, "transact", recorded)
    with audit.entered(entry()):
        forgetter = Forgetter(stage.drive, writes, stage.leadership)
        await forgetter.forget("web-1", requested_by="alice")
    assert entered(stage) == [entry()]
    assert sent == [
        [
            keys.SERVERS + "id-web-1",
            keys.DEFINITIONS + "id-web-1",
            keys.SERVER_POLICIES + "id-web-1",
            keys.AUDIT + "a1",
        ]
    ]


async def test_what_changes_nothing_is_not_entered(stage, writes, audit):
    for number in (1, 2):
        with audit.entered(entry(f"a{number}", number)):
            await maintain(stage, writes)
    assert [one.entry_id for one in entered(stage)] == ["a1"]


async def test_what_is_refused_is_not_entered(stage, writes, audit):
    policies = Policies(writes, stage.two.fleet, stage.leadership)
    with pytest.raises(GodwitError) as caught, audit.entered(entry()):
        await policies.change_host("kvm-01", HostPolicyChange(), requested_by="alice")
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert entered(stage) == []


async def refused_after(act: Awaitable[object], audit: Audit) -> None:
    """Have an act refused after something was written."""

    async def half() -> None:
        with audit.entered(entry()):
            await act
            raise GodwitError(ErrorCode.CONFLICT, "of the second half")

    with pytest.raises(GodwitError):
        await half()


async def test_what_is_refused_after_it_has_changed_something_is_entered(stage, writes, audit):
    await refused_after(maintain(stage, writes), audit)
    assert entered(stage) == [entry()]


async def test_what_nobody_asked_for_is_not_entered(stage, writes, audit):
    async def by_itself() -> None:
        with unasked():
            await maintain(stage, writes)

    await refused_after(by_itself(), audit)
    assert entered(stage) == []


@pytest.mark.parametrize("act", [cancel, begin])
async def test_an_act_whose_answer_was_lost_is_entered_once(stage, writes, audit, act, monkeypatch):
    real, sent = stage.etcd.transact, []

    def lost_once(**writes: Any) -> int:
        done = real(**writes)
        sent.append(done)
        if len(sent) == 1:
            raise EtcdUnreachable(("etcd",), "no answer in time")
        return done

    monkeypatch.setattr(stage.etcd, "transact", lost_once)
    with audit.entered(entry()):
        await act(stage, writes)
    (kept,) = stage.etcd.list(keys.AUDIT).items
    assert msgspec.json.decode(kept.value, type=AuditEntry) == entry()
    assert kept.mod_revision == sent[0]


async def test_an_entry_that_the_watch_tells_first_is_told_once(stage, writes, audit):
    fleet = stage.two.fleet
    fleet.audit_listed = True
    with audit.entered(entry()):
        await maintain(stage, writes)
        fleet.put_audit("a1", entry())
        assert fleet.changes.audit == {"a1"}
        fleet.changes.audit.clear()
    assert fleet.changes.audit == set()


async def test_an_audit_that_may_lack_entries_is_not_shown(stage):
    context = SimpleNamespace(fleet=stage.two.fleet, publisher=MagicMock())
    stage.two.fleet.put_etcd_error(keys.AUDIT, "etcd does not answer")
    with pytest.raises(GodwitError) as caught:
        await audit_route.fn(context=context)
    assert caught.value.code is ErrorCode.ETCD_UNREACHABLE
    assert caught.value.message == "the audit is not known now: etcd does not answer"
    stage.two.fleet.put_etcd_error(keys.AUDIT, "")
    assert await audit_route.fn(context=context) is context.publisher.newest_audit()


async def test_the_oldest_make_way(stage, writes, audit, monkeypatch):
    monkeypatch.setattr(entries, "KEPT", 3)
    monkeypatch.setattr(entries, "TRIM_BATCH", 2)
    for number in range(6):
        with audit.entered(entry(f"a{number}", number)):
            await writes.write([])
    assert [await audit.trim() for _ in range(3)] == [2, 1, 0]
    assert [one.entry_id for one in entered(stage)] == ["a3", "a4", "a5"]
    assert not {keys.AUDIT + f"a{number}" for number in range(3)} & stage.two.fleet.written.keys()


async def test_a_reason_of_any_length_is_cut_and_a_list_of_servers_is_not(stage, writes, audit):
    acting = Acting(writes)
    context = SimpleNamespace(
        fleet=stage.two.fleet,
        audit=audit,
        rescue_desk=acting,
        steering=acting,
        publisher=MagicMock(),
    )
    request = SimpleNamespace(user=ALICE)
    disarm = ROUTES["/v1/rescue/disarm"].fn
    await disarm(request=request, context=context, data=Disarm(reason="x" * 5_000))
    (told,) = entered(stage)
    assert told.parameters == {"reason": "x" * 999 + "…"}
    names = tuple(f"server-of-a-long-name-{number}" for number in range(500))
    retry = ROUTES["/v1/evacuations/{evacuation}/retry"].fn
    await retry(request=request, context=context, evacuation="e1", data=ServersOf(servers=names))
    (told,) = (one for one in entered(stage) if one.entry_id != told.entry_id)
    assert told.parameters["servers"] == ", ".join(names)
