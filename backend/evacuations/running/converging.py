"""When a move under way is given up: it does not converge, whatever is done to its guest."""

from collections.abc import Sequence

from wire.migration import Migration, Pass

_HELD_BACK_PERCENT = 99
"""QEMU throttles no further than this."""
_PASSES = 4
_SHRINKS = 0.8
"""So much of what remained may be left after these passes, if it converges."""


def hopeless(passes: Sequence[Pass]) -> str:
    """Say why a move will not end by itself; empty while it may.

    Auto-converge holds a guest back more and more as long as it dirties memory too fast. Once it
    cannot be held back further, and what remains does not shrink, nothing changes any more.
    """
    late = passes[-_PASSES - 1 :]
    if len(late) <= _PASSES or any(one.throttle_percent < _HELD_BACK_PERCENT for one in late):
        return ""
    before, now = late[0].remaining_at_start_bytes, late[-1].remaining_at_start_bytes
    if now < before * _SHRINKS:
        return ""
    mib = 1 << 20
    return (
        f"it does not converge: held back by {late[-1].throttle_percent} %, pass "
        f"{late[-1].number} still began with {now // mib} MiB"
    )


def since_changed(migration: Migration, passes: Sequence[Pass], at_ms: int) -> Sequence[Pass]:
    """The passes that began after the last change of parameters: those before prove nothing.

    Args:
        migration: its notes tell when that was.
        passes: of its job.
        at_ms: now, by the clock that wrote the notes.
    """
    changed = [one.at_ms for one in migration.notes if " changed from " in one.text]
    if not changed or not passes:
        return passes
    now_in_job_ms = passes[-1].started_ms + passes[-1].duration_ms
    since_ms = now_in_job_ms - max(0, at_ms - changed[-1])
    return [one for one in passes if one.started_ms >= since_ms]
