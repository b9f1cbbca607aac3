"""How a migration ended: where the server is, the real pause, and libvirt's own words."""

from tui.formats.options import option_words
from tui.formats.units import bytes_text, duration_text, moment_text
from tui.paint import Line, Span, Tone, labelled, line, pad, wrap
from tui.text import escape_lines
from tui.views.figures import heading, note_lines, pass_header, pass_lines
from tui.views.glyphs import Glyphs, migration_span
from tui.views.migrations import duration_ms, pass_count
from wire.migration import Migration, MigrationState, Sample


def ending_lines(migration: Migration, width: int, glyphs: Glyphs) -> list[Line]:
    """Outcome first, then what to do, the error in full, and the figures."""
    span = migration_span(migration.state, glyphs)
    outcome = migration.outcome or span.text
    lines = wrap(f"{span.text}: {outcome}", width, span.tone)
    if migration.cancel_requested_by:
        lines += wrap(f"Aborted by {migration.cancel_requested_by}.", width)
    if migration.advice:
        lines += wrap(migration.advice, width, Tone.STRONG)
    if migration.error:
        lines.append(line(Span("The error in full:", Tone.DIM)))
        for each in escape_lines(migration.error):
            lines += wrap(each, width, Tone.BAD)
    lines += labelled(_figures(migration, glyphs), width)
    if migration.kept:
        lines += [(), *kept_lines(migration, width)]
    if migration.notes:
        lines += [(), line(Span("What happened:", Tone.DIM)), *note_lines(migration.notes, width)]
    return lines


def kept_lines(migration: Migration, width: int) -> list[Line]:
    """What a failed migration left on its target on request: kind, size and path."""
    lines = wrap(f"Kept on {migration.target_host_name} for debugging:", width, Tone.STRONG)
    for each in migration.kept:
        head = f"{pad(each.kind, 11)}{pad(bytes_text(each.size_bytes), 8, right=True)}  "
        for number, part in enumerate(wrap(each.path, max(10, width - len(head)))):
            lines.append((Span(head if not number else " " * len(head), Tone.DIM), *part))
    return lines


def summary(migration: Migration, last: Sample | None, width: int, glyphs: Glyphs) -> list[Line]:
    """A migration in brief: its heading, then how it ended or its passes so far."""
    lines = [heading(migration, last, glyphs)]
    if migration.state.ended:
        return lines + ending_lines(migration, width, glyphs)
    if migration.passes:
        lines += [pass_header(width), *pass_lines(migration.passes, width)]
    return lines + note_lines(migration.notes, width)


def _downtime(migration: Migration, glyphs: Glyphs) -> Span:
    """The real pause against its limit."""
    pause, limit = migration.statistics.downtime_ms, migration.downtime_limit_ms
    if migration.options.quickly_finish:
        limit = max(limit, migration.options.downtime_bound_ms)
    if pause is None:
        return Span("neither host could say", Tone.WARN)
    if pause > limit:
        text = f"{duration_text(pause)} {glyphs.warn} over the limit of {limit} ms"
        return Span(text, Tone.WARN)
    return Span(f"{duration_text(pause)} (limit {limit} ms)")


def _figures(migration: Migration, glyphs: Glyphs) -> list[tuple[str, Span]]:
    statistics = migration.statistics
    took = duration_ms(migration, None)
    fields: list[tuple[str, Span]] = []
    if migration.kind == "live" and migration.state is MigrationState.SUCCEEDED:
        fields.append(("downtime", _downtime(migration, glyphs)))
    fields.append(("total time", Span(duration_text(took) if took else "-")))
    if migration.kind == "live":
        passes = pass_count(migration, None)
        sent = bytes_text(statistics.memory_transferred_bytes)
        memory = f"{sent} sent in {passes} {'pass' if passes == 1 else 'passes'}"
        fields.append(("memory", Span(memory)))
    if statistics.disk_transferred_bytes:
        disks = bytes_text(statistics.disk_transferred_bytes)
        live = migration.kind == "live"  # QEMU counts holes, which hardly cross the wire
        fields.append(("disks", Span(f"{disks} {'copied, holes included' if live else 'sent'}")))
    if statistics.throttle_max_percent:
        fields.append(("throttle", Span(f"at most {statistics.throttle_max_percent} %")))
    when = moment_text(migration.started_at_ms or migration.created_at_ms)
    by = f" by {migration.requested_by}" if migration.requested_by else ""
    fields.append(("started", Span(f"{when}{by}")))
    words = option_words(migration.options)
    if words:
        fields.append(("options", Span(" ".join(words))))
    if migration.risk:
        fields.append(("risk", Span(migration.risk, Tone.WARN)))
    if migration.safe:
        fields.append(("safe", Span(migration.safe)))
    return fields
