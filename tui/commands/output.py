"""Where verbs write: data to stdout, narration to stderr, all of it safe for a terminal."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import IO, TypeVar

import click
import msgspec

from tui.formats.table import Column, record_lines, table_lines
from tui.text import escape_text

ReportT = TypeVar("ReportT")


def terminal_width(stream: IO[str]) -> int | None:
    """Cells of the terminal behind a stream; None when there is none."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def print_list(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write a table and, as climc does, how many rows it has."""
    print_table(columns, rows)
    click.echo(f"Total: {len(rows)}")


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to stdout."""
    for line in table_lines(columns, rows, width=terminal_width(sys.stdout)):
        click.echo(line)


def print_record(fields: Sequence[tuple[str, str]]) -> None:
    """Write one thing as ``name  value`` lines to stdout."""
    for line in record_lines(fields):
        click.echo(line)


def print_json(value: object) -> None:
    """Write wire structs as JSON; escapes keep it to ASCII, so a terminal obeys none of it."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2))


def print_report(
    found: ReportT,
    *,
    as_json: bool,
    markdown: bool,
    as_text: Callable[[ReportT, int | None], Sequence[str]],
    as_markdown: Callable[[ReportT], str],
) -> None:
    """Write a report in the form that was asked for: JSON, Markdown or text for the terminal."""
    if as_json:
        print_json(found)
    elif markdown:
        click.echo(as_markdown(found))
    else:
        for line in as_text(found, terminal_width(sys.stdout)):
            click.echo(line)


def narrate(text: str) -> None:
    """Write one line for a person to stderr."""
    click.echo(escape_text(text), err=True)
