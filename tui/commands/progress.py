"""A migration as it happens, on stderr: passes as lines of a table, the phase in between."""

from typing import IO

import msgspec

from tui.commands.status_line import StatusLine
from tui.formats.table import EMPTY
from tui.formats.units import bytes_text, duration_text, rate_text
from wire.migration import Migration, MigrationState, Pass, Sample

_TITLES = ("pass", "to send", "sent", "took", "bandwidth", "dirty rate", "throttle")
_WIDTHS = (4, 9, 9, 11, 12, 12, 8)
_STEP_PERCENT = 10
"""Without a terminal the copy of disks is told in such steps."""


class Progress:
    """Draws what a :class:`tui.following.Watcher` is told.

    On a terminal the last line is rewritten with each sample. Elsewhere only whole lines are
    written: one for each phase, for each pass, and for each tenth of the disks.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._status = StatusLine(stream, "the migration")
        self._migration: Migration | None = None
        self._sample: Sample | None = None
        self._passes_shown = 0
        self._disk_copied_bytes = 0
        self._steps_shown = 0

    def on_migration(self, migration: Migration) -> None:
        """Show a new phase and each pass that is over and was not shown yet."""
        before, self._migration = self._migration, migration
        if before is None or before.target_host_name != migration.target_host_name:
            self._status.line(_route_line(migration))
        self._tell_stall("" if before is None else before.stalled_reason, migration)
        for note in migration.notes[len(before.notes) if before else 0 :]:
            self._status.line(f"{note.text} (by {note.by})" if note.by else note.text)
        # Until the end the last pass is under way.
        for one in migration.passes if migration.state.ended else migration.passes[:-1]:
            self._show_pass(one)
        if not self._status.rewrites:
            if before is None or before.state is not migration.state:
                self._status.line(phase_text(migration.state))
        else:
            self._redraw()

    def on_sample(self, sample: Sample) -> None:
        """Show the latest figures."""
        self._sample = sample = self._forward(sample)
        if self._status.rewrites:
            self._redraw()
        elif self._migration is not None and copies_disks(self._migration.state):
            steps = disk_percent(sample) // _STEP_PERCENT
            if steps > self._steps_shown:
                self._steps_shown = steps
                self._status.line(self._phase_line(sample))

    def on_link(self, reason: str) -> None:
        """Say once that the connection broke, and once that it is back."""
        self._status.on_link(reason)

    def close(self) -> None:
        """Take the rewritten line away."""
        self._status.close()

    def _tell_stall(self, before: str, migration: Migration) -> None:
        """Say once that the source fell silent, and once that it is back."""
        if migration.stalled_reason and not before:
            self._status.line(f"{migration.stalled_reason}; the wait goes on")
        elif before and not migration.stalled_reason and not migration.state.ended:
            self._status.line(f"{migration.source_host_name} answers again")

    def _forward(self, sample: Sample) -> Sample:
        """The sample, with no byte of disks less than was copied before: a resumed copy recounts.

        Progress never runs backwards.
        """
        copied = sample.disk_total_bytes - sample.disk_remaining_bytes
        self._disk_copied_bytes = max(self._disk_copied_bytes, copied)
        remaining = max(0, sample.disk_total_bytes - self._disk_copied_bytes)
        return msgspec.structs.replace(sample, disk_remaining_bytes=remaining)

    def _phase_line(self, sample: Sample) -> str:
        state = self._migration.state if self._migration else MigrationState.QUEUED
        return f"{phase_text(state)}  {figures_text(state, sample)}"

    def _show_pass(self, one: Pass) -> None:
        if one.number <= self._passes_shown:
            return
        if not self._passes_shown:
            self._status.line(_row(_TITLES))
        self._passes_shown = one.number
        self._status.line(_row(_pass_cells(one)))

    def _redraw(self) -> None:
        if self._migration is None or self._migration.state.ended:
            return
        text = phase_text(self._migration.state)
        if self._migration.stalled_reason:
            text = f"{text}  {self._migration.stalled_reason}"
        elif self._sample is not None:
            text = self._phase_line(self._sample)
        self._status.redraw(text)


def phase_text(state: MigrationState) -> str:
    """``copying memory``."""
    return state.value.replace("_", " ")


def pass_table(passes: tuple[Pass, ...]) -> list[str]:
    """All passes as lines, with a heading."""
    return [_row(_TITLES), *(_row(_pass_cells(one)) for one in passes)] if passes else []


def _route_line(migration: Migration) -> str:
    what = f"migration {migration.migration_id}: {migration.server_name}"
    if not migration.target_host_name:
        return f"{what} leaves {migration.source_host_name}"
    return f"{what} goes from {migration.source_host_name} to {migration.target_host_name}"


def copies_disks(state: MigrationState) -> bool:
    """Whether the disks are what the figures are about."""
    return state is MigrationState.COPYING_DISKS


def disk_percent(sample: Sample) -> int:
    """Per cent of the disks' bytes that are over; 100 only when nothing is left, 0 unless known."""
    if not sample.disk_total_bytes:
        return 0
    return 100 * (sample.disk_total_bytes - sample.disk_remaining_bytes) // sample.disk_total_bytes


def figures_text(state: MigrationState, sample: Sample) -> str:
    """What is left, and how quickly it goes.

    ``42 %  431 MiB of 1 GiB  105 MiB/s  12.3 s`` of disks, and
    ``pass 3  65 MiB left  45.1 MiB/s  dirty 18.2 MiB/s  12.3 s`` of memory.
    """
    parts = _disk_figures(sample) if copies_disks(state) else _memory_figures(sample)
    return "  ".join([*parts, duration_text(sample.elapsed_ms)])


def _disk_figures(sample: Sample) -> list[str]:
    if not sample.disk_total_bytes:
        return []
    copied = sample.disk_total_bytes - sample.disk_remaining_bytes
    parts = [
        f"{disk_percent(sample)} %",
        f"{bytes_text(copied)} of {bytes_text(sample.disk_total_bytes)}",
    ]
    if sample.disk_bandwidth_bytes_per_s:
        parts.append(rate_text(sample.disk_bandwidth_bytes_per_s))
    return parts


def _memory_figures(sample: Sample) -> list[str]:
    if not sample.pass_number:
        return []
    parts = [f"pass {sample.pass_number}", f"{bytes_text(sample.memory_remaining_bytes)} left"]
    if sample.postcopy:
        parts.append("post-copy")
    if sample.bandwidth_bytes_per_s:
        parts.append(rate_text(sample.bandwidth_bytes_per_s))
    if sample.dirty_bytes_per_s:
        parts.append(f"dirty {rate_text(sample.dirty_bytes_per_s)}")
    if sample.throttle_percent:
        parts.append(f"throttle {sample.throttle_percent} %")
    return parts


def _pass_cells(one: Pass) -> tuple[str, ...]:
    return (
        str(one.number),
        bytes_text(one.remaining_at_start_bytes),
        bytes_text(one.transferred_bytes),
        duration_text(one.duration_ms),
        rate_text(one.bandwidth_bytes_per_s),
        rate_text(one.dirty_bytes_per_s) if one.number > 1 else EMPTY,
        f"{one.throttle_percent} %" if one.throttle_percent else EMPTY,
    )


def _row(cells: tuple[str, ...]) -> str:
    return "  ".join(text.rjust(width) for text, width in zip(cells, _WIDTHS, strict=True))
