"""Beginning a migration, live, cold or a rescue, and waiting for its end."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from tui.commands.output import narrate, print_json
from tui.commands.progress import Progress
from tui.commands.record import print_outcome
from tui.commands.session import ask
from tui.errors import BackendUnreachable
from tui.exits import Exit, VerbError, exit_of
from wire.errors import GodwitError
from wire.migration import Migration, MigrationKind, MigrationOptions, MigrationState
from wire.rescue import RescueOptions

if TYPE_CHECKING:
    from tui.client import Client

Start = Callable[["Client"], Awaitable[Migration]]


def move(
    server: str, kind: MigrationKind, options: MigrationOptions, *, wait: bool, as_json: bool
) -> Exit:
    """Begin a live or cold migration; print its id, or wait for its end and print the outcome.

    Raises:
        VerbError: it failed, was cancelled, or nobody could wait until its end.
    """
    return _run(lambda client: client.migrate(server, kind, options), wait=wait, as_json=as_json)


def rescue(server: str, options: RescueOptions, *, wait: bool, as_json: bool) -> Exit:
    """The same for the rescue of a server whose host is down."""
    return _run(lambda client: client.rescue(server, options), wait=wait, as_json=as_json)


def _run(start: Start, *, wait: bool, as_json: bool) -> Exit:
    begun = _begin(start)
    if not wait:
        _print_begun(begun, as_json=as_json)
        return Exit.DONE
    ended = _follow(begun)
    if as_json:
        print_json(ended)
    else:
        print_outcome(ended)
    return judge(ended)


def _begin(start: Start) -> Migration:
    try:
        return ask(start)
    except KeyboardInterrupt:
        raise VerbError(
            Exit.INTERRUPTED,
            "interrupted before the backend answered; godwit migration-list shows what it began",
        ) from None


def _print_begun(begun: Migration, *, as_json: bool) -> None:
    if as_json:
        print_json(begun)
        return
    click.echo(begun.migration_id)
    chosen = begun.target_host_name or begun.options.prefer_host
    target = chosen or "a host that the scheduler chooses"
    verb = "is rescued" if begun.kind == "rescue" else "moves"
    narrate(
        f"{begun.server_name} {verb} from {begun.source_host_name} to {target}; "
        f"see it with: godwit migration-show {begun.migration_id}"
    )
    if begun.risk:
        narrate(begun.risk)


def _follow(begun: Migration) -> Migration:
    """Show a migration on stderr as it happens, and return its record when it has ended."""
    # Imported here so that ``--help`` does not wait for the HTTP stack.
    from tui.following import follow_to_end  # noqa: PLC0415

    progress = Progress()
    goes_on = f"migration {begun.migration_id} goes on; godwit migration-show tells its end"
    try:
        return ask(lambda client: follow_to_end(client, begun, progress))
    except KeyboardInterrupt:
        raise VerbError(Exit.INTERRUPTED, f"interrupted, but {goes_on}") from None
    except BackendUnreachable as error:
        raise VerbError(Exit.NO_ANSWER, f"{error}; {goes_on}") from None
    except GodwitError as error:
        raise VerbError(exit_of(error.code), f"{error.message}; {goes_on}") from None
    finally:
        progress.close()


def judge(ended: Migration) -> Exit:
    """Say whether the server arrived.

    Raises:
        VerbError: it did not, and why.
    """
    if ended.state is MigrationState.SUCCEEDED:
        return Exit.DONE
    reasons = [ended.error, ended.advice, ended.outcome]
    if ended.state is MigrationState.CANCELLED:
        reasons[0] = f"by {ended.cancel_requested_by}" if ended.cancel_requested_by else ""
    told = "; ".join(" ".join(text.split()).rstrip(".") for text in reasons if text)
    what = "rescue" if ended.kind == "rescue" else f"{ended.kind} migration"
    raise VerbError(Exit.FAILED, f"{what} of {ended.server_name} {ended.state.value}: {told}")
