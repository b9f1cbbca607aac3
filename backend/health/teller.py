"""Telling people what happens to hosts, in order, and off the way of what is done about it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from backend.fleet.known import Fleet
from backend.health.channels import Channel, Refused, Undelivered
from backend.health.notices import Notice, of_guard, of_incident
from backend.leader import Leadership
from backend.moments import now_ms
from wire.errors import GodwitError
from wire.rescue import Incident, RescueGuard

_log = logging.getLogger(__name__)

QUEUE_SIZE = 1_000
"""Notices that wait for one channel; with more, the newest are told to the log only."""
RETRY_AFTER_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, *(60.0,) * 9)
"""A receiver that is started anew, or ten minutes of a broken line, are waited for."""
RECENT_MS = 30_000
"""What happened so shortly before this backend began to lead may have been told to nobody."""
_LOOK_S = 1.0
_NOTE_TIMEOUT_S = 5.0

AddNote = Callable[[str, str], Awaitable[object]]
"""Called with incident id and sentence."""


class Teller:
    """Tells what it sees in the fleet model while this backend leads."""

    def __init__(
        self,
        fleet: Fleet,
        leadership: Leadership,
        channels: Sequence[Channel],
        add_note: AddNote,
    ) -> None:
        """Prepare.

        Args:
            fleet: what is told of.
            leadership: another backend tells nothing.
            channels: on which.
            add_note: writes into an incident that a notice did not arrive.
        """
        self._fleet = fleet
        self._leadership = leadership
        self._queues = [(one, asyncio.Queue[Notice](QUEUE_SIZE)) for one in channels]
        self._add_note = add_note
        self._told: dict[str, Incident] | None = None
        self._told_guard = RescueGuard()

    async def run(self) -> None:
        """Tell for ever, each channel at its own pace."""
        async with asyncio.TaskGroup() as group:
            for channel, queue in self._queues:
                group.create_task(self._deliver(channel, queue))
            while self._queues:
                await self._next_look()
                self.look()

    async def _next_look(self) -> None:
        changed = self._fleet.incidents_changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await changed.wait()
        changed.clear()

    def look(self) -> None:
        """Queue what has happened since the last look."""
        fleet = self._fleet
        if not self._leadership.leading:
            self._told = None
            return
        if fleet.etcd_error:
            return
        if self._told is None:
            self._begin()
        told = self._told or {}
        for incident_id, incident in fleet.incidents.items():
            if told.get(incident_id) != incident:
                self._queue(of_incident(told.get(incident_id), incident))
        self._queue(of_guard(self._told_guard, fleet.guard))
        self._told, self._told_guard = dict(fleet.incidents), fleet.guard

    def _begin(self) -> None:
        """Take up what another leader left: all is told that is not news any more."""
        fleet, since_ms = self._fleet, now_ms() - RECENT_MS
        self._told = {
            incident_id: one
            for incident_id, one in fleet.incidents.items()
            if max((note.at_ms for note in one.notes), default=one.lost_at_ms) < since_ms
        }
        is_news = fleet.guard.at_ms >= since_ms
        self._told_guard = RescueGuard(
            armed=not fleet.guard.armed if is_news else fleet.guard.armed
        )

    def _queue(self, notices: list[Notice]) -> None:
        for notice in notices:
            for channel, queue in self._queues:
                try:
                    queue.put_nowait(notice)
                except asyncio.QueueFull:
                    _log.error("the %s is too far behind for: %s", channel.name, notice.text)

    async def _deliver(self, channel: Channel, queue: "asyncio.Queue[Notice]") -> None:
        while True:
            notice = await queue.get()
            reason = await _insist(channel, msgspec.json.encode(notice))
            if reason:
                await self._note_failure(channel, notice, reason)

    async def _note_failure(self, channel: Channel, notice: Notice, reason: str) -> None:
        text = f"the {channel.name} was not told of {notice.event}: {reason}"
        _log.warning("%s", text)
        if notice.incident is None:
            return
        try:
            async with asyncio.timeout(_NOTE_TIMEOUT_S):
                await self._add_note(notice.incident.incident_id, text)
        except (GodwitError, TimeoutError) as error:
            _log.warning("incident %s has no note of that: %s", notice.incident.incident_id, error)


async def _insist(channel: Channel, body: bytes) -> str:
    """Send until it arrives, is refused, or all tries are over; why it did not, or empty."""
    reason = ""
    for pause_s in (0.0, *RETRY_AFTER_S):
        await asyncio.sleep(pause_s)
        try:
            await channel.send(body)
        except Refused as error:
            return str(error)
        except Undelivered as error:
            reason = str(error)
        else:
            return ""
    return reason
