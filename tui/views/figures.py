"""The numbers of a migration under way, and the table of its passes."""

from collections.abc import Sequence

from tui.formats.units import bytes_text, duration_text, moment_text, rate_text
from tui.paint import Line, Span, Tone, line, pad, width_of, wrap
from tui.views.glyphs import Glyphs, migration_span
from tui.views.history import History, is_of_disks
from tui.views.migrations import route
from wire.migration import Migration, Note, Pass, PostcopyState, Sample

_PASS_COLUMNS = (
    ("PASS", 4),
    ("BEGAN", 7),
    ("TOOK", 8),
    ("TO COPY", 8),
    ("SENT", 8),
    ("DIRTY RATE", 10),
    ("BANDWIDTH", 10),
    ("THROTTLE", 8),
)


def heading(migration: Migration, last: Sample | None, glyphs: Glyphs) -> Line:
    """Server, route, state, pass, and how long it has taken."""
    spans = [
        Span(migration.server_name, Tone.TITLE),
        Span(f"  {route(migration, glyphs)}  "),
        migration_span(migration.state, glyphs),
    ]
    if migration.state.ended:
        return tuple(spans)
    if migration.postcopy is not PostcopyState.NOT:
        spans.append(_postcopy(migration.postcopy, glyphs))
    if migration.stalled_reason:
        spans.append(Span(f"  {glyphs.warn} not heard of now", Tone.WARN))
    elif migration.cancel_requested_by:
        spans.append(Span(f"  abort asked by {migration.cancel_requested_by}", Tone.WARN))
    elif last is not None:
        seconds = last.elapsed_ms // 1000
        at = f"  pass {last.pass_number}" if last.pass_number and not is_of_disks(last) else ""
        spans.append(Span(f"{at}  {seconds // 60}:{seconds % 60:02d}"))
    return tuple(spans)


def _postcopy(state: PostcopyState, glyphs: Glyphs) -> Span:
    """Post-copy, in a word that says whether it is dangerous now."""
    if state is PostcopyState.PAUSED:
        return Span(f"  {glyphs.bad} post-copy stands still", Tone.BAD)
    word = "post-copy asked for" if state is PostcopyState.ASKED else "post-copy"
    return Span(f"  {glyphs.warn} {word}", Tone.WARN)


def figures(history: History, glyphs: Glyphs) -> list[tuple[str, Span]]:
    """Label and value of every figure, the most wanted first."""
    last = history.last
    if history.subject == "disks":
        return _disk_figures(history)
    if last is None:
        return [("downtime limit", Span(f"{history.downtime_limit_ms} ms"))]
    if last.postcopy:
        left, whole = bytes_text(last.memory_remaining_bytes), bytes_text(last.memory_total_bytes)
        return [
            ("to fetch", Span(f"{left} of {whole}")),
            ("sent", Span(bytes_text(last.memory_processed_bytes))),
            *_cap(history),
        ]
    found = [
        ("expected downtime", _expected(last, history.fits_bytes, glyphs)),
        ("limit", Span(f"{last.downtime_limit_ms} ms")),
        ("throttle", Span(f"{last.throttle_percent} %")),
        ("sent", Span(bytes_text(last.memory_processed_bytes))),
        *_cap(history),
    ]
    if last.disk_total_bytes:
        remaining = bytes_text(last.disk_remaining_bytes)
        found.append(("disks", Span(f"{remaining} of {bytes_text(last.disk_total_bytes)} left")))
    return found


def _disk_figures(history: History) -> list[tuple[str, Span]]:
    left, total = history.left_bytes, history.total_bytes
    if left is None:
        return _cap(history)
    copied = Span(f"{bytes_text(total - left)} of {bytes_text(total)}")
    return [("copied", copied), *_cap(history)]


def _cap(history: History) -> list[tuple[str, Span]]:
    cap = history.cap_bytes_per_s
    return [("cap", Span(rate_text(cap), Tone.STRONG))] if cap else []


def note_lines(notes: Sequence[Note], width: int) -> list[Line]:
    """What was decided and what happened, oldest first."""
    lines: list[Line] = []
    for each in notes:
        by = f" by {each.by}" if each.by else ""
        clock = moment_text(each.at_ms).rpartition(" ")[2]
        for number, part in enumerate(wrap(f"{each.text}{by}", max(10, width - 9))):
            lines.append((Span(pad("" if number else clock, 9), Tone.DIM), *part))
    return lines


def _expected(last: Sample, fits_bytes: int, glyphs: Glyphs) -> Span:
    if last.pass_number == 1 or not last.dirty_bytes_per_s or not last.expected_downtime_ms:
        # QEMU knows it once it has measured a dirty rate, and gives the limit before.
        return Span("-")
    text = duration_text(last.expected_downtime_ms)
    within = last.expected_downtime_ms <= last.downtime_limit_ms
    if within != (last.memory_remaining_bytes <= fits_bytes):
        # QEMU reckons once a pass, the curve's line now: no verdict while they disagree.
        return Span(text)
    if within:
        return Span(f"{text} {glyphs.fits}", Tone.GOOD)
    return Span(f"{text} {glyphs.warn} over", Tone.WARN)


def figure_lines(fields: Sequence[tuple[str, Span]], width: int) -> list[Line]:
    """Lay figures out one after the other, as many to a line as fit."""
    lines: list[list[Span]] = [[]]
    room = width
    for label, value in fields:
        size = len(label) + 1 + width_of(value.text) + 3
        if size - 3 > room and lines[-1]:
            lines.append([])
            room = width
        lines[-1] += [Span(f"{label} ", Tone.DIM), value, Span("   ")]
        room -= size
    return [tuple(each) for each in lines]


def pass_header(width: int) -> Line:
    """Titles of the pass table."""
    return line(Span(_pass_line([title for title, _ in _PASS_COLUMNS], width), Tone.TITLE))


def pass_lines(passes: Sequence[Pass], width: int) -> list[Line]:
    """One line for each pass, oldest first."""
    return [
        line(
            _pass_line(
                [
                    str(each.number),
                    _clock(each.started_ms),
                    duration_text(each.duration_ms),
                    bytes_text(each.remaining_at_start_bytes),
                    bytes_text(each.transferred_bytes),
                    rate_text(each.dirty_bytes_per_s) if each.dirty_bytes_per_s else "-",
                    rate_text(each.bandwidth_bytes_per_s) if each.bandwidth_bytes_per_s else "-",
                    f"{each.throttle_percent} %",
                ],
                width,
            )
        )
        for each in passes
    ]


def with_pass_under_way(passes: Sequence[Pass], samples: Sequence[Sample]) -> list[Pass]:
    """Bring the last pass up to the newest sample: its record is written only when it is over."""
    if not samples:
        return list(passes)
    last = samples[-1]
    begun = last
    for sample in reversed(samples):
        if sample.pass_number != last.pass_number:
            break
        begun = sample
    known = [each for each in passes if each.number == last.pass_number]
    started_ms = known[0].started_ms if known else begun.elapsed_ms
    now = Pass(
        number=last.pass_number,
        started_ms=started_ms,
        duration_ms=max(0, last.elapsed_ms - started_ms),
        remaining_at_start_bytes=max(
            known[0].remaining_at_start_bytes if known else 0, begun.memory_remaining_bytes
        ),
        transferred_bytes=last.memory_processed_bytes - begun.memory_processed_bytes,
        dirty_bytes_per_s=last.dirty_bytes_per_s,
        bandwidth_bytes_per_s=last.bandwidth_bytes_per_s,
        throttle_percent=last.throttle_percent,
    )
    return [*(each for each in passes if each.number < last.pass_number), now]


def _pass_line(cells: Sequence[str], width: int) -> str:
    """Right-align the cells; the last columns are left out where they do not fit."""
    text = ""
    for cell, (_, size) in zip(cells, _PASS_COLUMNS, strict=True):
        part = pad(cell, size, right=True)
        if text and len(text) + 1 + size > width:
            break
        text = f"{text} {part}" if text else part
    return text


def _clock(moment_ms: int) -> str:
    """``0:04.2``: minutes, seconds and tenths since the job began."""
    tenths = moment_ms // 100
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"
