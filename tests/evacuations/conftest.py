"""Evacuations on a lab, asked for as consoles and scripts do: through the API."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import httpx
import msgspec
import pytest

from lab.node import init_process
from lab.readiness import operator_client
from tests.fleet import Fleet, eventually
from wire.errors import ErrorBody
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    MoveOptions,
    MoveState,
    Plan,
    PlanRequest,
    ReturnRequest,
)
from wire.fleet import HostView
from wire.migration import Migration, MigrationDetail

ANYWHERE = MoveOptions(skip_cpu_check=True, skip_kernel_check=True)
"""kvm-03 and kvm-04 have other CPUs and kernels than kvm-01 and kvm-02, which guests bear."""


class Office:
    """Begins and follows evacuations of a fleet."""

    def __init__(self, fleet: Fleet, client: httpx.Client) -> None:
        self.fleet = fleet
        self._client = client

    def post(self, path: str, body: msgspec.Struct | None = None) -> httpx.Response:
        content = msgspec.json.encode(body) if body is not None else None
        headers = {"Connection": "close", "Content-Type": "application/json"}
        return self._client.post(path, content=content, headers=headers, timeout=30)

    def plan(self, *hosts: str, **changes: Any) -> list[Plan]:
        answer = self.post("/v1/evacuations/plan", PlanRequest(hosts=hosts, **changes))
        assert answer.is_success, answer.text
        return msgspec.json.decode(answer.content, type=list[Plan])

    def refusal(self, path: str, body: msgspec.Struct | None = None) -> str:
        answer = self.post(path, body)
        assert answer.is_client_error, answer.text
        return msgspec.json.decode(answer.content, type=ErrorBody).message

    def begin(self, *hosts: str, **changes: Any) -> list[Evacuation]:
        request = PlanRequest(hosts=hosts, confirmed=hosts, **({"options": ANYWHERE} | changes))
        answer = self.post("/v1/evacuations", request)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return msgspec.json.decode(answer.content, type=list[Evacuation])

    def begin_twice(self, *hosts: str, **changes: Any) -> tuple[list[Evacuation], str]:
        """Begin as two operators at one moment; what began, and what the other one is told."""
        request = PlanRequest(hosts=hosts, confirmed=hosts, options=ANYWHERE, **changes)
        together = Barrier(2)

        def post(_: int) -> httpx.Response:
            together.wait()
            return self.post("/v1/evacuations", request)

        with ThreadPoolExecutor(2) as operators:
            answers = sorted(operators.map(post, range(2)), key=lambda one: one.status_code)
        assert [one.status_code for one in answers] == [httpx.codes.ACCEPTED, httpx.codes.CONFLICT]
        begun = msgspec.json.decode(answers[0].content, type=list[Evacuation])
        return begun, msgspec.json.decode(answers[1].content, type=ErrorBody).message

    def bring_back(self, host: str) -> Evacuation:
        answer = self.post(f"/v1/hosts/{host}/return", ReturnRequest(options=ANYWHERE))
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return msgspec.json.decode(answer.content, type=Evacuation)

    def act(self, evacuation: Evacuation, act: str, body: msgspec.Struct | None = None) -> None:
        answer = self.post(f"/v1/evacuations/{evacuation.evacuation_id}/{act}", body)
        assert answer.is_success, answer.text

    def leave_maintenance(self, host: str) -> None:
        answer = self.post(f"/v1/hosts/{host}/exit-maintenance")
        assert answer.is_success, answer.text

    def now(self, evacuation: Evacuation) -> Evacuation:
        return self._get(f"/v1/evacuations/{evacuation.evacuation_id}", Evacuation)

    def detail(self, migration_id: str) -> MigrationDetail:
        return self._get(f"/v1/migrations/{migration_id}", MigrationDetail)

    def hosts(self) -> dict[str, HostView]:
        return {one.facts.name: one for one in self._get("/v1/hosts", list[HostView])}

    def moves(self, evacuation: Evacuation) -> list[Migration]:
        """Every try of every server."""
        known = self._get("/v1/migrations", list[Migration])
        return [one for one in known if one.evacuation_id == evacuation.evacuation_id]

    def lines(self, evacuation: Evacuation) -> dict[str, EvacuatedServer]:
        """The servers of an evacuation as they are now, by name."""
        return {one.plan.server_name: one for one in self.now(evacuation).servers}

    def states(self, evacuation: Evacuation) -> dict[str, MoveState]:
        return {name: one.state for name, one in self.lines(evacuation).items()}

    def until(self, evacuation: Evacuation, holds: Any, what: str, *, within_s: float = 60) -> Any:
        """Wait until something holds of the evacuation; a backend that is away is asked again."""
        return eventually(lambda: holds(self.now(evacuation)), within_s=within_s, what=what)

    def end(self, evacuation: Evacuation, *, within_s: float = 90) -> Evacuation:
        return self.until(
            evacuation,
            lambda now: None if now.open else now,
            f"{evacuation.host_name} ended",
            within_s=within_s,
        )

    def open(self) -> list[Evacuation]:
        return [one for one in self._get("/v1/evacuations", list[Evacuation]) if one.open]

    def _get(self, path: str, kind: Any) -> Any:
        answer = self._client.get(path, headers={"Connection": "close"}, timeout=10)
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=kind)


@contextmanager
def opened(fleet: Fleet) -> Iterator[Office]:
    """Whatever was begun is over at the end, and every host in service."""
    with operator_client(fleet.lab.state, fleet.lab.folders) as client:
        office = Office(fleet, client)
        yield office
        for node in fleet.lab.state.hosts:
            if init_process(node) is None:
                fleet.lab.power_on(node.name)
        fleet.clear_links()
        for one in office.open():
            office.post(f"/v1/evacuations/{one.evacuation_id}/cancel")
        eventually(lambda: not office.open(), within_s=90, what="every evacuation ended")
        for host in fleet.hosts:
            office.leave_maintenance(host)


@pytest.fixture
def office(fleet: Fleet) -> Iterator[Office]:
    """Begins evacuations of a fleet of four hosts."""
    with opened(fleet) as office:
        yield office


@pytest.fixture
def office_of_six(six_hosts: Fleet) -> Iterator[Office]:
    """The same of six hosts."""
    with opened(six_hosts) as office:
        yield office
