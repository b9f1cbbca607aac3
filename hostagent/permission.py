"""What may be done to a job at this moment; every refusal says why."""

from hostagent.journal import Entry
from wire.agent import JobState
from wire.errors import GodwitError, bad_request, conflict
from wire.migration import MigrationParameters, PostcopyState

_LONGEST_DOWNTIME_MS = 2_000_000
"""QEMU's own bound."""


def require_cancellable(entry: Entry) -> None:
    """Refuse to abort a guest whose memory is spread over two hosts.

    Raises:
        GodwitError: ``CONFLICT``.
    """
    if entry.job.postcopy is not PostcopyState.NOT:
        raise _conflict(
            entry,
            "cannot be cancelled: it has switched to post-copy, and neither host has all of the "
            "guest's memory",
        )


def require_changeable(entry: Entry, parameters: MigrationParameters) -> None:
    """Refuse figures that mean nothing, or that come too late.

    Raises:
        GodwitError: ``BAD_REQUEST`` or ``CONFLICT``.
    """
    cap, limit_ms = parameters.max_bandwidth_bytes_per_s, parameters.downtime_limit_ms
    if cap is None and limit_ms is None and not parameters.no_bandwidth_limit:
        raise bad_request("nothing to change: give a bandwidth, a downtime limit or both")
    if cap is not None and cap <= 0:
        raise bad_request(
            f"a cap of {cap} bytes per second sends nothing: give more than 0",
        )
    if cap is not None and parameters.no_bandwidth_limit:
        raise bad_request(
            f"a cap of {cap} bytes per second and none at once: give one of them",
        )
    if limit_ms is not None and not 0 < limit_ms <= _LONGEST_DOWNTIME_MS:
        raise bad_request(
            f"QEMU takes no downtime limit of {limit_ms} ms: give 1 to {_LONGEST_DOWNTIME_MS}",
        )
    if entry.job.state is JobState.ENDED:
        raise _conflict(entry, "has ended: nothing can be changed in it")
    if limit_ms is not None and entry.job.postcopy is not PostcopyState.NOT:
        raise _conflict(entry, "has switched to post-copy: no pause is left to be limited")


def require_postcopy(entry: Entry) -> None:
    """Refuse a switch to post-copy that libvirt or QEMU would not make.

    Raises:
        GodwitError: ``CONFLICT``.
    """
    job = entry.job
    if job.state is JobState.ENDED:
        raise _conflict(entry, "has ended: it cannot switch to post-copy")
    if entry.no_postcopy:
        raise _conflict(entry, f"cannot switch to post-copy: {entry.no_postcopy}")
    if job.cancel_requested:
        raise _conflict(entry, "is being cancelled: it cannot switch to post-copy")
    if job.state is not JobState.COPYING_MEMORY:
        doing = job.state.replace("_", " ")
        raise _conflict(
            entry, f"is {doing}: it can switch to post-copy only while it copies memory"
        )


def require_in_postcopy(entry: Entry) -> None:
    """Refuse to recover what has no post-copy that could break.

    Raises:
        GodwitError: ``CONFLICT``.
    """
    if entry.job.state is JobState.ENDED:
        raise _conflict(entry, "has ended: nothing is to be recovered")
    if entry.job.postcopy not in {PostcopyState.ACTIVE, PostcopyState.PAUSED}:
        raise _conflict(entry, "is not in post-copy: nothing is to be recovered")


def _conflict(entry: Entry, why: str) -> GodwitError:
    return conflict(f"the migration {entry.job.migration_id} {why}")
