"""How far moves under way are: what is left to send of each, as its latest sample tells."""

import statistics
import time
from collections import deque

from backend.evacuations.timing.pacing import Moving
from backend.fleet.known import Fleet
from backend.fleet.stalled import stalled_reason
from backend.migrations.jobs import Jobs
from backend.scheduler.storage import carried
from wire.evacuation import EvacuatedServer
from wire.fleet import ServerRecord
from wire.forecast import Ease, Forecast
from wire.migration import Migration, MigrationState, Sample

FIRST_LEAD_S = 1.5
"""Until one was measured: libvirt starts a QEMU on the target, and agents are asked."""
_LEADS_KEPT = 8
_WRONG = 1.3
"""Of a move that has sent so many times what was expected nobody knows what is left."""
_SHOWS_AFTER_MS = 1_000
"""The first one on a link shows by then what it gets: what fits into buffers has gone."""
_LATER = 1.25
"""What the passes after the first bring on top, of a guest that shares a link."""
_HOPEFUL = 0.9
"""A guest that dirties more than this share of what is sent comes to no end that can be told."""
_HEAVY = 0.5
"""One that dirties so much of what is sent needs the whole link, whatever was expected."""


class Lead:
    """How long moves take from their begin until their first byte is sent, as seen lately."""

    def __init__(self) -> None:
        self._begun_s: dict[str, float] = {}
        self._took_s: deque[float] = deque(maxlen=_LEADS_KEPT)

    @property
    def s(self) -> float:
        """The median, in seconds."""
        return statistics.median(self._took_s) if self._took_s else FIRST_LEAD_S

    def begun(self, migration_id: str) -> None:
        """Note that a move begins now."""
        self._begun_s[migration_id] = time.monotonic()

    def look(self, fleet: Fleet, jobs: Jobs) -> None:
        """Take the time of those that have sent something since the last look."""
        for migration_id in tuple(self._begun_s):
            migration = fleet.migrations.get(migration_id)
            samples = jobs.samples(migration_id)
            if samples and sent_bytes(samples[-1]):
                self._took_s.append(time.monotonic() - self._begun_s.pop(migration_id))
            elif migration is None or migration.state.ended:
                del self._begun_s[migration_id]


def sent_bytes(sample: Sample) -> int:
    """What a job has sent so far, memory and disks."""
    disks = sample.disk_total_bytes - sample.disk_remaining_bytes
    return sample.memory_processed_bytes + disks


def sends(record: ServerRecord | None, kind: str) -> bool:
    """Whether anything but a definition crosses the link."""
    if kind == "rescue":
        return False
    return kind == "live" or record is None or bool(carried(record.disks, "cold"))


def moving(
    fleet: Fleet,
    jobs: Jobs,
    migration: Migration,
    server: EvacuatedServer | None,
    *,
    forecast: Forecast | None,
    shown_heavy: bool,
    stream_bytes_per_s: int,
    lead_s: float,
    at_ms: int,
) -> Moving:
    """A move under way as the pace looks at it.

    Args:
        fleet: hosts and servers.
        jobs: samples.
        migration: its record.
        server: its line in an evacuation; None for a move that a person asked for.
        forecast: what it is expected to take as its link is now; None if nobody knows.
        shown_heavy: whether it has shown before that it needs the whole link.
        stream_bytes_per_s: what moves have shown that one gets on this link; 0 if none has.
        lead_s: from a begin to the first byte.
        at_ms: now.
    """
    planned = server.plan.target_host_id if server else ""
    begun_with = server.forecast if server else None
    samples = jobs.samples(migration.migration_id)
    latest = samples[-1] if samples and sent_bytes(samples[-1]) else None
    before_the_switch = migration.state.rank < MigrationState.SWITCHING_OVER.rank
    heavy = shown_heavy or _is_heavy(forecast, latest)
    preparing = latest is None and before_the_switch
    prepares_s = max(0.0, lead_s - (at_ms - migration.created_at_ms) / 1000) if preparing else 0.0
    left_s = _left_s(
        migration,
        latest,
        expected_bytes=begun_with.sent_bytes if begun_with else 0,
        stream_bytes_per_s=stream_bytes_per_s,
        prepares_s=prepares_s,
    )
    if before_the_switch and left_s is not None and latest is not None:
        told_s = _forecast_left_s(fleet, jobs, migration, forecast, latest)
        if told_s is not None:
            left_s = max(left_s, told_s)
        elif heavy:
            left_s = None
    elif before_the_switch and heavy:
        left_s = None
    return Moving(
        migration_id=migration.migration_id,
        server_name=migration.server_name,
        source_host_id=migration.source_host_id,
        target_host_id=migration.target_host_id or planned,
        heavy=heavy,
        sends=sends(fleet.records.get(migration.server_id), migration.kind),
        preparing=preparing,
        prepares_s=prepares_s,
        left_s=left_s,
        sending_bytes_per_s=_rate(latest) if latest else 0,
        shows_link=_shows_link(fleet, migration, latest),
        stalled=bool(stalled_reason(fleet, migration)),
    )


def _shows_link(fleet: Fleet, migration: Migration, latest: Sample | None) -> bool:
    """Whether a move shows what its link carries: of copied disks holes count as if sent."""
    if migration.max_bandwidth_bytes_per_s is not None:
        return False
    if migration.kind != "live" or (latest is not None and latest.pass_number):
        return True
    record = fleet.records.get(migration.server_id)
    return record is not None and not carried(record.disks, "live")


def shows_heavy(latest: Sample) -> bool:
    """Whether a move needs the whole link by what it shows now, whatever was expected."""
    return _dirtying(latest) > _HEAVY * _rate(latest) > 0


def _left_s(
    migration: Migration,
    latest: Sample | None,
    *,
    expected_bytes: int,
    stream_bytes_per_s: int,
    prepares_s: float,
) -> float | None:
    if migration.state.rank >= MigrationState.SWITCHING_OVER.rank:
        return 0.0
    if latest is None:
        if not expected_bytes or not stream_bytes_per_s:
            return None  # whatever is expected of its link, nobody has seen it
        return prepares_s + expected_bytes / stream_bytes_per_s
    if not stream_bytes_per_s and latest.elapsed_ms < _SHOWS_AFTER_MS:
        return None
    rate = _rate(latest) or stream_bytes_per_s
    alone = max(rate, stream_bytes_per_s)
    surprising = expected_bytes and sent_bytes(latest) > _WRONG * expected_bytes
    dirtying = _dirtying(latest)
    if not rate or surprising or dirtying >= _HOPEFUL * rate:
        return None
    return left_bytes(latest, expected_bytes) / (alone - dirtying)


def _forecast_left_s(
    fleet: Fleet, jobs: Jobs, migration: Migration, forecast: Forecast | None, latest: Sample
) -> float | None:
    """How long a move still copies, by its forecast; None if that does not say.

    What remains falls to nothing at the end of every pass, and grows again in the next one, of
    which the first pass says nothing.
    """
    job = jobs.latest(migration.migration_id)
    passes = job.passes if job else ()
    if len(passes) < 2 or forecast is None or forecast.ease is Ease.STUCK:
        return None
    begun_ms = passes[0].started_ms
    before_ms = max(fleet.past.overhead_ms("live"), begun_ms)
    return (forecast.total_ms - before_ms - (latest.elapsed_ms - begun_ms)) / 1000


def _rate(latest: Sample) -> int:
    return latest.bandwidth_bytes_per_s + latest.disk_bandwidth_bytes_per_s


def left_bytes(latest: Sample, expected_bytes: int) -> int:
    """What is still to be sent.

    In the first pass zero pages count among what remains and cost next to nothing, while what is
    dirtied meanwhile comes on top: the forecast knows better, unless it is above what can come, or
    more was sent than it expected.
    Later passes tell themselves.
    """
    remaining = latest.memory_remaining_bytes + latest.disk_remaining_bytes
    sent = sent_bytes(latest)
    if latest.pass_number > 1 or sent >= expected_bytes:
        return remaining
    return min(expected_bytes - sent, round(remaining * _LATER))


def _dirtying(latest: Sample) -> int:
    """How fast what remains grows again; in the first pass nobody knows."""
    return latest.dirty_bytes_per_s if latest.pass_number > 1 else 0


def _is_heavy(forecast: Forecast | None, latest: Sample | None) -> bool:
    """Whether nothing may join a move: by its forecast, or by what it shows meanwhile."""
    if forecast is not None and forecast.ease is not Ease.EASY:
        return True
    return latest is not None and shows_heavy(latest)
