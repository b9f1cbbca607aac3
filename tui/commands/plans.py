"""Plans as the command line shows them, and the consent to one."""

import sys
from collections.abc import Sequence

import click

from tui.commands.output import narrate, print_json, terminal_width
from tui.exits import Exit, VerbError
from tui.formats.evacuation_plan import plan_lines, plan_summary
from wire.evacuation import Plan


def show(
    plans: Sequence[Plan], *, as_json: bool, alone: bool = False, empty_by_ms: int = 0
) -> Exit:
    """Write plans to stdout; ``alone`` makes the JSON that of the only one instead of a list.

    Raises:
        VerbError: one of the hosts could not be begun with.
    """
    if as_json:
        print_json(plans[0] if alone else plans)
    else:
        for line in _lines(plans, terminal_width(sys.stdout), empty_by_ms):
            click.echo(line)
    check_startable(plans)
    return Exit.DONE


def check_startable(plans: Sequence[Plan]) -> None:
    """Let the verb fail if one of the hosts cannot be begun with.

    Raises:
        VerbError: with every refusal.
    """
    refusals = [sentence.rstrip(".") for plan in plans for sentence in plan.refusals]
    if refusals:
        raise VerbError(Exit.FAILED, "; ".join(dict.fromkeys(refusals)))


def confirm(
    verb: str, plans: Sequence[Plan], *, yes: bool, empty_by_ms: int = 0
) -> tuple[str, ...]:
    """Have the hosts' names typed below their plans; with ``yes`` only sum the plans up.

    Returns:
        The hosts' names.

    Raises:
        VerbError: another name was typed, or there is no terminal to type on.
    """
    names = tuple(plan.host_name for plan in plans)
    if yes:
        for plan in plans:
            narrate(plan_summary(plan))
            for warning in plan.warnings:
                narrate(f"warning: {warning}")
        return names
    if not sys.stdin.isatty():
        raise VerbError(
            Exit.BAD_INPUT,
            f"{verb} {' '.join(names)} needs --yes where nobody can type a name; --dry-run shows "
            "the plan",
        )
    for line in _lines(plans, terminal_width(sys.stderr), empty_by_ms):
        narrate(line)
    whose = "the host's name" if len(names) == 1 else "the hosts' names, with blanks between them,"
    narrate("")
    typed = str(click.prompt(f"Type {whose} to go on", prompt_suffix=": ", err=True))
    if sorted(typed.split()) != sorted(names):
        raise VerbError(
            Exit.BAD_INPUT,
            f"{typed.strip()!r} was typed, and what was planned is {' '.join(names)!r}: nothing "
            "was begun",
        )
    return names


def _lines(plans: Sequence[Plan], width: int | None, empty_by_ms: int) -> list[str]:
    lines: list[str] = []
    for plan in plans:
        lines += [*([""] if lines else []), *plan_lines(plan, width, empty_by_ms=empty_by_ms)]
    return lines
