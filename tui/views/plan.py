"""What is about to happen when a migration begins: the question before it."""

import msgspec

from tui.formats.units import bytes_text, rate_text
from tui.paint import Line, Span, Tone, line
from tui.views.candidates import Target
from wire.fleet import Disk, HostStatus, HostView, ServerStatus, ServerView
from wire.migration import MigrationKind, MigrationOptions

Facts = list[tuple[str, Span]]


def kind_for(server: ServerView, host: HostView | None) -> MigrationKind | None:
    """The kind of migration that a server's state allows; None while it allows none.

    A server whose host is down can only be rescued, however it was.
    """
    if server.migration_id:
        return None
    if host is not None and host.status is HostStatus.OFFLINE:
        return "rescue"
    if server.status is ServerStatus.READY:
        return "cold"
    known = {ServerStatus.RUNNING, ServerStatus.SUSPEND, ServerStatus.MIGRATE_FAILED}
    return "live" if server.status in known else None


def move_label(kind: MigrationKind | None) -> dict[str, str]:
    """The word of the key that moves a server, for the footer."""
    if kind is None:
        return {}
    return {"migrate": "Rescue" if kind == "rescue" else f"{kind.title()}-migrate"}


def why_no_move(server: ServerView) -> str:
    """Why a server can be moved in no way just now."""
    if server.migration_id:
        return f"{server.name} migrates now: enter shows it"
    reason = f": {server.status_reason}" if server.status_reason else ""
    return f"nobody knows how {server.name} is, so it cannot be moved{reason}"


def intention(server: ServerView, kind: MigrationKind) -> Line:
    """What the dialog is for, in one sentence."""
    if kind == "rescue":
        return line(
            Span(" Rescue ", Tone.TAB),
            Span(f"  {server.name}", Tone.TITLE),
            f" was on {server.host_name}, which is down. Where to?",
        )
    how = " while it runs" if kind == "live" else ", stopped"
    if server.status is ServerStatus.SUSPEND:
        how = ", suspended"
    return line(
        Span(f" {kind.title()} migration ", Tone.TAB),
        Span(f"  {server.name}", Tone.TITLE),
        f" leaves {server.host_name}{how}. Where to?",
    )


def refusal(server: ServerView, target: Target) -> str:
    """Why an unfit target cannot be chosen."""
    if target.candidate is None:
        return f"No host fits {server.name}: there is nowhere to move it."
    return f"{target.candidate.host_name} does not fit {server.name}: choose a host that fits."


def question(server: ServerView, kind: MigrationKind, target: Target) -> str:
    """Who goes where."""
    to = place(target)
    if target.chosen_by_scheduler:
        to = f"the best host, now {to}"
    if kind == "rescue":
        return f"Rescue {server.name} from {server.host_name} to {to}?"
    return f"{kind.title()}-migrate {server.name} from {server.host_name} to {to}?"


def facts(
    server: ServerView, kind: MigrationKind, target: Target, options: MigrationOptions
) -> Facts:
    """What will happen, what deviates from the usual, and how to stop it."""
    found = [("copies", Span(_copies(server, kind)))]
    found += _live(server, options) if kind == "live" else _cold(server, options)
    if _local_disks(server):
        arrived = f"once it {'runs' if kind == 'live' else 'is'} on {place(target)}"
        gone = f"its local disks on {server.host_name} are deleted {arrived}"
        found.append(("at the end", Span(gone)))
    cap = options.max_bandwidth_bytes_per_s
    if cap is not None:
        found.append(("cap", Span(f"{rate_text(cap)} in all", Tone.STRONG)))
    for each in target.skipped:
        found.append(("unchecked", Span(each.reason, Tone.WARN)))
    if target.candidate and target.candidate.risk:
        found.append(("risk", Span(target.candidate.risk, Tone.WARN)))
    if kind == "live" and options.keep_dest_guest_on_failed:
        kept = f"what {place(target)} received is kept if it fails; D deletes it later"
        found.append(("keeps", Span(kept, Tone.STRONG)))
    stop = f"X aborts; {server.name} then stays on {server.host_name} as it is"
    found.append(("to stop", Span(stop)))
    return found


def options_for(target: Target, options: MigrationOptions) -> MigrationOptions:
    """What to ask the backend for: a pin, or its own choice."""
    if target.chosen_by_scheduler or target.candidate is None:
        return options
    return msgspec.structs.replace(options, prefer_host=target.candidate.host_id)


def place(target: Target) -> str:
    """The host that a row of the dialog stands for."""
    return target.candidate.host_name if target.candidate else "the best host"


def _local_disks(server: ServerView) -> list[Disk]:
    """The disks that have to be copied."""
    return [each for each in images(server) if not each.shared]


def images(server: ServerView) -> list[Disk]:
    """The disks that hold data; drives for media are none."""
    return [each for each in server.disks if each.source and each.device in {"disk", "lun"}]


def _copies(server: ServerView, kind: MigrationKind) -> str:
    shared = [each.target for each in images(server) if each.shared]
    parts = [f"{bytes_text(server.memory_bytes)} of memory"] if kind == "live" else []
    parts += [_disk(each) for each in _local_disks(server)]
    if not parts:
        parts.append("the definition only")
    stay = f"; {', '.join(shared)} on shared storage stays" if shared else ""
    return f"{', '.join(parts)}{stay}"


def _disk(disk: Disk) -> str:
    return (
        f"local disk {disk.target} of {bytes_text(disk.capacity_bytes)} "
        f"({bytes_text(disk.allocation_bytes)} in use)"
    )


def _live(server: ServerView, options: MigrationOptions) -> Facts:
    if server.status is ServerStatus.SUSPEND:
        found = [("meanwhile", Span(f"{server.name} stays suspended"))]
    else:
        limit = f"aims at {options.downtime_limit_ms} ms, and may exceed it"
        found = [
            ("meanwhile", Span(f"{server.name} runs on")),
            ("pause", Span(limit)),
            ("if too busy", Span("its CPUs are slowed step by step (auto-converge, up to 99 %)")),
        ]
        if options.quickly_finish:
            bound = (
                "after a few passes the limit rises to what is needed, "
                f"{options.downtime_bound_ms} ms at most"
            )
            found.append(("or sooner", Span(bound, Tone.STRONG)))
    if options.enable_tls:
        found.append(("encrypted", Span("memory and disks, both sides proven", Tone.STRONG)))
    return found


def _cold(server: ServerView, options: MigrationOptions) -> Facts:
    found = [("meanwhile", Span(f"{server.name} is stopped and cannot be started"))]
    if options.auto_start:
        found.append(("then", Span("it is started on arrival", Tone.STRONG)))
    return found
