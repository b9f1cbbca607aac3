"""The options of a migration as the dialog shows them, each behind its key."""

from collections.abc import Sequence

import msgspec

from tui.actions import options_at
from tui.formats.numbers import NumberError, bandwidth_bytes_per_s, downtime_ms
from tui.formats.units import mebibytes, rate_text
from tui.paint import Line, Span, Tone, length
from tui.places import Place
from wire.migration import MigrationOptions

_CELL = 24
"""Cells of the longest option, and one between them: three fit into a terminal of 80."""
_DEFAULT = MigrationOptions()

CHECKS = frozenset({"skip_cpu_check", "skip_kernel_check"})
"""Options that change which hosts fit."""


def option_lines(options: MigrationOptions, place: Place, width: int) -> list[Line]:
    """Lay the options out in columns, read downwards."""
    cells = [
        _cell(action.key_text, action.label, field, options) for field, action in options_at(place)
    ]
    across = max(1, (width + 1) // _CELL)
    rows = -(-len(cells) // across)
    return [_joined(cells[row::rows]) for row in range(rows)]


def option_rows(place: Place, width: int) -> int:
    """How many lines that takes."""
    return len(option_lines(_DEFAULT, place, width))


def _cell(key: str, label: str, field: str, options: MigrationOptions) -> Line:
    value = getattr(options, field)
    changed = value != getattr(_DEFAULT, field)
    tone = Tone.WARN if changed and field in CHECKS else Tone.STRONG if changed else Tone.PLAIN
    if isinstance(value, bool):
        text = f" [{'x' if value else ' '}] {label}"
    elif field == "max_bandwidth_bytes_per_s":
        text = f" {label}: {rate_text(value) if value else 'none'}"
    elif field == "downtime_bound_ms" and not options.quickly_finish:
        return Span(key, Tone.KEY), Span(f" {label}: with f only", Tone.DIM)
    else:
        text = f" {label}: {value} ms"
    return Span(key, Tone.KEY), Span(text, tone)


def _joined(cells: Sequence[Line]) -> Line:
    spans: list[Span] = []
    for cell in cells:
        spans += [*cell, Span(" " * max(1, _CELL - length(cell)))]
    return tuple(spans[:-1])


def toggled(options: MigrationOptions, field: str) -> MigrationOptions:
    """Turn an option that is on or off."""
    return msgspec.structs.replace(options, **{field: not getattr(options, field)})


def number_title(field: str) -> tuple[str, str]:
    """What is asked for, and the label of its unit."""
    return {
        "downtime_limit_ms": ("How long may the server stand still at the end?", "ms"),
        "downtime_bound_ms": ("How far may quickly finish raise the downtime limit?", "ms"),
        "max_bandwidth_bytes_per_s": ("How much may the migration send?", "MiB/s"),
    }[field]


def number_text(options: MigrationOptions, field: str) -> str:
    """A number as it was typed."""
    value = getattr(options, field)
    if field == "max_bandwidth_bytes_per_s":
        return mebibytes(value) if value else ""
    return str(value)


def read_number(
    options: MigrationOptions, field: str, text: str
) -> tuple[MigrationOptions | None, str]:
    """The options with a number that was typed and what it means, or None and why not."""
    try:
        changed, sentence = _with_number(options, field, text)
    except NumberError as error:
        return None, str(error)
    if changed.quickly_finish and changed.downtime_bound_ms < changed.downtime_limit_ms:
        return None, (
            f"the limit of {changed.downtime_limit_ms} ms is above the bound of "
            f"{changed.downtime_bound_ms} ms for quickly finish"
        )
    return changed, sentence


def _with_number(options: MigrationOptions, field: str, text: str) -> tuple[MigrationOptions, str]:
    if field == "max_bandwidth_bytes_per_s":
        cap = bandwidth_bytes_per_s(text, "the cap") if text.strip() else None
        meaning = f"at most {rate_text(cap)} for memory and disks together" if cap else "no cap"
        changed = msgspec.structs.replace(options, max_bandwidth_bytes_per_s=cap)
        return changed, f"Enter: {meaning}."
    if field == "downtime_limit_ms":
        limit = downtime_ms(text, "the downtime limit")
        changed = msgspec.structs.replace(options, downtime_limit_ms=limit)
        return changed, f"Enter: the pause aims at {limit} ms."
    bound = downtime_ms(text, "the bound")
    changed = msgspec.structs.replace(options, downtime_bound_ms=bound)
    return changed, f"Enter: quickly finish raises the limit to {bound} ms at most."
