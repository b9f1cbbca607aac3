"""What is known of one guest's memory: samples of its host, passes of its moves, and its size."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from backend.fleet.known import Fleet
from backend.fleet.server_view import owner_report
from backend.forecast.curve import Point
from backend.migrations.jobs import Jobs
from wire.fleet import ServerRecord
from wire.forecast import Basis, Dirtying
from wire.migration import Migration, Pass, PostcopyState

EMULATOR_BYTES = 44 << 20
"""What QEMU needs for itself, which ``balloon.rss`` counts too: 43 to 46 MiB of QEMU 7.2."""
_MIB = 1 << 20
_LEAST_BYTES = 4 * _MIB
"""Firmware and device memory: no guest has less in use."""
_SAMPLED_PAGES_PER_GIB = 512
"""QEMU's page sampling (``DIRTYRATE_DEFAULT_SAMPLE_PAGES``)."""
_FRACTION_MIB_PER_S = 0.3
"""Standard error of a rate of which the fraction of a MiB/s is dropped."""
_PASS_ERROR, _FIRST_PASS_ERROR = 0.05, 0.1
"""Parts of what a pass shows. What the first one leaves behind cannot be told from zero pages."""
_SHORTEST_PASS_MS = 50


class UnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """How far a live move is: at the beginning of the pass that it makes now."""

    finished: int
    """Passes that are over."""
    elapsed_ms: int
    """From the first pass's beginning."""
    sent_bytes: int
    remaining_bytes: int
    overhead_ms: int
    """From the job's beginning to the first pass's."""
    throttle_percent: int = 0
    """How far the guest is held back."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One guest's memory."""

    memory_bytes: int
    in_use_bytes: int
    """What is not zero: the first pass sends it."""
    points: tuple[Point, ...] = ()
    basis: Basis = Basis.GUESSED
    under_way: UnderWay | None = None


def known_of(
    fleet: Fleet, jobs: Jobs, record: ServerRecord, just_made: Sequence[Pass] = ()
) -> Known:
    """Gather what is known of a server.

    Passes of a move under way, or of one that was given up just now, count beside the samples,
    those of the last move only where there are no samples: what a guest does changes.
    """
    report = owner_report(fleet, record)
    memory_bytes = max(1, record.memory_bytes if report is None else report.memory_bytes)
    dirtying = fleet.dirtying.get(record.server_id)
    last = fleet.past.last_move(record.server_id)
    present = _present(fleet, jobs, record)
    shown = present or just_made
    points = [] if dirtying is None else sample_points(dirtying, memory_bytes)
    points += pass_points(shown)
    basis = Basis.MEASURED
    if not points and last is not None and last.postcopy is PostcopyState.NOT:
        points, basis = pass_points(last.passes), Basis.PAST_MOVE
    return Known(
        memory_bytes=memory_bytes,
        in_use_bytes=_in_use_bytes(dirtying, last, shown, memory_bytes),
        points=tuple(points),
        basis=basis if points else Basis.GUESSED,
        under_way=_under_way(present),
    )


def sample_points(dirtying: Dirtying, memory_bytes: int) -> list[Point]:
    """Windows as points, with the error of looking at few pages: sqrt(p(1-p)/n) of all memory."""
    pages = max(1.0, memory_bytes / (1 << 30) * _SAMPLED_PAGES_PER_GIB)
    points = []
    for sample in dirtying.samples:
        seconds = sample.window_ms / 1000
        share = min(max(sample.dirtied_bytes / memory_bytes, 1 / pages), 1 - 1 / pages)
        looked = memory_bytes * math.sqrt(max(0.0, share * (1 - share)) / pages)
        rounded = _FRACTION_MIB_PER_S * _MIB * seconds
        points.append(
            Point(
                seconds=seconds,
                dirtied_bytes=sample.dirtied_bytes,
                error_bytes=max(_MIB, math.hypot(looked, rounded)),
                sampled=True,
            )
        )
    return points


def pass_points(passes: Sequence[Pass]) -> list[Point]:
    """Each finished pass as a point: what remains after it, less what it left behind.

    A guest that was held back ran for a part of the time only: of that the point tells.
    """
    points = []
    for done, following in pairwise(passes):
        ran_ms = done.duration_ms * (1 - done.throttle_percent / 100)
        if following.number != done.number + 1 or ran_ms < _SHORTEST_PASS_MS:
            continue
        first = done.number == 1
        left = 0 if first else max(0, done.remaining_at_start_bytes - done.transferred_bytes)
        dirtied = max(0, following.remaining_at_start_bytes - left)
        part = _FIRST_PASS_ERROR if first else _PASS_ERROR
        points.append(
            Point(
                seconds=ran_ms / 1000,
                dirtied_bytes=dirtied,
                error_bytes=_MIB + part * dirtied,
            )
        )
    return points


def _present(fleet: Fleet, jobs: Jobs, record: ServerRecord) -> tuple[Pass, ...]:
    """Passes of the live move under way; empty without one."""
    migration = fleet.move_under_way(record)
    if migration is None or migration.kind != "live" or migration.state.ended:
        return ()
    job = jobs.latest(migration.migration_id)
    if job is None or job.postcopy is not PostcopyState.NOT:
        return ()
    return job.passes


def _under_way(passes: Sequence[Pass]) -> UnderWay | None:
    """Where the walk goes on; None before the first pass is over."""
    if len(passes) < 2:
        return None
    first, last = passes[0], passes[-1]
    return UnderWay(
        finished=last.number - 1,
        elapsed_ms=last.started_ms - first.started_ms,
        sent_bytes=_sent(passes[:-1]),
        remaining_bytes=last.remaining_at_start_bytes,
        overhead_ms=first.started_ms,
        throttle_percent=last.throttle_percent,
    )


def _sent(passes: Iterable[Pass]) -> int:
    return sum(each.transferred_bytes for each in passes)


def _in_use_bytes(
    dirtying: Dirtying | None,
    last: Migration | None,
    shown: Sequence[Pass],
    memory_bytes: int,
) -> int:
    if len(shown) > 1 and shown[0].number == 1:
        used = shown[0].transferred_bytes
    elif dirtying is not None and dirtying.resident_bytes:
        used = dirtying.resident_bytes - EMULATOR_BYTES
    elif last is not None and last.passes[0].number == 1:
        used = last.passes[0].transferred_bytes
    else:
        used = memory_bytes
    return min(memory_bytes, max(used, _LEAST_BYTES))
