"""``server-migrate-forecast``: which hosts a server may go to, and why not to the others."""

from collections.abc import Sequence

import click

from tui.commands.output import print_json, print_table
from tui.commands.session import look
from tui.exits import Exit, VerbError
from tui.formats.table import Column
from wire.fleet import Candidate

COLUMNS = (Column("Host"), Column("Fits"), Column("Filter"), Column("Reason"))


@click.command("server-migrate-forecast", short_help="Show where a server may move, and why not.")
@click.option("--live-migrate", is_flag=True, required=True, help="Ask about a live migration.")
@click.option("--prefer-host", metavar="HOST", help="Only this host, by name or id.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.argument("server", metavar="ID")
def server_migrate_forecast(
    *, live_migrate: bool, prefer_host: str | None, as_json: bool, server: str
) -> Exit:
    """Show which hosts a server may move to, each with its reasons.

    The exit status is 0 when at least one of them fits. ID is a server's name or id.
    """
    del live_migrate
    candidates = look(lambda client: client.candidates(server))
    if prefer_host is not None:
        candidates = [one for one in candidates if prefer_host in {one.host_name, one.host_id}]
        if not candidates:
            raise VerbError(Exit.BAD_INPUT, f"no host is called {prefer_host!r}")
    if as_json:
        print_json(candidates)
    else:
        print_table(COLUMNS, candidate_rows(candidates))
    return Exit.DONE if any(one.fits for one in candidates) else Exit.FAILED


def candidate_rows(candidates: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """One row for each host that fits, best first, then each reason against the others by name."""
    rows: list[tuple[str, ...]] = []
    for one in sorted(candidates, key=_place):
        if one.fits:
            rows.append((one.host_name, "yes", "", ""))
        rows.extend(
            (one.host_name, "no", verdict.filter, verdict.reason)
            for verdict in one.verdicts
            if not verdict.passed
        )
    return rows


def _place(one: Candidate) -> tuple[bool, float, str]:
    """Sort as the backend does: a weight says nothing of a host that does not fit."""
    return (not one.fits, -one.weight if one.fits else 0.0, one.host_name)
