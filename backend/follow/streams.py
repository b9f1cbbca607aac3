"""Following every agent's event stream into the fleet model."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from backend.agents import AgentClient, Agents
from backend.fleet.known import Fleet
from backend.migrations.jobs import Jobs
from wire.agent import AGENT_EVENTS, AgentSnapshot, Job, JobSample, JobState, ServerGone
from wire.errors import GodwitError
from wire.fleet import HostMeters, ServerFacts
from wire.forecast import Dirtying
from wire.migration import Sample
from wire.stream import StreamDown, StreamEvent, follow

_log = logging.getLogger(__name__)

GRACE_S = 4.0
"""So long an agent may be away (it restarts within a second) before its words stop counting."""
_RECHECK_S = 0.5

SampleSink = Callable[[str, Sample], None]
"""Called with migration id and sample, for each sample that arrives."""


class Streams:
    """One task for each host in the fleet model, for as long as :meth:`run` runs."""

    def __init__(self, agents: Agents, fleet: Fleet, jobs: Jobs, on_sample: SampleSink) -> None:
        self._agents = agents
        self._fleet = fleet
        self._jobs = jobs
        self._on_sample = on_sample
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Keep a stream open to the agent of each known host."""
        try:
            while True:
                self._reconcile()
                await asyncio.sleep(_RECHECK_S)
        finally:
            for _, task in self._tasks.values():
                task.cancel()

    def _reconcile(self) -> None:
        known = self._fleet.facts
        for host_id, (url, task) in tuple(self._tasks.items()):
            if host_id not in known or known[host_id].agent_url != url or task.done():
                task.cancel()
                task.add_done_callback(_report)
                del self._tasks[host_id]
        for host_id, facts in known.items():
            if host_id not in self._tasks:
                client = self._agents.of(host_id, facts.name)
                task = asyncio.create_task(self._follow(host_id, client), name=client.url)
                self._tasks[host_id] = (client.url, task)

    async def _follow(self, host_id: str, client: AgentClient) -> None:
        silence: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        try:
            async with contextlib.aclosing(follow(client.http, "/v1/events")) as stream:
                async for seen in stream:
                    match seen:
                        case StreamEvent():
                            await self._take(host_id, client, seen)
                            if silence is not None and self._fleet.link(host_id).connected:
                                silence.cancel()
                                silence = None
                        case StreamDown():
                            self._lost(host_id, seen)
                            if silence is None:
                                silence = loop.call_later(GRACE_S, self._silent, host_id)
        finally:
            if silence is not None:
                silence.cancel()
            await self._agents.close(host_id, client)

    def _lost(self, host_id: str, down: StreamDown) -> None:
        """Note why an agent is not heard; the words of a transport that broke go to the log."""
        link, name = self._fleet.link(host_id), self._name(host_id)
        reason = f"{name} does not answer" if down.broke else down.reason
        if link.connected or link.reason != reason:
            _log.warning("agent of %s: %s", name, down.reason)
            self._fleet.agent_lost(host_id, reason, silent=link.silent)
            self._jobs.wake_all()

    def _silent(self, host_id: str) -> None:
        self._fleet.agent_lost(host_id, self._fleet.link(host_id).reason, silent=True)
        self._jobs.wake_all()

    async def _take(self, host_id: str, client: AgentClient, event: StreamEvent) -> None:
        kind = AGENT_EVENTS.get(event.name)
        if kind is None:
            return
        try:
            payload = msgspec.json.decode(event.data, type=kind)
        except msgspec.DecodeError as error:
            name = self._name(host_id)
            _log.error("agent of %s: event %s cannot be read: %s", name, event.name, error)
            return
        if isinstance(payload, AgentSnapshot):
            await self._take_snapshot(host_id, client, payload)
        elif self._fleet.link(host_id).connected:
            self._take_change(host_id, payload)

    def _take_change(self, host_id: str, payload: msgspec.Struct) -> None:
        self._fleet.heard(host_id)
        match payload:
            case HostMeters():
                self._fleet.put_meters(host_id, payload)
            case ServerFacts():
                self._fleet.put_report(host_id, payload)
            case ServerGone(server_id=server_id):
                self._fleet.drop_report(host_id, server_id)
            case Job():
                self._take_job(payload)
            case Dirtying():
                self._fleet.put_dirtying(payload)
            case JobSample(migration_id=migration_id, sample=sample):
                if (migration := self._fleet.migrations.get(migration_id)) is not None:
                    self._fleet.traffic.saw(migration, sample)
                placed = self._jobs.put_sample(migration_id, sample)
                if placed is not None:
                    self._on_sample(migration_id, placed)

    async def _take_snapshot(
        self, host_id: str, client: AgentClient, snapshot: AgentSnapshot
    ) -> None:
        if snapshot.facts.host_id != host_id:
            url, other = snapshot.facts.agent_url, snapshot.facts.host_id
            reason = f"the agent at {url} is that of host {other}, not {host_id}"
            self._lost(host_id, StreamDown(reason=reason))
            return
        self._fleet.put_snapshot(host_id, snapshot)
        for job in snapshot.jobs:
            self._take_job(job)
            if job.state is not JobState.ENDED:
                await self._refill(client, job.migration_id)
        self._jobs.wake_all()

    async def _refill(self, client: AgentClient, migration_id: str) -> None:
        """Fetch the part of a curve that was drawn while nobody here listened."""
        try:
            self._jobs.put_detail(await client.job(migration_id))
        except GodwitError as error:
            _log.warning("%s: curve not fetched: %s", migration_id, error.message)

    def _take_job(self, job: Job) -> None:
        migration = self._fleet.migrations.get(job.migration_id)
        if migration is not None and migration.state.ended:
            return
        self._jobs.put(job)
        self._fleet.changes.migrations.add(job.migration_id)
        self._fleet.changes.wake.set()

    def _name(self, host_id: str) -> str:
        facts = self._fleet.facts.get(host_id)
        return facts.name if facts else host_id


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s failed and starts over", task.get_name(), exc_info=error)
