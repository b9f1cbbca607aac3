"""The plan of a host as text: who goes where, in which order, how long, and what speaks against."""

from tui.formats.evacuation import basis_text, link_text, title_of
from tui.formats.options import option_words
from tui.formats.report import field_lines, folded, item_lines
from tui.formats.table import Column, table_lines
from tui.formats.units import bytes_text, clock_text, duration_text, moment_text
from tui.text import escape_text
from wire.evacuation import EvacuationKind, Plan, PlannedMove, Way
from wire.forecast import Ease


def plan_lines(plan: Plan, width: int | None, *, empty_by_ms: int = 0) -> list[str]:
    """Lay a plan out as escaped lines; ``width`` in cells, None for no limit.

    Starts and ends count from the plan's start, in minutes and seconds.
    """
    counts = f"refused as it is, else {_counts(plan)}" if plan.refusals else _counts(plan)
    title = f"Plan: {title_of(plan.kind, plan.host_name)}: {counts}"
    lines = folded(escape_text(title), width)
    if plan.moves:
        rows = [_row(plan, number, move) for number, move in enumerate(plan.moves, start=1)]
        lines += ["", *table_lines(_columns(plan), rows, width=width)]
    lines += ["", *field_lines(_totals(plan, empty_by_ms), width)]
    remarks = [text for move in plan.moves for text in _remarks(move)]
    lines += item_lines("Servers", remarks, width)
    warnings = [warning for warning in plan.warnings if warning not in remarks]
    lines += item_lines("Warnings", warnings, width)
    return [*lines, *item_lines("Refused as it is", plan.refusals, width)]


def plan_summary(plan: Plan) -> str:
    """``Evacuation of kvm-01: 10 leave, 2 stay, in 5 min 50 s (4 min 10 s to 8 min 00 s)``."""
    text = f"{title_of(plan.kind, plan.host_name)}: {_counts(plan)}"
    return f"{text}, in {finish_text(plan)}" if leaving(plan) else text


def finish_text(plan: Plan) -> str:
    """``5 min 50 s (4 min 10 s to 8 min 00 s)``: how long it takes, with its band."""
    band = f"{_seconds(plan.finish_low_s)} to {_seconds(plan.finish_high_s)}"
    return f"{_seconds(plan.finish_in_s)} ({band})"


def leaving(plan: Plan) -> list[PlannedMove]:
    """The moves of those that do not stay, in their order."""
    return [move for move in plan.moves if move.way is not Way.STAYS]


_GO = {
    EvacuationKind.EVACUATE: ("leaves", "leave"),
    EvacuationKind.RESCUE: ("is rescued", "are rescued"),
    EvacuationKind.RETURN: ("comes back", "come back"),
}


def _counts(plan: Plan) -> str:
    goes = len(leaving(plan))
    stays = len(plan.moves) - goes
    told = f"{goes} {_GO[plan.kind][goes != 1]}"
    return f"{told}, {stays} {'stays' if stays == 1 else 'stay'}" if stays else told


def _columns(plan: Plan) -> tuple[Column, ...]:
    return (
        Column("#", right=True),
        Column("Server", least=8),
        Column("Way"),
        Column("From" if plan.kind is EvacuationKind.RETURN else "Target", least=6),
        Column("Ease"),
        Column("Time", right=True),
        Column("Pause", right=True),
        Column("Starts", right=True),
        Column("Ends", right=True),
    )


def _row(plan: Plan, number: int, move: PlannedMove) -> tuple[str, ...]:
    if move.way is Way.STAYS:
        return ("", move.server_name, move.way, "", "", "", "", "", "")
    returns = plan.kind is EvacuationKind.RETURN
    forecast = move.forecast
    # one that waits for a lever has no place on the time line
    placed = forecast is None or forecast.ease is not Ease.STUCK
    return (
        str(number),
        move.server_name,
        move.way,
        move.source_host_name if returns else move.target_host_name,
        forecast.ease if forecast and move.way is Way.LIVE else "",
        duration_text(forecast.total_ms) if forecast else "",
        duration_text(forecast.downtime_ms) if forecast and move.way is Way.LIVE else "",
        clock_text(move.starts_in_s) if placed else "",
        clock_text(move.ends_in_s) if placed else "",
    )


def _totals(plan: Plan, empty_by_ms: int) -> list[tuple[str, str]]:
    if not leaving(plan):
        return [("total", "nothing moves")]
    done_at_ms = plan.made_at_ms + plan.finish_in_s * 1000
    done = f", done {moment_text(done_at_ms)} if it starts now" if not plan.refusals else ""
    told = [("total", f"{finish_text(plan)}{done}")]
    if plan.kind is not EvacuationKind.RESCUE:
        bases = [move.forecast.basis for move in leaving(plan) if move.forecast]
        told += [
            ("sends", bytes_text(plan.sent_bytes)),
            ("link", link_text(plan.link) or "nobody knows yet what it carries"),
            ("rests on", basis_text(bases)),
        ]
    return [
        *told,
        ("empty by", moment_text(empty_by_ms) if empty_by_ms else ""),
        ("deadline", plan.deadline),
    ]


def _remarks(move: PlannedMove) -> list[str]:
    """What an operator should know of one server, each in a sentence that begins with its name."""
    name = move.server_name
    if move.way is Way.STAYS:
        return [f"{name} stays: {move.why or 'as it was asked for'}"]
    remarks = [f"{name}: {move.why}"] if move.why else []
    if move.forecast and move.forecast.lever:
        remarks.append(f"{name} waits: {move.forecast.lever}")
    if move.way is Way.RESCUE and not move.options.auto_start:
        remarks.append(f"{name} did not run: it is defined there, and stays stopped")
    chosen = [f"to {move.target_host_name} only"] if move.pinned else []
    words = [*chosen, *(word for word in option_words(move.options) if _is_own(word))]
    return [*remarks, f"{name} goes {', '.join(words)}"] if words else remarks


def _is_own(word: str) -> bool:
    """Whether an option says more than its line, and the cap on the whole host."""
    return not word.startswith(("--prefer-host", "--max-bandwidth-mb", "--auto-start"))


def _seconds(duration_s: int) -> str:
    return duration_text(duration_s * 1000)
