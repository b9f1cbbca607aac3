"""Options of one move: its own, else those of all, else the command's defaults."""

import msgspec

from backend.migrations.checks import check_options
from wire.evacuation import MoveOptions
from wire.migration import MigrationKind, MigrationOptions


def merged(
    kind: MigrationKind,
    for_all: MoveOptions,
    own: MoveOptions | None = None,
    *,
    auto_start: bool = False,
) -> MigrationOptions:
    """Give the options of one move. Those that its kind does not have are left out.

    Args:
        kind: of the move; all options but ``auto_start`` are a live one's.
        for_all: of every server of the evacuation.
        own: this server's.
        auto_start: cold and rescue: whether it runs there.

    Raises:
        GodwitError: BAD_REQUEST for a value out of its bounds.
    """
    if kind != "live":
        return MigrationOptions(auto_start=auto_start)
    chosen = _given(for_all) | (_given(own) if own else {})
    options = msgspec.convert(chosen, MigrationOptions)
    check_options("live", options)
    return options


def _given(options: MoveOptions) -> dict[str, object]:
    return {
        name: value for name, value in msgspec.to_builtins(options).items() if value is not None
    }
