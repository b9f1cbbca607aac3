"""Options of verbs that empty or fill hosts: what holds for every server, and for single ones."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from tui.commands import options
from tui.commands.edits import read_edits
from tui.formats.moments import MomentError, deadline_ms
from tui.formats.options import DEFAULT_DOWNTIME_MS
from wire.evacuation import MoveOptions, PlanEdit
from wire.migration import DOWNTIME_BOUND_MS

Verb = Callable[..., Any]
"""What click calls; each decorator here passes on what it does not gather."""

_OF_EVERY_MOVE = (
    options.skipped_checks,
    click.option("--enable-tls", is_flag=True, help="Encrypt memory and disks on their way."),
    click.option(
        "--quickly-finish",
        is_flag=True,
        help="After a few passes raise the downtime limit to what the pass at hand needs.",
    ),
    options.downtime("--downtime-limit-ms", f"Pause to aim at; else {DEFAULT_DOWNTIME_MS}."),
    options.downtime(
        "--downtime-bound-ms", f"Highest limit for --quickly-finish; else {DOWNTIME_BOUND_MS}."
    ),
)
_TARGET = click.option(
    "--move", "moves", metavar="SERVER=HOST", multiple=True, help="Let it go there or nowhere."
)
_OF_ONE_SERVER = (
    click.option("--stay", "stays", metavar="SERVER", multiple=True, help="Leave it where it is."),
    click.option(
        "--go",
        "goes",
        metavar="SERVER=WAY",
        multiple=True,
        help="Move it live or cold, also one that was to stay.",
    ),
    click.option(
        "--first", "firsts", metavar="SERVER", multiple=True, help="Move it before others."
    ),
    click.option(
        "--set",
        "settings",
        metavar="SERVER:OPTION[=VALUE]",
        multiple=True,
        help="An option of this server alone: db-1:quickly-finish, db-1:downtime-limit-ms=800.",
    ),
)


def every_move(function: Verb) -> Verb:
    """Options of every move, as one ``MoveOptions`` named ``wished``."""

    @wraps(function)
    def gathered(
        *,
        skip_cpu_check: bool,
        skip_kernel_check: bool,
        enable_tls: bool,
        quickly_finish: bool,
        downtime_limit_ms: int | None,
        downtime_bound_ms: int | None,
        **others: Any,
    ) -> Any:
        wished = MoveOptions(
            skip_cpu_check=skip_cpu_check or None,
            skip_kernel_check=skip_kernel_check or None,
            enable_tls=enable_tls or None,
            quickly_finish=quickly_finish or None,
            downtime_limit_ms=downtime_limit_ms,
            downtime_bound_ms=downtime_bound_ms,
        )
        return function(wished=wished, **others)

    return _with(gathered, *_OF_EVERY_MOVE)


def edits(*, targets: bool) -> Callable[[Verb], Verb]:
    """Wishes for single servers, as a tuple of ``PlanEdit`` named ``edits``.

    ``targets`` says whether their targets are to choose.
    """

    def decorate(function: Verb) -> Verb:
        @wraps(function)
        def gathered(
            *,
            stays: tuple[str, ...],
            goes: tuple[str, ...],
            firsts: tuple[str, ...],
            settings: tuple[str, ...],
            moves: tuple[str, ...] = (),
            **others: Any,
        ) -> Any:
            wished = read_edits(
                moves=moves, stays=stays, goes=goes, firsts=firsts, settings=settings
            )
            return function(edits=wished, **others)

        return _with(gathered, *([_TARGET] if targets else []), *_OF_ONE_SERVER)

    return decorate


def _with(function: Verb, *decorators: Callable[[Verb], Verb]) -> Verb:
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def check_start(
    wished: MoveOptions, edits: Sequence[PlanEdit], *, dry_run: bool, wait: bool
) -> None:
    """Refuse options that contradict one another.

    Raises:
        click.UsageError: in one sentence.
    """
    if dry_run and wait:
        raise click.UsageError("--wait waits for what begins, and --dry-run begins nothing")
    quickly_finishes = wished.quickly_finish or any(
        edit.options and edit.options.quickly_finish for edit in edits
    )
    bound_ms = wished.downtime_bound_ms
    if bound_ms is not None and not quickly_finishes:
        raise click.UsageError(
            f"--downtime-bound-ms {bound_ms} bounds --quickly-finish, which is not given"
        )
    for edit in edits:
        _check_bound(edit, of_all=bool(wished.quickly_finish))
    limit_ms = wished.downtime_limit_ms or DEFAULT_DOWNTIME_MS
    bound_ms = bound_ms or DOWNTIME_BOUND_MS
    if quickly_finishes and bound_ms < limit_ms:
        raise click.UsageError(
            f"--downtime-bound-ms is {bound_ms}, and should be at least the limit of {limit_ms} ms"
        )


def _check_bound(edit: PlanEdit, *, of_all: bool) -> None:
    own = edit.options or MoveOptions()
    quickly_finishes = of_all if own.quickly_finish is None else own.quickly_finish
    if own.downtime_bound_ms is not None and not quickly_finishes:
        raise click.UsageError(
            f"downtime-bound-ms of {edit.server} is {own.downtime_bound_ms} and bounds its "
            f"quickly-finish, which is not on; add --set {edit.server}:quickly-finish"
        )


def _read_deadline(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return deadline_ms(text, option.opts[0], time.time_ns() // 1_000_000)
    except MomentError as error:
        raise click.UsageError(str(error)) from None


empty_by = click.option(
    "--empty-by",
    "empty_by_ms",
    metavar="HH:MM",
    callback=_read_deadline,
    help="When the host has to be empty: today or tomorrow, local time; or 2026-11-27T04:30.",
)


def starting(function: Verb) -> Verb:
    """``--dry-run``, ``--yes``, ``--wait`` and ``--json`` of a verb that plans and then begins."""
    return _with(
        function,
        click.option("--dry-run", is_flag=True, help="Show the plan, and begin nothing."),
        click.option("--yes", is_flag=True, help="Begin without the name being typed once more."),
        click.option("--wait", is_flag=True, help="Show its progress, and end with the report."),
        click.option(
            "--json", "as_json", is_flag=True, help="The plan, or what was begun, as JSON."
        ),
    )
