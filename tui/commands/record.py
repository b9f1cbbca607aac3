"""One migration's record as text: what was asked for, what happened, how it ended."""

import click

from tui.commands.output import print_record
from tui.commands.progress import figures_text, pass_table, phase_text
from tui.formats.evacuation import BASES
from tui.formats.options import option_words
from tui.formats.report import note_text
from tui.formats.units import bytes_text, duration_text, moment_text, rate_text
from wire.forecast import Forecast
from wire.migration import Migration, MigrationDetail, MigrationState, PostcopyState


def print_outcome(migration: Migration) -> None:
    """Write what an ended migration did: route, passes, bytes, total time, downtime."""
    judged = [("risk", migration.risk), ("safe", migration.safe)]
    told = [("outcome", migration.outcome), *_figures(migration), *judged]
    print_record([(name, value) for name, value in told if value])


def print_migration(detail: MigrationDetail) -> None:
    """Write all that is known of a migration, its passes last."""
    migration = detail.migration
    told = [
        ("id", migration.migration_id),
        ("kind", migration.kind),
        ("server", f"{migration.server_name} ({migration.server_id})"),
        ("state", phase_text(migration.state)),
        ("stalled", migration.stalled_reason),
        ("last known" if migration.stalled_reason else "now", _now_text(detail)),
        ("incident", migration.incident_id),
        ("evacuation", migration.evacuation_id),
        ("requested by", migration.requested_by),
        ("cancelled by", migration.cancel_requested_by),
        ("options", " ".join(option_words(migration.options)) or "all default"),
        ("changed", _changed_text(migration)),
        ("risk", migration.risk),
        ("safe", migration.safe),
        ("post-copy", _postcopy_text(migration)),
        ("forecast", _expected_text(migration.forecast)),
        ("lever", migration.forecast.lever if migration.forecast else ""),
        ("created", moment_text(migration.created_at_ms)),
        ("finished", moment_text(migration.finished_at_ms)),
        *_figures(migration),
        ("outcome", migration.outcome),
        ("error", migration.error),
        ("advice", migration.advice),
        ("notes", _notes_text(migration)),
        ("kept", _kept_text(migration)),
    ]
    print_record([(name, value) for name, value in told if value])
    for line in pass_table(migration.passes):
        click.echo(line)


def _now_text(detail: MigrationDetail) -> str:
    if detail.migration.state.ended or not detail.samples:
        return ""
    return figures_text(detail.migration.state, detail.samples[-1])


def _changed_text(migration: Migration) -> str:
    parameters = migration.parameters
    changed = []
    if parameters.max_bandwidth_bytes_per_s is not None:
        changed.append(f"cap {rate_text(parameters.max_bandwidth_bytes_per_s)}")
    if parameters.no_bandwidth_limit:
        changed.append("no cap")
    if parameters.downtime_limit_ms is not None:
        changed.append(f"downtime limit {parameters.downtime_limit_ms} ms")
    return ", ".join(changed)


def _postcopy_text(migration: Migration) -> str:
    if migration.postcopy is PostcopyState.NOT:
        return ""
    return "used" if migration.state is MigrationState.SUCCEEDED else migration.postcopy.value


def _notes_text(migration: Migration) -> str:
    return "\n".join(note_text(note) for note in migration.notes)


def _kept_text(migration: Migration) -> str:
    if not migration.kept:
        return ""
    files = [f"{each.kind}  {each.path}  {bytes_text(each.size_bytes)}" for each in migration.kept]
    remove = f"remove them with: godwit migration-remove-kept {migration.migration_id}"
    return "\n".join([f"on {migration.target_host_name}:", *files, remove])


def _figures(migration: Migration) -> list[tuple[str, str]]:
    route = f"{migration.source_host_name} -> {migration.target_host_name or '?'}"
    if not (migration.state.ended and migration.statistics.total_ms):
        return [("route", route)]
    figures = [("route", route)]
    if migration.kind == "live":
        figures.append(("passes", str(migration.statistics.pass_count or len(migration.passes))))
    if migration.kind != "rescue":
        figures.append(("bytes", _bytes_text(migration)))
    figures.append(("total time", duration_text(migration.statistics.total_ms)))
    if migration.kind == "live" and migration.state is MigrationState.SUCCEEDED:
        figures.append(("downtime", _downtime_text(migration)))
    return figures


def _expected_text(told: Forecast | None) -> str:
    """What the move was expected to take when it began, to be held against what came."""
    if told is None:
        return ""
    band = f"{duration_text(told.low_ms)} to {duration_text(told.high_ms)}"
    parts = [f"{duration_text(told.total_ms)} ({band})", bytes_text(told.sent_bytes)]
    if told.downtime_ms:
        parts.append(f"pause {duration_text(told.downtime_ms)}")
    return ", ".join([*parts, told.ease, BASES[told.basis]])


def _bytes_text(migration: Migration) -> str:
    figures = migration.statistics
    sent = []
    if migration.kind == "live":
        sent.append(f"{bytes_text(figures.memory_transferred_bytes)} of memory")
    if figures.disk_transferred_bytes or not sent:
        holes = ", holes included" if migration.kind == "live" else ""
        sent.append(f"{bytes_text(figures.disk_transferred_bytes)} of disks{holes}")
    return ", ".join(sent)


def _downtime_text(migration: Migration) -> str:
    downtime_ms = migration.statistics.downtime_ms
    if downtime_ms is None:
        return "unknown: neither host could tell any more"
    limit = f"limit {duration_text(migration.downtime_limit_ms)}"
    if migration.options.quickly_finish:
        limit += f", may be raised to {duration_text(migration.options.downtime_bound_ms)}"
    return f"{duration_text(downtime_ms)} ({limit})"
