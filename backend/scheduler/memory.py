"""Memory on the target: what the guest needs there, against what is free."""

from backend.scheduler.move import HostState, Move

_MIB = 1 << 20


class Memory:
    """The guest has room: in free memory if it will run there, else in the host's whole memory."""

    name = "memory"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        needed, there = move.server.memory_bytes, host.facts.name
        if not _will_run(move):
            total = host.facts.memory_total_bytes
            if needed <= total:
                return ""
            return f"{move.server.name} needs {_mib(needed)} of memory, {there} has {_mib(total)}"
        free = host.free_bytes
        if free is None:
            return f"{there} has not yet said how much of its memory is free"
        if needed <= free:
            return ""
        promised = (
            f" ({_mib(host.incoming_bytes)} of it promised to servers on their way)"
            if host.incoming_bytes
            else ""
        )
        return (
            f"{move.server.name} needs {_mib(needed)} of memory, "
            f"{there} has {_mib(free)} free{promised}"
        )

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        needed = _mib(move.server.memory_bytes)
        if not _will_run(move):
            return needed, _mib(host.facts.memory_total_bytes)
        return needed, "unknown" if host.free_bytes is None else f"{_mib(host.free_bytes)} free"


def _will_run(move: Move) -> bool:
    """A stopped server needs memory only if it is started there."""
    return move.kind == "live" or move.auto_start


def _mib(size_bytes: int) -> str:
    return f"{size_bytes // _MIB} MiB"
