"""The command ``godwit-lab``."""

import functools
import io
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import click
from rich.console import Console

from lab import network, programs
from lab.errors import LabError
from lab.fleet import Lab
from lab.server import LOCAL_DISK_MB, ImageFormat, Medium, ServerSpec, Storage, Workload
from lab.shutdown import LEAVING_S
from lab.state import LEASE_TTL_S, LinkLimit
from lab.status import status_table

DEFAULT_NAME = "demo"
Arguments = ParamSpec("Arguments")


class OneSentence(click.ClickException):
    """Shows a LabError without a trace."""

    def show(self, file: Any = None) -> None:
        """Print the sentence on standard error."""
        click.echo(f"godwit-lab: {self.format_message()}", err=True, file=file)


def lab_command(function: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Give a subcommand the option ``--name``, and show its LabErrors as one sentence."""

    @click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which lab.")
    @functools.wraps(function)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except LabError as error:
            raise OneSentence(str(error)) from None
        except PermissionError as error:
            what = f"{error.filename}: " if error.filename else ""
            raise OneSentence(f"{what}{error.strerror}: labs are root's, use sudo") from None

    return wrapped


def _say(line: str) -> None:
    click.echo(f"  {line}")


@click.group()
def main() -> None:
    """A fleet of real hosts on this machine, each in namespaces of its own."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a mark gets its escape instead of a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")


@main.command()
@lab_command
@click.option("--hosts", type=int, help="How many hosts a new lab has: 3 if not given.")
@click.option("--servers", type=int, help="How many servers a new lab has: 5 if not given.")
@click.option("--lease-ttl", type=int, help="Seconds, of a new lab's hosts: 10 if not given.")
def up(name: str, hosts: int | None, servers: int | None, lease_ttl: int | None) -> None:
    """Bring up a lab, or what is missing of one."""
    started = time.monotonic()
    lab = Lab(name, say=_say)
    if lab.folders.root.exists() and hosts not in {None, len(lab.state.hosts)}:
        raise LabError(
            f"the lab {name!r} has {len(lab.state.hosts)} hosts, and --hosts {hosts} is for a new "
            "one: end it first, or choose another --name"
        )
    click.echo(f"Lab {name}")
    lab.up(
        host_count=3 if hosts is None else hosts,
        server_count=5 if servers is None else servers,
        lease_ttl_s=LEASE_TTL_S if lease_ttl is None else lease_ttl,
    )
    lab.wait_until_ready()
    option = "" if name == DEFAULT_NAME else f" --name {name}"
    running = next((each.spec.name for each in lab.state.servers if not each.spec.stopped), "NAME")
    click.echo(
        f"""  ready     in {time.monotonic() - started:.1f} s

Next:
  eval "$(godwit-lab env{option})"
  godwit                                          the console
  godwit host-list
  godwit server-live-migrate {running} --wait
  godwit-lab link{option} kvm-01 --rate 400mbit
  godwit-lab exec{option} kvm-01 -- virsh list --all
  godwit-lab down{option}"""
    )


@main.command()
@lab_command
def down(name: str) -> None:
    """End everything of a lab and remove its files."""
    lab = Lab(name)
    if not lab.folders.root.exists():
        click.echo(f"There is no lab {name}: nothing to end.")
        return
    lab.down()
    click.echo(f"Lab {name} is gone.")


@main.command()
@lab_command
def status(name: str) -> None:
    """Show each node: on or off, address, CPU, link, programs, guests."""
    lab = Lab(name)
    Console().print(status_table(lab.state, lab.folders))


@main.command()
@lab_command
@click.option("--role", type=click.Choice(programs.ROLES), default="operator", show_default=True)
def env(name: str, role: str) -> None:
    """Print the shell's exports with which godwit finds this lab."""
    for variable, value in Lab(name).environment(role).items():
        click.echo(f"export {variable}={shlex.quote(value)}")


@main.command("power-cut")
@lab_command
@click.argument("host")
def power_cut(name: str, host: str) -> None:
    """Let everything of a host vanish at once."""
    Lab(name).power_cut(host)


@main.command()
@lab_command
@click.argument("host")
@click.option("--within", default=LEAVING_S, show_default=True, help="Seconds for guests to leave.")
def shutdown(name: str, host: str, within: int) -> None:
    """Shut a host down in order: its agent is told, its guests end, then it."""
    Lab(name).shut_down(host, within_s=within)


@main.command("power-on")
@lab_command
@click.argument("host")
def power_on(name: str, host: str) -> None:
    """Start a host whose power was cut."""
    Lab(name).power_on(host)


@main.command()
@lab_command
@click.argument("host")
def partition(name: str, host: str) -> None:
    """Drop every packet to and from a host."""
    Lab(name).partition(host)


@main.command()
@lab_command
@click.argument("host")
def heal(name: str, host: str) -> None:
    """End a partition."""
    Lab(name).heal(host)


@main.command()
@lab_command
@click.argument("host")
@click.option("--rate", help="Such as 400mbit: holds in each direction.")
@click.option("--delay", help="Such as 5ms: added in each direction.")
@click.option("--clear", is_flag=True, help="Give the host its whole link back.")
def link(name: str, host: str, rate: str | None, delay: str | None, *, clear: bool) -> None:
    """Slow a host's link, or give it back."""
    if clear == bool(rate or delay):
        raise click.UsageError("give --rate and/or --delay, or --clear alone")
    limit = LinkLimit(
        rate_bits_per_s=network.parse_rate(rate) if rate else 0,
        delay_ms=network.parse_delay(delay) if delay else 0.0,
    )
    Lab(name).limit_link(host, limit)


@main.command()
@lab_command
@click.argument("host")
@click.option("--leave-mb", type=int, help="How much of its local storage stays free.")
@click.option("--clear", is_flag=True, help="Give the host its space back.")
def fill(name: str, host: str, leave_mb: int | None, *, clear: bool) -> None:
    """Let a host's local storage run full, or give its space back.

    The pool has to be empty when it is filled for the first time.
    """
    if clear == (leave_mb is not None):
        raise click.UsageError("give --leave-mb, or --clear alone")
    Lab(name).limit_pool(host, leave_mb)


@main.command("exec", context_settings={"ignore_unknown_options": True})
@lab_command
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(name: str, host: str, command: tuple[str, ...]) -> None:
    """Run a command inside a host: godwit-lab exec kvm-01 -- virsh list."""
    argv = Lab(name).exec_argv(host, command, folder=str(Path.cwd()))
    os.execvp(argv[0], argv)  # noqa: S606  (the terminal and the exit status are the command's own)


_MEDIUM = click.Choice(["shared", "local"])


@main.command("add-server")
@lab_command
@click.argument("server")
@click.option("--host", required=True)
@click.option("--memory-mb", default=128, show_default=True)
@click.option("--working-set-mb", default=4, show_default=True)
@click.option("--dirty-mb-per-s", default=0.0, show_default=True)
@click.option(
    "--storage",
    type=click.Choice(["shared", "local", "mixed"]),
    default="shared",
    show_default=True,
)
@click.option(
    "--format",
    "image_format",
    type=click.Choice(["raw", "qcow2"]),
    default="raw",
    show_default=True,
    help="Of its disks' images.",
)
@click.option(
    "--disk-mb",
    default=LOCAL_DISK_MB,
    show_default=True,
    help="Virtual size of its local disk, whose image is sparse.",
)
@click.option(
    "--data-mb",
    default=0,
    show_default=True,
    help="How much of the local disk holds random data.",
)
@click.option(
    "--chain", is_flag=True, help="Local disk: an overlay of a snapshot of a cached image (qcow2)."
)
@click.option("--cdrom", type=_MEDIUM, help="A CD-ROM whose image lies there.")
@click.option("--floppy", type=_MEDIUM, help="A floppy whose image lies there.")
@click.option("--passthrough", is_flag=True, help="Wants a PCI device; only with --stopped.")
@click.option("--cpu-feature", default="", help="Such as aes: it does not run without it.")
@click.option("--uefi", is_flag=True, help="UEFI with its variables in a file; boots nothing.")
@click.option("--stopped", is_flag=True, help="Define it without starting it.")
@click.option("--paused", is_flag=True, help="Suspend it once it has begun to run.")
def add_server(  # noqa: PLR0917  (click passes its arguments by name)
    name: str,
    server: str,
    host: str,
    memory_mb: int,
    working_set_mb: int,
    dirty_mb_per_s: float,
    storage: Storage,
    image_format: ImageFormat,
    disk_mb: int,
    data_mb: int,
    cdrom: Medium | None,
    floppy: Medium | None,
    cpu_feature: str,
    **flags: bool,
) -> None:
    """Define a server on a host, and start it."""
    spec = ServerSpec(
        name=server,
        host=host,
        memory_mb=memory_mb,
        workload=Workload(working_set_mb=working_set_mb, dirty_mb_per_s=dirty_mb_per_s),
        storage=storage,
        format=image_format,
        disk_mb=disk_mb,
        data_mb=data_mb,
        cdrom=cdrom or "",
        floppy=floppy or "",
        cpu_feature=cpu_feature,
        **flags,
    )
    Lab(name).add_server(spec)


if __name__ == "__main__":
    main()
