"""Hosts that are to be emptied, are being emptied, and were: what pictures are made of."""

from collections.abc import Callable
from typing import Any

import msgspec

from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveState,
    Plan,
    PlanEdit,
    PlannedMove,
    PlanRequest,
    Way,
)
from wire.fleet import HostPolicy, ServerStatus
from wire.forecast import Basis, Ease, Forecast, LinkRate
from wire.migration import MigrationOptions, MigrationState, Note, Statistics

MIB = 1 << 20
GIB = 1 << 30
NOON_MS = 1_795_435_200_000
LINK = LinkRate(
    bytes_per_s=int(47.7 * MIB), measured_at_ms=NOON_MS - 3_600_000, stream_bytes_per_s=31 * MIB
)

changed = msgspec.structs.replace


def host_id(number: int) -> str:
    return f"0b5e4a4e-0000-4000-8000-0000000000{number:02d}"


def server_id(number: int) -> str:
    return f"7c1d0000-0000-4000-8000-0000000000{number:02d}"


def forecast(ease: Ease = Ease.EASY, basis: Basis = Basis.MEASURED, **view: object) -> Forecast:
    """Of a guest that is nearly idle, unless told otherwise."""
    fields: dict[str, object] = {
        "ease": ease,
        "basis": basis,
        "total_ms": 9_000,
        "low_ms": 7_500,
        "high_ms": 12_000,
        "sent_bytes": 290 * MIB,
        "downtime_ms": 60,
        "pass_count": 3,
        "bandwidth_bytes_per_s": 31 * MIB,
    }
    return Forecast(**{**fields, **view})


def move(number: int, name: str, **view: object) -> PlannedMove:
    """A live move from kvm-01 to kvm-02, unless told otherwise."""
    fields: dict[str, object] = {
        "server_id": server_id(number),
        "server_name": name,
        "way": Way.LIVE,
        "source_host_id": host_id(1),
        "source_host_name": "kvm-01",
        "target_host_id": host_id(2),
        "target_host_name": "kvm-02",
        "forecast": forecast(),
        "starts_in_s": 0,
        "ends_in_s": 9,
        "memory_bytes": 256 * MIB,
    }
    return PlannedMove(**{**fields, **view})


def stays(number: int, name: str, why: str, **view: object) -> PlannedMove:
    """A server that is not moved."""
    fields: dict[str, object] = {
        "way": Way.STAYS,
        "target_host_id": "",
        "target_host_name": "",
        "forecast": None,
        "ends_in_s": 0,
        "why": why,
    }
    return move(number, name, **{**fields, **view})


MOVES = (
    move(1, "web-1"),
    move(21, "web-2", target_host_id=host_id(3), target_host_name="kvm-03"),
    move(22, "cache-1", starts_in_s=8, ends_in_s=19, pinned=True, first=True),
    move(
        23,
        "mail-1",
        starts_in_s=17,
        ends_in_s=29,
        forecast=forecast(basis=Basis.GUESSED, low_ms=6_000, high_ms=90_000),
    ),
    move(24, "build-1", starts_in_s=27, ends_in_s=40, forecast=forecast(basis=Basis.PAST_MOVE)),
    move(
        3,
        "db-1",
        starts_in_s=40,
        ends_in_s=86,
        target_host_id=host_id(3),
        target_host_name="kvm-03",
        memory_bytes=GIB,
        why="it goes alone: it dirties 38 MiB/s, which takes the whole link",
        forecast=forecast(
            Ease.HEAVY,
            total_ms=46_000,
            low_ms=41_000,
            high_ms=58_000,
            sent_bytes=2 * GIB,
            downtime_ms=290,
            floor_ms=180,
            pass_count=7,
            bandwidth_bytes_per_s=LINK.bytes_per_s,
        ),
    ),
    move(
        25,
        "hot-1",
        starts_in_s=86,
        ends_in_s=154,
        memory_bytes=GIB,
        options=MigrationOptions(quickly_finish=True, downtime_bound_ms=3_000),
        forecast=forecast(
            Ease.STUCK,
            total_ms=68_000,
            low_ms=60_000,
            high_ms=95_000,
            sent_bytes=3 * GIB,
            downtime_ms=2_140,
            floor_ms=1_940,
            pass_count=9,
            bandwidth_bytes_per_s=LINK.bytes_per_s,
            lever="quickly finish with a bound of 2140 ms: no pause under 1940 ms on this link",
        ),
    ),
    move(
        5,
        "old-1",
        way=Way.COLD,
        forecast=None,
        starts_in_s=86,
        ends_in_s=88,
        why="it is stopped, and stays so",
    ),
    move(
        26,
        "files-1",
        way=Way.COLD,
        starts_in_s=154,
        ends_in_s=240,
        forecast=None,
        why="4 GiB of local disks are copied",
    ),
    stays(
        27,
        "gpu-1",
        "it holds a device of kvm-01: PCI device 0000:3b:00.0",
        memory_bytes=4 * GIB,
    ),
    stays(
        28,
        "big-1",
        "no host has 20 GiB of memory free: kvm-02 has 16 GiB, kvm-03 has 13 GiB",
        memory_bytes=20 * GIB,
    ),
    stays(29, "pet-1", "you left it out", chosen_way=True),
)


def make_plan(**view: object) -> Plan:
    """kvm-01 with twelve servers, eight of which leave it while one waits."""
    fields: dict[str, object] = {
        "kind": EvacuationKind.EVACUATE,
        "host_id": host_id(1),
        "host_name": "kvm-01",
        "moves": MOVES,
        "made_at_ms": NOON_MS,
        "finish_in_s": 240,
        "finish_low_s": 205,
        "finish_high_s": 390,
        "sent_bytes": 11 * GIB,
        "link": LINK,
        "warnings": (
            (
                "hot-1 does not converge within 300 ms: it waits until quickly finish or a longer "
                "pause is chosen"
            ),
            "kvm-01 is not empty after this: gpu-1, big-1 and pet-1 stay",
        ),
    }
    return Plan(**{**fields, **view})


def edited(plan: Plan, edits: tuple[PlanEdit, ...]) -> Plan:
    """The plan as the backend would give it with these wishes, as far as the console's tests go."""
    wishes = {each.server: each for each in edits}
    moves = []
    for each in plan.moves:
        wish = wishes.get(each.server_id)
        if wish is None:
            moves.append(each)
            continue
        now = each
        if wish.way is Way.STAYS:
            now = changed(
                now, way=Way.STAYS, chosen_way=True, why="you left it out", target_host_name=""
            )
        elif wish.way is not None:
            now = changed(now, way=wish.way, chosen_way=True, why="", target_host_name="kvm-02")
        if wish.first is not None:
            now = changed(now, first=wish.first)
        if wish.target:
            now = changed(now, target_host_id=wish.target, target_host_name="kvm-05", pinned=True)
        moves.append(now)
    moves.sort(key=lambda each: (each.way is Way.STAYS, not each.first))
    return changed(plan, moves=tuple(moves))


def answer(client: Any, request: PlanRequest) -> list[Plan]:
    """One plan for each host that is asked for."""
    plans = []
    for number, key in enumerate(request.hosts):
        name = next(each.facts.name for each in client.fleet.hosts if each.facts.host_id == key)
        plan = changed(client.plan_shown, host_id=key, host_name=name)
        if number:
            moves = tuple(
                changed(each, server_id=f"{each.server_id[:-2]}{70 + place}", source_host_name=name)
                for place, each in enumerate(plan.moves[:4])
            )
            plan = changed(
                plan, moves=moves, warnings=(), finish_in_s=40, finish_low_s=31, finish_high_s=70
            )
        by = request.empty_by_ms
        if by:
            late = NOON_MS + 1000 * plan.finish_high_s > by
            told = (
                "too late for it by 1 min 30 s at worst: leave hot-1 out, or lift the cap"
                if late
                else "it can be kept, with 2 min 10 s to spare at worst"
            )
            plan = changed(plan, deadline=told, meets_deadline=not late)
        plans.append(edited(plan, request.edits))
    return plans


def course(**view: object) -> Evacuation:
    """kvm-01 while it is emptied: every state of a server is there."""

    def at(place: int, state: MoveState, **more: object) -> EvacuatedServer:
        return EvacuatedServer(
            plan=MOVES[place], state=state, forecast=MOVES[place].forecast, **more
        )

    def left(
        place: int, began_s: int, took_s: float, pause_ms: int | None, mib: int
    ) -> EvacuatedServer:
        return at(
            place,
            MoveState.LEFT,
            tries=1,
            migration_id=f"3f0001{place:02d}",
            started_at_ms=NOON_MS - 90_000 + 1000 * began_s,
            ended_at_ms=NOON_MS - 90_000 + int(1000 * (began_s + took_s)),
            downtime_ms=pause_ms,
            sent_bytes=mib * MIB,
        )

    servers = (
        left(0, 0, 9.4, 52, 301),
        left(1, 0, 10.2, 71, 310),
        changed(
            left(2, 8, 4.0, None, 120),
            state=MoveState.FAILED,
            tries=2,
            reason="kvm-02 does not answer any more; tried twice",
        ),
        left(3, 18, 41.0, 188, 960),
        at(4, MoveState.CANCELLED, tries=1, reason="cancelled by alice"),
        at(
            5,
            MoveState.MOVING,
            tries=1,
            migration_id="3f000003",
            started_at_ms=NOON_MS - 11_000,
        ),
        at(
            7,
            MoveState.MOVING,
            tries=1,
            migration_id="3f000031",
            started_at_ms=NOON_MS - 1_000,
        ),
        at(6, MoveState.WAITING, reason="for a lever: quickly finish with a bound of 2140 ms"),
        at(8, MoveState.WAITING, reason="for the link: db-1 takes all of it"),
        at(9, MoveState.STAYED, reason=MOVES[9].why),
        at(10, MoveState.STAYED, reason=MOVES[10].why),
        at(11, MoveState.STAYED, reason="alice left it out"),
    )
    fields: dict[str, object] = {
        "evacuation_id": "e7a10b52",
        "kind": EvacuationKind.EVACUATE,
        "host_id": host_id(1),
        "host_name": "kvm-01",
        "servers": servers,
        "requested_by": "alice",
        "created_at_ms": NOON_MS - 90_000,
        "empty_by_ms": NOON_MS + 1_800_000,
        "notes": (
            Note(at_ms=NOON_MS - 90_000, text="12 servers planned, kvm-01 put into maintenance"),
            Note(at_ms=NOON_MS - 60_000, text="paused", by="bob"),
            Note(at_ms=NOON_MS - 40_000, text="resumed", by="bob"),
            Note(at_ms=NOON_MS - 25_000, text="cache-1 failed twice; it waits for an operator"),
        ),
        "planned_finish_s": 240,
        "finish_at_ms": NOON_MS + 195_000,
        "finish_low_ms": NOON_MS + 150_000,
        "finish_high_ms": NOON_MS + 330_000,
        "link": LINK,
        "sending_bytes_per_s": int(45.9 * MIB),
        "deadline": "not empty in time: gpu-1 and big-1 stay",
        "meets_deadline": False,
    }
    return Evacuation(**{**fields, **view})


def _put(client: Any, *evacuations: Evacuation, maintenance: bool = True) -> None:
    hosts = list(client.fleet.hosts)
    held = next((each.evacuation_id for each in evacuations if each.open), "")
    hosts[0] = changed(
        hosts[0], policy=HostPolicy(maintenance=maintenance), evacuation_id=held, server_count=9
    )
    moving, disks = client.fleet.migrations[0], client.fleet.servers[4]
    first = changed(
        moving,
        target_host_id=host_id(3),
        target_host_name="kvm-03",
        evacuation_id="e7a10b52",
    )
    cold = changed(
        moving,
        migration_id="3f000031",
        kind="cold",
        server_id=disks.server_id,
        server_name=disks.name,
        state=MigrationState.PREPARING,
        passes=(),
        evacuation_id="e7a10b52",
    )
    done = tuple(
        changed(
            moving,
            migration_id=f"3f0001{place:02d}",
            server_id=MOVES[place].server_id,
            server_name=MOVES[place].server_name,
            state=MigrationState.FAILED if place == 2 else MigrationState.SUCCEEDED,
            statistics=Statistics(total_ms=9000, downtime_ms=52, memory_total_bytes=257 * MIB),
            evacuation_id="e7a10b52",
        )
        for place in (0, 1, 2, 3)
    )
    servers = tuple(
        changed(
            client.fleet.servers[0],
            server_id=each.server_id,
            name=each.server_name,
            memory_bytes=each.memory_bytes,
            status=ServerStatus.READY if each.way is Way.COLD else ServerStatus.RUNNING,
        )
        for each in MOVES
        if each.server_id not in {one.server_id for one in client.fleet.servers}
    )
    client.fleet = changed(
        client.fleet,
        hosts=tuple(hosts),
        servers=(*client.fleet.servers, *servers),
        migrations=(first, cold, *done, *client.fleet.migrations[1:]),
        evacuations=evacuations,
    )


def planned(client: Any) -> None:
    """kvm-01 is there to be emptied, and so is kvm-02."""
    _put(client, maintenance=False)


def running(client: Any) -> None:
    """kvm-01 is being emptied; kvm-03 was, an hour ago."""
    _put(client, course(), _of_kvm_03())


def paused(client: Any) -> None:
    """The same, paused."""
    late = course(
        state=EvacuationState.PAUSED,
        max_bandwidth_bytes_per_s=40 * MIB,
        sending_bytes_per_s=0,
    )
    _put(client, late, _of_kvm_03())


def ended(client: Any) -> None:
    """The report of kvm-01: what left, what failed, what stayed."""
    began = NOON_MS - 90_000
    servers = tuple(
        changed(
            each,
            state=MoveState.LEFT,
            reason="",
            tries=max(1, each.tries),
            migration_id=each.migration_id or f"3f0002{place:02d}",
            started_at_ms=each.started_at_ms or began + 9_000 * place,
            ended_at_ms=(each.started_at_ms or began + 9_000 * place) + 12_000 + 4_100 * place,
            downtime_ms=None if each.plan.way is Way.COLD else 40 + 210 * place,
            sent_bytes=(280 + 90 * place) * MIB,
        )
        if each.state.open
        else each
        for place, each in enumerate(course().servers)
    )
    report = course(
        state=EvacuationState.ENDED, servers=servers, ended_at_ms=NOON_MS + 171_000, finish_at_ms=0
    )
    _put(client, report, _of_kvm_03(), maintenance=False)


def rescue(client: Any) -> None:
    """kvm-04 is dead, and all of it is to be started elsewhere."""
    _put(client, maintenance=False)
    moves = tuple(
        changed(each, way=Way.RESCUE, forecast=None, source_host_name="kvm-04", why="")
        for each in MOVES[:4]
    )
    local = stays(27, "gpu-1", "vdb (/srv/gpu-1.img) is on local storage of kvm-04")
    client.plan_shown = make_plan(
        kind=EvacuationKind.RESCUE,
        moves=(*moves, local),
        link=None,
        sent_bytes=0,
        warnings=(),
        refusals=("kvm-04 is not proven to be dead: F declares it off",),
    )


def _of_kvm_03() -> Evacuation:
    moved = course().servers[:2]
    return course(
        evacuation_id="e7a10a01",
        host_id=host_id(3),
        host_name="kvm-03",
        state=EvacuationState.ENDED,
        servers=tuple(changed(each, returned=False) for each in moved),
        created_at_ms=NOON_MS - 4_000_000,
        ended_at_ms=NOON_MS - 3_940_000,
        finish_at_ms=0,
        deadline="",
    )


SCENES: dict[str, Callable[[Any], None]] = {
    each.__name__: each for each in (planned, running, paused, ended, rescue)
}
