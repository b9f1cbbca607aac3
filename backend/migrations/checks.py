"""What is refused before anything is begun: by its options, or by the server's state."""

from typing import Literal

from backend.fleet.known import Fleet
from backend.fleet.server_view import standing
from backend.migrations.choice import unreported
from backend.scheduler.state import cannot_move
from wire.errors import ErrorCode, GodwitError, bad_request, conflict
from wire.fleet import OwnerPhase, ServerRecord, ServerStatus
from wire.migration import Migration, MigrationOptions, MigrationParameters

LONGEST_DOWNTIME_MS = 2_000_000
"""QEMU's own bound of ``downtime-limit``."""
LEAST_BANDWIDTH_BYTES_PER_S = 1 << 20
"""libvirt counts in MiB/s, so that less would be no cap at all."""

_VERBS = {"live": "server-live-migrate", "cold": "server-migrate"}
_ONLY_LIVE = (
    "skip_cpu_check",
    "skip_kernel_check",
    "enable_tls",
    "quickly_finish",
    "downtime_limit_ms",
    "downtime_bound_ms",
    "keep_dest_guest_on_failed",
)
_ONLY_COLD = ("auto_start",)
_MIGRATING = {ServerStatus.START_MIGRATE, ServerStatus.MIGRATING, ServerStatus.LIVE_MIGRATING}


def check_options(kind: Literal["live", "cold"], options: MigrationOptions) -> None:
    """Refuse options of the other kind, and values out of their bounds.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    default = MigrationOptions()
    for name in _ONLY_COLD if kind == "live" else _ONLY_LIVE:
        if getattr(options, name) != getattr(default, name):
            other = "cold" if kind == "live" else "live"
            raise bad_request(
                f"{name} is {_said(getattr(options, name))}, and only a {other} migration has it "
                f"({_VERBS[other]})"
            )
    check_cap(options.max_bandwidth_bytes_per_s)
    _check_downtime("downtime_limit_ms", options.downtime_limit_ms)
    _check_downtime("downtime_bound_ms", options.downtime_bound_ms)
    if options.quickly_finish and options.downtime_bound_ms < options.downtime_limit_ms:
        raise bad_request(
            f"downtime_bound_ms is {options.downtime_bound_ms}, and must be at least "
            f"downtime_limit_ms, which is {options.downtime_limit_ms}"
        )


def check_parameters(migration: Migration, parameters: MigrationParameters) -> None:
    """Refuse a change of nothing, of what this migration has not, or out of its bounds.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    if parameters == MigrationParameters():
        raise bad_request(
            "nothing to change: give max_bandwidth_bytes_per_s, no_bandwidth_limit or "
            "downtime_limit_ms"
        )
    check_cap_change(parameters.max_bandwidth_bytes_per_s, taken_away=parameters.no_bandwidth_limit)
    if parameters.downtime_limit_ms is None:
        return
    if migration.kind == "cold":
        raise bad_request(
            f"downtime_limit_ms is {parameters.downtime_limit_ms}, and a cold migration has no "
            "downtime to limit: its server is stopped"
        )
    _check_downtime("downtime_limit_ms", parameters.downtime_limit_ms)
    options = migration.options
    if options.quickly_finish and parameters.downtime_limit_ms > options.downtime_bound_ms:
        raise bad_request(
            f"downtime_limit_ms is {parameters.downtime_limit_ms}, above downtime_bound_ms, the "
            f"{options.downtime_bound_ms} ms that this migration was begun with"
        )


def check_movable(fleet: Fleet, record: ServerRecord, kind: Literal["live", "cold"]) -> None:
    """Refuse a server whose state does not allow this kind of migration.

    Raises:
        GodwitError: CONFLICT, or AGENT_UNREACHABLE when nobody knows its state.
    """
    if record.owner.phase is OwnerPhase.LOST:
        raise conflict(
            f"{record.name} is lost: no host has it, so it cannot move; "
            f"godwit server-settle --keep-host HOST {record.name} defines it again",
        )
    now = standing(fleet, record)
    if now.status is ServerStatus.UNKNOWN:
        raise GodwitError(ErrorCode.AGENT_UNREACHABLE, f"{unreported(fleet, record)}: {now.reason}")
    if now.status in _MIGRATING:
        raise conflict(
            f"{record.name} already migrates{' ' if now.reason else ''}{now.reason} "
            f"(migration {record.owner.migration_id}); wait for its end or cancel it",
        )
    refusal = cannot_move(record.name, now.status, kind, now.reason)
    if refusal:
        raise conflict(refusal)


def check_cap(cap_bytes_per_s: int | None) -> None:
    """Refuse a cap that no stream could be held to.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    if cap_bytes_per_s is not None and cap_bytes_per_s < LEAST_BANDWIDTH_BYTES_PER_S:
        raise bad_request(
            f"max_bandwidth_bytes_per_s is {cap_bytes_per_s}, and must be at least "
            f"{LEAST_BANDWIDTH_BYTES_PER_S} (1 MiB/s), or left out for no cap"
        )


def check_cap_change(cap_bytes_per_s: int | None, *, taken_away: bool) -> None:
    """Refuse a new cap out of its bounds, or one that is taken away at once.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    if cap_bytes_per_s is not None and taken_away:
        raise bad_request(
            "no_bandwidth_limit takes the cap away, and max_bandwidth_bytes_per_s is "
            f"{cap_bytes_per_s}: give one of them"
        )
    check_cap(cap_bytes_per_s)


def _check_downtime(name: str, value_ms: int) -> None:
    if not 1 <= value_ms <= LONGEST_DOWNTIME_MS:
        raise bad_request(f"{name} is {value_ms}, and must be 1 to {LONGEST_DOWNTIME_MS}")


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
