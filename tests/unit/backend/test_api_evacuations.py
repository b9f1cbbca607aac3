"""The routes of evacuations on a whole backend with a real etcd, and no agent that answers."""

import asyncio

import msgspec
import pytest

from tests.unit.backend.test_api import OPERATOR, VIEWER, api, config, refusal
from wire import keys
from wire.errors import ErrorCode
from wire.evacuation import Evacuation, EvacuationKind, EvacuationState, Plan, PlanRequest
from wire.fleet import HostView

__all__ = ["api", "config"]

ACTS = [
    "/v1/evacuations",
    "/v1/hosts/kvm-01/maintenance",
    "/v1/hosts/kvm-01/exit-maintenance",
    "/v1/hosts/kvm-01/return",
    *(
        f"/v1/evacuations/e1/{act}"
        for act in ("pause", "resume", "cancel", "retry", "replan", "change")
    ),
]


def body(**changes: object) -> dict[str, object]:
    request = PlanRequest(hosts=("kvm-01",), **changes)  # type: ignore[arg-type]  # by name
    return msgspec.to_builtins(request)


def known(answer) -> list[Evacuation]:
    assert answer.is_success, answer.text
    return msgspec.json.decode(answer.content, type=list[Evacuation])


def put_open(etcd, **changes: object) -> None:
    values: dict[str, object] = {
        "evacuation_id": "e1",
        "kind": EvacuationKind.EVACUATE,
        "host_id": "host-1",
        "host_name": "kvm-01",
        "state": EvacuationState.PAUSED,
        "servers": (),
        "requested_by": "carol",
        "created_at_ms": 1_700_000_000_000,
    }
    record = Evacuation(**(values | changes))  # type: ignore[arg-type]  # by field name
    etcd.put(keys.EVACUATIONS + record.evacuation_id, msgspec.json.encode(record))


@pytest.mark.parametrize("path", ACTS)
async def test_a_viewer_changes_nothing(api, path):
    sent = body() if path == "/v1/evacuations" else {}
    refusal(await api.post(path, headers=VIEWER, json=sent), 403, ErrorCode.FORBIDDEN)


async def test_a_viewer_may_plan(api):
    answer = await api.post("/v1/evacuations/plan", headers=VIEWER, json=body())
    assert answer.status_code == 200, answer.text
    (plan,) = msgspec.json.decode(answer.content, type=list[Plan])
    assert (plan.host_name, len(plan.moves)) == ("kvm-01", 3)


@pytest.mark.parametrize("path", ACTS[4:-1])
async def test_an_evacuation_that_does_not_exist_is_named(api, path):
    answer = await api.post(path, headers=OPERATOR)
    said = refusal(answer, 404, ErrorCode.NOT_FOUND)
    assert said == "no evacuation has the id 'e1'"
    shown = await api.get("/v1/evacuations/e1", headers=VIEWER)
    assert refusal(shown, 404, ErrorCode.NOT_FOUND) == said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nothing was typed to confirm, and what would be emptied is called 'kvm-01'"),
        ({"confirmed": ("kvm-1",)}, "'kvm-1' was typed to confirm"),
        ({"confirmed": ("host-1",)}, "'host-1' was typed to confirm"),
        ({"confirmed": ("kvm-01",), "max_bandwidth_bytes_per_s": 7}, "is 7, and must be at least"),
        ({"confirmed": ("kvm-01",), "empty_by_ms": 1}, "empty_by_ms is 1 (1970-01-01 00:00 UTC)"),
    ],
)
async def test_a_start_that_cannot_be_meant_changes_nothing(api, etcd, changes, words):
    answer = await api.post("/v1/evacuations", headers=OPERATOR, json=body(**changes))
    assert words in refusal(answer, 400, ErrorCode.BAD_REQUEST)
    assert etcd.list(keys.EVACUATIONS).items == ()
    assert etcd.list(keys.POLICIES).items == ()


async def test_no_host_at_all_is_refused(api):
    answer = await api.post("/v1/evacuations", headers=OPERATOR, json={"hosts": []})
    assert "hosts is empty" in refusal(answer, 400, ErrorCode.BAD_REQUEST)


async def test_maintenance_is_begun_and_ended(api):
    for act, on in (("maintenance", True), ("exit-maintenance", False)):
        answer = await api.post(f"/v1/hosts/kvm-01/{act}", headers=OPERATOR)
        assert answer.status_code == 200, answer.text
        assert msgspec.json.decode(answer.content, type=HostView).policy.maintenance is on


async def until_listed(api) -> list[Evacuation]:
    async with asyncio.timeout(20):
        while not (listed := known(await api.get("/v1/evacuations", headers=VIEWER))):
            await asyncio.sleep(0.05)
    return listed


async def test_who_empties_a_host_is_told_with_the_time(api, etcd):
    put_open(etcd)
    assert [one.evacuation_id for one in await until_listed(api)] == ["e1"]
    sent = body(confirmed=("kvm-01",))
    answer = await api.post("/v1/evacuations", headers=OPERATOR, json=sent)
    said = refusal(answer, 409, ErrorCode.CONFLICT)
    assert said == (
        "kvm-01 is being emptied, and paused since 2023-11-14 22:13 UTC by carol (evacuation e1); "
        "look at it, or cancel it first"
    )
    answer = await api.post("/v1/hosts/kvm-01/exit-maintenance", headers=OPERATOR)
    assert "godwit evacuation-cancel e1 ends that" in refusal(answer, 409, ErrorCode.CONFLICT)
