"""Options that several verbs share, and the numbers they take."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from tui.formats.numbers import NumberError, bandwidth_bytes_per_s, downtime_ms

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

BANDWIDTH = "--max-bandwidth-mb"
NO_CAP = "no cap"
"""What stands for the number where :class:`NumberMayLack` finds none."""


class NumberMayLack(click.Command):
    """A verb whose ``--max-bandwidth-mb`` may stand without its number, as the guide writes it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put :data:`NO_CAP` where another option follows, or nothing."""
        return super().parse_args(ctx, _completed(args))


def _completed(arguments: Sequence[str]) -> list[str]:
    completed: list[str] = []
    for index, argument in enumerate(arguments):
        completed.append(argument)
        following = arguments[index + 1 : index + 2]
        if argument == BANDWIDTH and (not following or following[0].startswith("--")):
            completed.append(NO_CAP)
    return completed


def _read_bandwidth(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    if text == NO_CAP:
        click.echo(f"godwit: {option.opts[0]} without a number means no cap", err=True)
        return None
    return _read(bandwidth_bytes_per_s, text, option)


def _read_downtime(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    return None if text is None else _read(downtime_ms, text, option)


def _read(reader: Callable[[str, str], int], text: str, option: click.Parameter) -> int:
    try:
        return reader(text, option.opts[0])
    except NumberError as error:
        raise click.UsageError(str(error)) from None


def _read_host(_: click.Context, option: click.Parameter, name: str | None) -> str | None:
    if name == "":
        raise click.UsageError(f"{option.opts[0]} is empty; name a host, or leave the option out")
    return name


def capped(text: str) -> Callable[[FunctionT], FunctionT]:
    """``--max-bandwidth-mb``; the value is in bytes per second, None for no cap."""
    return click.option(
        BANDWIDTH,
        "max_bandwidth_bytes_per_s",
        metavar="MAX_BANDWIDTH_MB",
        callback=_read_bandwidth,
        help=text,
    )


bandwidth = capped("Send no more than this in all, in MiB/s.")
host_bandwidth = capped("Let all that moves send no more than this together, in MiB/s.")


def downtime(name: str, text: str) -> Callable[[FunctionT], FunctionT]:
    """An option in ms; None if it is not given."""
    return click.option(name, metavar="MS", callback=_read_downtime, help=text)


def prefer_host(function: FunctionT) -> FunctionT:
    """``--prefer-host``; None if it is not given."""
    option = click.option(
        "--prefer-host",
        metavar="PREFER_HOST",
        callback=_read_host,
        help="Go to this host, by id or name, or nowhere.",
    )
    return option(function)


def skipped_checks(function: FunctionT) -> FunctionT:
    """``--skip-cpu-check`` and ``--skip-kernel-check``."""
    kernel = click.option(
        "--skip-kernel-check", is_flag=True, help="Let through hosts of another kernel."
    )
    cpu = click.option(
        "--skip-cpu-check",
        is_flag=True,
        help="Let through hosts of another CPU model, microcode or fewer CPU features.",
    )
    return cpu(kernel(function))


def waiting(function: FunctionT) -> FunctionT:
    """``--wait`` and ``--json`` of a verb that begins a migration."""
    as_json = click.option(
        "--json", "as_json", is_flag=True, help="The migration as JSON on stdout."
    )
    wait = click.option("--wait", is_flag=True, help="Show its progress, and end with it.")
    return wait(as_json(function))


json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
server_argument = click.argument("server", metavar="ID")
