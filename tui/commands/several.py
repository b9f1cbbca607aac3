"""One change to each of several hosts or servers: what one refuses does not stop the others."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tui.exits import Exit, VerbError, exit_of
from wire.errors import GodwitError

ViewT = TypeVar("ViewT")
Refusals = list[tuple[str, GodwitError]]
"""Each name that was given, and why it was refused."""


async def change_each(
    names: Sequence[str], change: Callable[[str], Awaitable[ViewT]]
) -> tuple[list[ViewT], Refusals]:
    """Make one change to each, in the order given, and collect what was refused."""
    changed: list[ViewT] = []
    refusals: Refusals = []
    for name in names:
        try:
            changed.append(await change(name))
        except GodwitError as error:
            refusals.append((name, error))
    return changed, refusals


def check(refusals: Refusals) -> None:
    """Let the verb fail if anything was refused, with every sentence.

    Raises:
        VerbError: with the exit status of the refusals if they agree.
    """
    if refusals:
        statuses = {exit_of(error.code) for _, error in refusals}
        sentence = "; ".join(f"{name}: {error.message}" for name, error in refusals)
        raise VerbError(statuses.pop() if len(statuses) == 1 else Exit.FAILED, sentence)
