"""``server-migrate-forecast``: which hosts a server may go to, and why not to the others."""

from collections.abc import Sequence

import click

from tui.commands import options
from tui.commands.output import print_json, print_table
from tui.commands.session import look
from tui.exits import Exit, VerbError
from tui.formats.table import Column
from wire.candidates import Candidate, FilterVerdict
from wire.migration import MigrationKind, MigrationOptions

COLUMNS = (
    Column("Host"),
    Column("Fits"),
    Column("Filter"),
    Column("Verdict"),
    Column("Reason", wraps=True),
)
_DETAILED = (
    *COLUMNS[:-1],
    Column("Wanted", least=10),
    Column("Found", least=10),
    COLUMNS[-1],
)


@click.command("server-migrate-forecast", short_help="Show where a server may move, and why not.")
@click.option("--live-migrate", is_flag=True, help="Of a running server; else of a stopped one.")
@click.option("--rescue-mode", is_flag=True, help="Of a server whose host is down.")
@options.prefer_host
@options.skipped_checks
@click.option("--details", is_flag=True, help="Every filter with both values, passed ones too.")
@options.json_option
@options.server_argument
def server_migrate_forecast(
    *,
    live_migrate: bool,
    rescue_mode: bool,
    prefer_host: str | None,
    skip_cpu_check: bool,
    skip_kernel_check: bool,
    details: bool,
    as_json: bool,
    server: str,
) -> Exit:
    """Show which hosts a server may move to, and what speaks against the others.

    A host that fits only because a check is skipped shows that filter as skipped, and what it
    risks. The exit status is 0 when at least one host fits. ID is a server's name or id.
    """
    if live_migrate and rescue_mode:
        raise click.UsageError(
            "--live-migrate is of a server that runs, --rescue-mode of a lost one"
        )
    kind: MigrationKind = "live" if live_migrate else "rescue" if rescue_mode else "cold"
    asked = MigrationOptions(skip_cpu_check=skip_cpu_check, skip_kernel_check=skip_kernel_check)
    candidates = look(lambda client: client.candidates(server, kind, asked))
    if prefer_host is not None:
        candidates = [one for one in candidates if prefer_host in {one.host_name, one.host_id}]
        if not candidates:
            raise VerbError(Exit.BAD_INPUT, f"no host is called {prefer_host!r}")
    if as_json:
        print_json(candidates)
    elif details:
        print_table(_DETAILED, _detailed_rows(candidates))
    else:
        print_table(COLUMNS, candidate_rows(candidates))
    return Exit.DONE if any(one.fits for one in candidates) else Exit.FAILED


def candidate_rows(candidates: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """One row for each host that fits, best first, and one for each filter that does not agree."""
    rows: list[tuple[str, ...]] = []
    for one in sorted(candidates, key=_place):
        if one.fits:
            judged = _judged(one) or [("passed", "")]
            rows += [(one.host_name, "yes", "", word, sentence) for word, sentence in judged]
        rows.extend(
            (one.host_name, _fits(one), each.filter, _verdict(each), each.reason)
            for each in one.verdicts
            if not each.passed or each.skipped
        )
    return rows


def _detailed_rows(candidates: Sequence[Candidate]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in sorted(candidates, key=_place):
        rows.extend(
            (
                *(one.host_name, _fits(one), each.filter, _verdict(each)),
                *(each.wanted, each.found, each.reason),
            )
            for each in one.verdicts
        )
        rows += [
            (one.host_name, _fits(one), "", word, "", "", sentence)
            for word, sentence in _judged(one)
        ]
    return rows


def _judged(one: Candidate) -> list[tuple[str, str]]:
    """What it means that checks are skipped there: a word and a sentence each."""
    told = (("risk", one.risk), ("safe", one.safe))
    return [(word, sentence) for word, sentence in told if sentence]


def _fits(one: Candidate) -> str:
    return "yes" if one.fits else "no"


def _verdict(verdict: FilterVerdict) -> str:
    if verdict.skipped and verdict.reason:
        return "skipped"
    return "passed" if verdict.passed else "refused"


def _place(one: Candidate) -> tuple[bool, float, str]:
    """Sort as the backend does: a weight says nothing of a host that does not fit."""
    return (not one.fits, -one.weight if one.fits else 0.0, one.host_name)
