"""The plan of a host as text: who goes where, in which order, how long, and what speaks against."""

from collections.abc import Sequence

from tui.formats.evacuation import basis_text, link_text, names_text, title_of
from tui.formats.finishing import seconds_text
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
    remarks = _remarks(plan)
    lines += item_lines("Servers", remarks, width)
    lines += item_lines("Warnings", _warnings(plan, remarks), width)
    return [*lines, *item_lines("Refused as it is", plan.refusals, width)]


_NOBODY = "nobody can say how long it takes"
"""Over links of which not even the cards tell a rate."""


def plan_summary(plan: Plan) -> str:
    """``Evacuation of kvm-01: 10 leave, 2 stay, in 5 min 50 s (4 min 10 s to 8 min 00 s)``."""
    text = f"{title_of(plan.kind, plan.host_name)}: {_counts(plan)}"
    if not leaving(plan):
        return text
    whole = "" if not waiting(plan) else "those that leave "
    if not plan.finish_in_s:
        return f"{text}, {_NOBODY}"
    return f"{text}, {whole}in {finish_text(plan)}"


def finish_text(plan: Plan) -> str:
    """``5 min 50 s (4 min 10 s to 8 min 00 s)``: how long it takes, with its band."""
    if not plan.finish_in_s:
        return _NOBODY
    took, low, high = (
        seconds_text(each) for each in (plan.finish_in_s, plan.finish_low_s, plan.finish_high_s)
    )
    return f"{took} ({low} to {high})"


def leaving(plan: Plan) -> list[PlannedMove]:
    """The moves of those that neither stay nor wait for a lever, in their order."""
    return [move for move in plan.moves if move.way is not Way.STAYS and not is_stuck(move)]


def waiting(plan: Plan) -> list[PlannedMove]:
    """The moves that wait until somebody chooses a lever."""
    return [move for move in plan.moves if is_stuck(move)]


def is_stuck(move: PlannedMove) -> bool:
    """Whether a move has no place on the time line: it waits for a lever."""
    forecast = move.forecast
    return move.way is Way.LIVE and forecast is not None and forecast.ease is Ease.STUCK


_GO = {
    EvacuationKind.EVACUATE: ("leaves", "leave"),
    EvacuationKind.RESCUE: ("is rescued", "are rescued"),
    EvacuationKind.RETURN: ("comes back", "come back"),
}


def _counts(plan: Plan) -> str:
    goes = len(leaving(plan))
    return ", ".join([f"{goes} {_GO[plan.kind][goes != 1]}", *left_behind(plan)])


def left_behind(plan: Plan) -> list[str]:
    """``["1 waits for you", "2 stay"]``: those that do not leave; a kind of none is left out."""
    waits = len(waiting(plan))
    stays = len(plan.moves) - len(leaving(plan)) - waits
    told = [f"{waits} {'waits' if waits == 1 else 'wait'} for you"] if waits else []
    return [*told, f"{stays} {'stays' if stays == 1 else 'stay'}"] if stays else told


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
    placed = not is_stuck(move)
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
    waits = waiting(plan)
    if not leaving(plan):
        return [("total", "nothing moves until you choose" if waits else "nothing moves")]
    done_at_ms = plan.made_at_ms + plan.finish_in_s * 1000
    end = f", done {moment_text(done_at_ms)} if it starts now" if plan.finish_in_s else ""
    if waits:
        verb = "waits" if len(waits) == 1 else "wait"
        end = f" for what leaves; {names_text([each.server_name for each in waits])} {verb} for you"
    told = [("total", f"{finish_text(plan)}{'' if plan.refusals else end}")]
    if plan.kind is not EvacuationKind.RESCUE:
        bases = [move.forecast.basis for move in plan.moves if move.forecast]
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


def _remarks(plan: Plan) -> list[str]:
    """What an operator should know of servers: what is so of several of them is told once."""
    told: dict[tuple[str, str, str], list[PlannedMove]] = {}
    for move in plan.moves:
        for remark in _of_one(move):
            told.setdefault(remark, []).append(move)
    return [
        f"{', '.join(each.server_name for each in moves)}{many if moves[1:] else one}{text}"
        for (one, many, text), moves in told.items()
    ]


def _warnings(plan: Plan, remarks: Sequence[str]) -> list[str]:
    """What stands above for each server is not told again."""
    whys = [move.why for move in plan.moves if move.way is Way.STAYS]
    levers = [move.forecast.lever for move in plan.moves if move.forecast]
    ends = tuple(f": {each}" for each in (*whys, *levers) if each)
    return [
        each
        for each in plan.warnings
        if each not in remarks and not each.endswith((*ends, ", each with its reason"))
    ]


def _of_one(move: PlannedMove) -> list[tuple[str, str, str]]:
    """What follows the name of one server, or of several, and what is told of them."""
    if move.way is Way.STAYS:
        return [(" stays: ", " stay: ", move.why or "as it was asked for")]
    lever = move.forecast.lever if move.forecast else ""
    # why it waits is told once, by that name
    why = move.why.removesuffix(lever).removesuffix("; ") if lever else move.why
    remarks = [(": ", ": ", why)] if why else []
    if lever:
        remarks.append((" waits: ", " wait: ", lever))
    if move.way is Way.RESCUE and not move.options.auto_start:
        one = ": it is defined there, and stays stopped"
        many = ": they are defined there, and stay stopped"
        remarks.append((f" did not run{one}", f" did not run{many}", ""))
    chosen = [f"to {move.target_host_name} only"] if move.pinned else []
    words = [*chosen, *(word for word in option_words(move.options) if _is_own(word))]
    return [*remarks, (" goes ", " go ", ", ".join(words))] if words else remarks


def _is_own(word: str) -> bool:
    """Whether an option says more than its line, and the cap on the whole host."""
    return not word.startswith(("--prefer-host", "--max-bandwidth-mb", "--auto-start"))
