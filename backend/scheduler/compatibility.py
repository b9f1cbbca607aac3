"""The strict rule: CPU model, microcode, kernel, architecture and page size are equal."""

from backend.scheduler.move import HostState, Move
from wire.compatibility import differences, value_of


class Equal:
    """One fact is the same on source and target, as :mod:`wire.compatibility` compares it."""

    def __init__(self, field: str) -> None:
        self.name = field

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        for difference in differences(move.source, host.facts):
            if difference.field == self.name:
                here, there = difference.here or "none", difference.there or "none"
                return (
                    f"{difference.label} {here} on {move.source.name}, {there} on {host.facts.name}"
                )
        return ""

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        here, there = value_of(move.source, self.name), value_of(host.facts, self.name)
        return here or "none", there or "none"
