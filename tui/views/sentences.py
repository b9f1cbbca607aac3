"""The questions that stand before an act: what will happen, to what, and how it stops."""

from collections.abc import Sequence

from wire.migration import Migration


def abort_question(migration: Migration) -> tuple[str, str]:
    """Question and remark before an abort."""
    server, source = migration.server_name, migration.source_host_name
    target = migration.target_host_name or "its target"
    question = f"Abort the live migration of {server} from {source} to {target}?"
    remark = (
        f"The copy stops, {server} goes on running on {source}, "
        f"and {target} drops what it received."
    )
    return question, remark


def abort_answer(migration: Migration) -> str:
    """What became of an abort, as far as the backend knows."""
    if migration.state.ended:
        return migration.outcome or f"the migration of {migration.server_name} has ended"
    if migration.stalled_reason:
        return f"abort asked for, not yet done: {migration.stalled_reason}"
    return f"abort asked for: {migration.source_host_name} is told to stop the copy"


def leave_question(running: Sequence[Migration]) -> str:
    """Question before leaving migrations that were started here."""
    names = ", ".join(each.server_name for each in running)
    one = len(running) == 1
    return (
        f"{names}: {'this migration was' if one else 'these migrations were'} started here and "
        f"still {'runs' if one else 'run'}. {'It goes' if one else 'They go'} on without the "
        "console. Quit?"
    )
