"""What stands beside or below the curves: figures, notes and passes, or how it ended."""

from tui.formats.options import option_words
from tui.paint import Line, Span, Tone, labelled, line, wrap
from tui.views.ending import ending_lines
from tui.views.figures import (
    figure_lines,
    figures,
    note_lines,
    pass_header,
    pass_lines,
    with_pass_under_way,
)
from tui.views.glyphs import Glyphs
from tui.views.history import History
from wire.migration import Migration, PostcopyState

_SIDE_LABEL = 18


def report_lines(
    migration: Migration, history: History, width: int, height: int, glyphs: Glyphs, *, wide: bool
) -> list[Line]:
    """Lay the report out.

    Args:
        migration: the record.
        history: what the curves show.
        width: cells.
        height: lines.
        glyphs: the marks.
        wide: whether it stands beside the curves, with a line for each figure.
    """
    samples = () if migration.state.ended or history.subject == "disks" else history.samples
    known = history.passes if history.subject == "memory" else ()
    passes = pass_lines(with_pass_under_way(known, samples), width)
    header = [pass_header(width)] if passes else []
    if migration.state.ended:
        return [*ending_lines(migration, width, glyphs), (), *header, *passes]
    top = _warnings(migration, width, glyphs)
    if not migration.stalled_reason:
        found = figures(history, glyphs)
        if wide:
            top += labelled(found, width, label_width=_SIDE_LABEL)
        else:
            top += figure_lines(found, width)[:2]
    notes = note_lines(migration.notes, width)
    if wide:
        asked = _asked(migration, width)
        top += [*asked, *_headed("What happened:", notes[-height // 3 :]), ()]
    else:
        # below the curves there is room for the last word only
        top += notes[-1:]
    left = max(1, height - len(top) - 1)
    return [*top, *header, *passes[-left:]]


def _warnings(migration: Migration, width: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = []
    source, target = migration.source_host_name, migration.target_host_name
    if migration.postcopy is PostcopyState.PAUSED:
        lines += wrap(
            f"{glyphs.bad} The link broke in post-copy: {migration.server_name} stands still on "
            f"{target} until it is recovered. Keep both hosts up.",
            width,
            Tone.BAD,
        )
    elif migration.postcopy is PostcopyState.ACTIVE:
        lines += wrap(
            f"{glyphs.warn} {migration.server_name} runs on {target} and fetches its memory from "
            f"{source}: the loss of either loses it.",
            width,
            Tone.WARN,
        )
    if migration.stalled_reason:
        lines += wrap(f"{migration.stalled_reason}; the figures are old.", width, Tone.WARN)
    return lines


def _asked(migration: Migration, width: int) -> list[Line]:
    """What was asked for beyond the usual, and what it risks."""
    words = option_words(migration.options)
    fields = [("options", Span(" ".join(words)))] if words else []
    if migration.risk:
        fields.append(("risk", Span(migration.risk, Tone.WARN)))
    if migration.safe:
        fields.append(("safe", Span(migration.safe)))
    return labelled(fields, width, label_width=_SIDE_LABEL)


def _headed(title: str, lines: list[Line]) -> list[Line]:
    return [(), line(Span(title, Tone.DIM)), *lines] if lines else []
