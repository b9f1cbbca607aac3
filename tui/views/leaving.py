"""The question before leaving the console while migrations that were started here run."""

from collections.abc import Sequence

from wire.migration import Migration


def leave_question(running: Sequence[Migration]) -> str:
    """Question before leaving migrations that were started here."""
    names = ", ".join(each.server_name for each in running)
    one = len(running) == 1
    return (
        f"{names}: {'this migration was' if one else 'these migrations were'} started here and "
        f"still {'runs' if one else 'run'}. {'It goes' if one else 'They go'} on without the "
        "console. Quit?"
    )
