"""The command ``godwit``: the console, or one of climc's verbs."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tui.commands import (
    audit,
    bring_back,
    candidates,
    evacuate,
    evacuations,
    host_health,
    hosts,
    in_flight,
    incidents,
    leftovers,
    live_migrate,
    maintenance,
    migrate,
    migrations,
    rescue,
    servers,
    steering,
)
from tui.commands.output import narrate, terminal_width
from tui.commands.session import current_settings
from tui.errors import BackendUnreachable
from tui.exits import MEANINGS, Exit, VerbError, exit_of
from tui.formats.table import table_lines
from tui.settings import BACKEND, CA_FILE, CERT_FILE, KEY_FILE, TOKEN_FILE
from wire.config import ConfigError
from wire.errors import GodwitError

_EPILOG = "\b\nExit status:\n" + "\n".join(
    f"  {status.value:<4}{meaning}" for status, meaning in MEANINGS.items()
)


@click.group("godwit", invoke_without_command=True, epilog=_EPILOG)
@click.option("--read-only", is_flag=True, help="Console without the keys that change anything.")
@click.option("--mouse", is_flag=True, help="Console that listens to the mouse.")
@click.option("--backend", "backend", envvar=BACKEND, show_envvar=True, metavar="URL")
@click.option("--token-file", envvar=TOKEN_FILE, show_envvar=True, metavar="FILE")
@click.option("--ca-file", envvar=CA_FILE, show_envvar=True, metavar="FILE")
@click.option("--cert-file", envvar=CERT_FILE, show_envvar=True, metavar="FILE")
@click.option("--key-file", envvar=KEY_FILE, show_envvar=True, metavar="FILE")
@click.pass_context
def godwit(
    context: click.Context,
    *,
    read_only: bool,
    mouse: bool,
    backend: str | None,
    token_file: str | None,
    ca_file: str | None,
    cert_file: str | None,
    key_file: str | None,
) -> None:
    """Move virtual machines between KVM hosts: the console, or one verb.

    Without a verb the console opens. Verbs write data to stdout and narration to stderr.
    In a lab, eval "$(godwit-lab env)" sets all that godwit needs to know.
    """
    context.obj = {
        BACKEND: backend,
        TOKEN_FILE: token_file,
        CA_FILE: ca_file,
        CERT_FILE: cert_file,
        KEY_FILE: key_file,
    }
    verb = context.invoked_subcommand
    if verb is None:
        _open_console(read_only=read_only, mouse=mouse)
    elif read_only or mouse:
        option = "--read-only" if read_only else "--mouse"
        raise click.UsageError(f"{option} is for the console, not for the verb {verb}")


for _command in (
    hosts.host_list,
    hosts.host_show,
    maintenance.host_maintenance,
    maintenance.host_exit_maintenance,
    evacuate.host_evacuate,
    bring_back.host_return,
    evacuations.evacuation_list,
    evacuations.evacuation_show,
    steering.evacuation_pause,
    steering.evacuation_resume,
    steering.evacuation_cancel,
    steering.evacuation_retry,
    steering.evacuation_replan,
    steering.evacuation_change,
    host_health.host_health,
    host_health.host_auto_migrate_on_host_down,
    host_health.host_declare_off,
    servers.server_list,
    servers.server_show,
    rescue.server_set_rescue_priority,
    candidates.server_migrate_forecast,
    live_migrate.server_live_migrate,
    migrate.server_migrate,
    in_flight.server_cancel_live_migrate,
    in_flight.server_set_live_migrate_params,
    in_flight.server_switch_to_postcopy,
    in_flight.server_recover_postcopy,
    leftovers.server_settle,
    leftovers.server_forget,
    migrations.migration_list,
    migrations.migration_show,
    leftovers.migration_remove_kept,
    incidents.incident_list,
    incidents.incident_show,
    rescue.rescue_arm,
    rescue.rescue_disarm,
    audit.audit_list,
):
    godwit.add_command(_command)


def _open_console(*, read_only: bool, mouse: bool) -> None:
    settings = current_settings()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise VerbError(
            Exit.BAD_INPUT, "the console needs a terminal; godwit --help lists verbs for scripts"
        )
    # Imported here so that no verb waits for Textual.
    from tui import opening  # noqa: PLC0415

    opening.run(settings, read_only=read_only, mouse=mouse)


_EXPECTED = (
    click.ClickException,
    click.Abort,
    KeyboardInterrupt,
    ConfigError,
    VerbError,
    BackendUnreachable,
    GodwitError,
    OSError,
)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; whatever goes wrong becomes one sentence and an exit status."""
    try:
        status = godwit.main(list(arguments), prog_name="godwit", standalone_mode=False)
        sys.stdout.flush()
    except _EXPECTED as error:
        if isinstance(error, OSError):
            _discard_output()
        status = _status_of(error)
        narrate(f"godwit: {_sentence_of(error)}")
        if isinstance(error, GodwitError):
            _show_candidates(error)
    return int(status or Exit.DONE)


def _sentence_of(error: BaseException) -> str:
    match error:
        case click.ClickException():
            return error.format_message().rstrip(".")
        case click.Abort() | KeyboardInterrupt():
            return "interrupted"
        case OSError():
            return f"cannot write the answer: {error.strerror}"
        case _:
            return str(error)


def _status_of(error: BaseException) -> Exit:
    match error:
        case VerbError():
            return error.status
        case GodwitError():
            return exit_of(error.code)
        case BackendUnreachable():
            return Exit.NO_ANSWER
        case click.Abort() | KeyboardInterrupt():
            return Exit.INTERRUPTED
        case OSError():
            return Exit.FAILED
        case _:
            return Exit.BAD_INPUT


def _show_candidates(error: GodwitError) -> None:
    if error.candidates:
        rows = candidates.candidate_rows(error.candidates)
        width = terminal_width(sys.stderr)
        for line in table_lines(candidates.COLUMNS, rows, width=width):
            narrate(line)


def _discard_output() -> None:
    """Keep Python from trying again at exit to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point of the script ``godwit``."""
    for name in ("stdout", "stderr"):
        # A parent may have closed it.
        stream = getattr(sys, name) or Path(os.devnull).open("w")  # noqa: SIM115 - lives on
        # A terminal that cannot show a letter gets its escape instead of a traceback.
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)
    sys.exit(run(sys.argv[1:]))
