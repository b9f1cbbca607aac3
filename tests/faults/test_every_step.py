"""Every fault at every step of a live and of a cold move: the end is true, and can be repeated."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import msgspec
import pytest

from lab.folders import LOCAL_PATH
from lab.readiness import operator_client
from wire.migration import Migration, MigrationDetail, MigrationState
from wire.rescue import Incident, RescueState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(280)]

SOURCE, TARGET = "kvm-01", "kvm-02"
ROOM_MB = 1000
"""What the target's local pool has, where it has an end."""
DATA_MB = 48
"""What has to cross a link of 200 Mbit/s, so that each step lasts long enough to be hit."""

STEPS = {
    "live": (
        MigrationState.PREPARING,
        MigrationState.COPYING_DISKS,
        MigrationState.COPYING_MEMORY,
        MigrationState.SWITCHING_OVER,
    ),
    "cold": (
        MigrationState.PREPARING,
        MigrationState.COPYING_DISKS,
        MigrationState.SWITCHING_OVER,
        MigrationState.COMPLETING,
    ),
}


@contextlib.contextmanager
def target_agent_killed(fleet: Any) -> Iterator[None]:
    fleet.kill_program(TARGET, "hostagent")
    yield


@contextlib.contextmanager
def target_libvirtd_killed(fleet: Any) -> Iterator[None]:
    fleet.kill_program(TARGET, "libvirtd")
    yield


@contextlib.contextmanager
def disk_full_on_the_target(fleet: Any) -> Iterator[None]:
    fleet.lab.limit_pool(TARGET, 0)
    yield
    fleet.lab.limit_pool(TARGET, ROOM_MB)


@contextlib.contextmanager
def link_cut_and_healed(fleet: Any) -> Iterator[None]:
    fleet.lab.partition(TARGET)
    time.sleep(4)
    fleet.lab.heal(TARGET)
    yield


@contextlib.contextmanager
def backend_killed(fleet: Any) -> Iterator[None]:
    fleet.kill_program("controller", "backend.main")
    yield


FAULTS: dict[str, Callable[[Any], AbstractContextManager[None]]] = {
    "target agent killed": target_agent_killed,
    "target libvirtd killed": target_libvirtd_killed,
    "disk full on the target": disk_full_on_the_target,
    "link cut and healed": link_cut_and_healed,
    "backend killed": backend_killed,
}
CASES = [
    pytest.param(
        *(kind, step, fault),
        id=f"{kind}: {fault} while {step}",
        # each step and each fault of both kinds stands in every run
        marks=() if (number + turn) % 4 == 0 else pytest.mark.long,
    )
    for kind, steps in STEPS.items()
    for number, step in enumerate(steps)
    for turn, fault in enumerate(FAULTS)
]


def wait_for_step(client: httpx.Client, migration_id: str, step: MigrationState) -> Migration:
    """Return when a migration has come to a step, or is past it already."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        answer = client.get(f"/v1/migrations/{migration_id}")
        known = msgspec.json.decode(answer.content, type=MigrationDetail).migration
        if known.state.rank >= step.rank:
            return known
        time.sleep(0.01)
    raise AssertionError(f"{migration_id} never came to {step}")


def local_files(fleet: Any, host: str, name: str) -> dict[str, str]:
    """Every file of a server in a host's local pool, partial and kept ones too, with its digest."""
    pool = fleet.lab.path(host, LOCAL_PATH)
    return {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in pool.iterdir()
        if name in each.name
    }


def begin(fleet: Any, kind: str, name: str) -> str:
    verb = "server-live-migrate" if kind == "live" else "server-migrate"
    return str(fleet.ask(verb, "--prefer-host", TARGET, name)["migration_id"])


def check_end(fleet: Any, kind: str, name: str, record: dict[str, Any]) -> None:
    """The guest is where record, listing and libvirt say, once, and nothing of it elsewhere."""
    moved = record["state"] == "succeeded"
    here, elsewhere = (TARGET, SOURCE) if moved else (SOURCE, TARGET)
    assert fleet.defined_on(name) == [here], record
    shown = fleet.show(name)
    assert shown["host_name"] == here
    assert local_files(fleet, here, name), record
    assert local_files(fleet, elsewhere, name) == {}, (record["outcome"], record["notes"], record)
    if kind == "cold":
        assert shown["status"] == "ready"
        assert fleet.running_on(name) == []
    else:
        assert shown["status"] == "running"
        assert fleet.running_on(name) == [here]
        assert fleet.lab.memory_losses(here, name) == []
        report = fleet.lab.guest_report(here, name)
        assert (report.boots, report.memory_faults, report.disk_splits) == (1, 0, 0)
    if not moved:
        assert record["state"] == "failed", record
        assert record["error"], record
        assert name in record["outcome"], record
        assert SOURCE in record["outcome"], record


@pytest.mark.parametrize(("kind", "step", "fault"), CASES)
def test_a_fault_at_a_step(fleet: Any, kind: str, step: MigrationState, fault: str):
    if fault == "disk full on the target":
        fleet.lab.limit_pool(TARGET, ROOM_MB)
    name = fleet.add_server(SOURCE, storage="local", data_mb=DATA_MB, stopped=kind == "cold")
    before = local_files(fleet, SOURCE, name)
    fleet.limit_links("200mbit")
    migration_id = begin(fleet, kind, name)
    with operator_client(fleet.lab.state, fleet.lab.folders) as client:
        wait_for_step(client, migration_id, step)
    with FAULTS[fault](fleet):
        record = fleet.end_of(migration_id, within_s=150)
    fleet.clear_links()
    fleet.wait_until_healthy()
    check_end(fleet, kind, name, record)
    if kind == "cold":
        moved = record["state"] == "succeeded"
        assert local_files(fleet, TARGET if moved else SOURCE, name) == before
    if record["state"] == "failed":
        again = fleet.end_of(begin(fleet, kind, name))
        assert again["state"] == "succeeded", again
        check_end(fleet, kind, name, again)


HOSTS = {"source": SOURCE, "target": TARGET}
CUT_IN_EACH_RUN = ("live", MigrationState.COPYING_DISKS, "source")
"""One of them: each takes a lease and a start of a host."""
CUTS = [
    pytest.param(
        *(kind, step, side),
        id=f"{kind}: power of the {side} cut while {step}",
        marks=() if (kind, step, side) == CUT_IN_EACH_RUN else pytest.mark.long,
    )
    for kind, steps in STEPS.items()
    for step in steps
    for side in HOSTS
]


def lost(client: httpx.Client, host: str, *, within_s: float = 60.0) -> Incident:
    """The report of a host that was cut off its power, once there is one."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        reports = msgspec.json.decode(client.get("/v1/incidents").content, type=list[Incident])
        for one in reports:
            if one.host_name == host and one.open and one.servers:
                return one
        time.sleep(0.2)
    raise AssertionError(f"nobody misses {host}")


def check_kept(fleet: Any, kind: str, name: str, record: dict[str, Any], cut: str) -> None:
    """One host has the server, whole; a guest that died with its host has been started there."""
    here, elsewhere = (TARGET, SOURCE) if record["state"] == "succeeded" else (SOURCE, TARGET)
    wanted = ("ready" if kind == "cold" else "running", here)
    fleet.eventually(
        lambda: tuple(fleet.show(name).get(each) for each in ("status", "host_name")) == wanted,
        within_s=60,
        what=f"{name} is {wanted} after {record}",
    )
    assert fleet.defined_on(name) == [here], record
    assert local_files(fleet, here, name), record
    # a target whose half of the guest waits for its dead source lets go of it a little later
    fleet.eventually(
        lambda: not local_files(fleet, elsewhere, name),
        within_s=90,
        what=f"{elsewhere} holds nothing of {name}",
    )
    assert fleet.lab.data_losses(here, name) == []
    if kind == "cold":
        assert fleet.running_on(name) == []
        return
    assert fleet.running_on(name) == [here]
    fleet.eventually(lambda: fleet.lab.guest_report(here, name).beats, within_s=60, what="beats")
    report = fleet.lab.guest_report(here, name)
    assert (report.memory_faults, report.disk_splits) == (0, 0)
    if record["state"] == "failed":
        assert report.boots == (2 if cut == SOURCE else 1), record


@pytest.mark.parametrize(("kind", "step", "side"), CUTS)
def test_a_host_dies_at_a_step(fleet: Any, kind: str, step: MigrationState, side: str):
    """Its disks are its own, so that nobody starts elsewhere what it had: it waits for its host."""
    cut = HOSTS[side]
    name = fleet.add_server(SOURCE, storage="local", data_mb=DATA_MB, stopped=kind == "cold")
    waits = fleet.add_server(cut, storage="local")
    fleet.limit_links("200mbit")
    migration_id = begin(fleet, kind, name)
    with operator_client(fleet.lab.state, fleet.lab.folders) as client:
        wait_for_step(client, migration_id, step)
        fleet.lab.power_cut(cut)
        try:
            told = {one.server_name: one for one in lost(client, cut).servers}
        finally:
            fleet.lab.power_on(cut)
    assert (told[waits].state, told[waits].migration_id) == (RescueState.SKIPPED, "")
    assert f"alone ({LOCAL_PATH}/{waits}" in told[waits].reason
    if cut == SOURCE:
        assert name not in told or told[name].reason, told[name]
    record = fleet.end_of(migration_id, within_s=150)
    fleet.clear_links()
    fleet.wait_until_healthy()
    check_kept(fleet, kind, name, record, cut)
    fleet.until_status(waits, "running")
    assert fleet.running_on(waits) == [cut]
    if record["state"] == "failed":
        again = fleet.end_of(begin(fleet, kind, name))
        assert again["state"] == "succeeded", again
        check_kept(fleet, kind, name, again, cut)
