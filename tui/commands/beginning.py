"""Beginning to empty or to fill hosts, and waiting for the end."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click

from tui.commands.evacuation_progress import EvacuationProgress
from tui.commands.output import narrate, print_json, terminal_width
from tui.commands.session import ask
from tui.errors import BackendUnreachable
from tui.exits import Exit, VerbError, exit_of
from tui.formats.begun_otherwise import begun_otherwise
from tui.formats.evacuation import counts_text, not_gone, state_word, title_of
from tui.formats.evacuation_report import report_text
from wire.errors import GodwitError
from wire.evacuation import Evacuation, EvacuationKind, Plan

if TYPE_CHECKING:
    from tui.client import Client

Start = Callable[["Client"], Awaitable[list[Evacuation]]]


def begin(start: Start) -> list[Evacuation]:
    """Begin what was planned.

    Raises:
        VerbError: interrupted while the backend was asked.
    """
    try:
        return ask(start)
    except KeyboardInterrupt:
        raise VerbError(
            Exit.INTERRUPTED,
            "interrupted before the backend answered; godwit evacuation-list shows what it began",
        ) from None


def conclude(
    begun: Sequence[Evacuation],
    plans: Sequence[Plan],
    *,
    wait: bool,
    as_json: bool,
    alone: bool = False,
) -> Exit:
    """Tell what was begun, or wait for its end and write the reports.

    First comes what is not as the plans said that were agreed to. ``alone`` makes the JSON that of
    the only one instead of a list.

    Raises:
        VerbError: it was waited for, and not every server is where it was to go, or nobody could
            wait until the end.
    """
    for sentence in begun_otherwise(plans, begun):
        narrate(sentence)
    told = _follow(begun) if wait else begun
    if as_json:
        print_json(told[0] if alone else told)
    elif wait:
        _print_reports(told)
    else:
        _print_begun(told)
    return judge(told) if wait else Exit.DONE


def _print_begun(begun: Sequence[Evacuation]) -> None:
    for each in begun:
        click.echo(each.evacuation_id)
        narrate(
            f"{title_of(each.kind, each.host_name)} has begun, {counts_text(each)}; "
            f"see it with: godwit evacuation-show {each.host_name}"
        )


def _print_reports(ended: Sequence[Evacuation]) -> None:
    for number, each in enumerate(ended):
        for line in [*([""] if number else []), *report_text(each, terminal_width(sys.stdout))]:
            click.echo(line)


def judge(ended: Sequence[Evacuation]) -> Exit:
    """Say whether every server is where it was to go, those left alone by wish aside.

    Raises:
        VerbError: some are not: which.
    """
    told = [sentence for each in ended if (sentence := _remainder(each))]
    if told:
        raise VerbError(Exit.FAILED, "; ".join(told))
    return Exit.DONE


def _remainder(ended: Evacuation) -> str:
    servers = ", ".join(
        f"{each.plan.server_name} {state_word(ended.kind, each.state)}" for each in not_gone(ended)
    )
    if not servers:
        return ""
    if ended.kind is EvacuationKind.RETURN:
        return f"not all are back on {ended.host_name}: {servers}"
    if ended.kind is EvacuationKind.RESCUE:
        return f"not all of {ended.host_name} are rescued: {servers}"
    return f"{ended.host_name} is not empty: {servers}"


def _follow(begun: Sequence[Evacuation]) -> list[Evacuation]:
    # Imported here so that ``--help`` does not wait for the HTTP stack.
    from tui.following import follow_evacuations  # noqa: PLC0415

    progress = EvacuationProgress()
    names = " ".join(each.host_name for each in begun)
    goes_on = f"it goes on without us; see it with: godwit evacuation-show {names}"
    if len(begun) > 1:
        goes_on = f"all of {names} go on without us; see them with: godwit evacuation-list"
    try:
        return ask(lambda client: follow_evacuations(client, begun, progress))
    except KeyboardInterrupt:
        raise VerbError(Exit.INTERRUPTED, f"interrupted, but {goes_on}") from None
    except BackendUnreachable as error:
        raise VerbError(Exit.NO_ANSWER, f"{error}; {goes_on}") from None
    except GodwitError as error:
        raise VerbError(exit_of(error.code), f"{error.message}; {goes_on}") from None
    finally:
        progress.close()
