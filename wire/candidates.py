"""Where a server could go: what each filter says of each host."""

import msgspec


class FilterVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one filter says of one candidate."""

    filter: str
    """The filter's name: ``online``, ``cpu_model``, ``microcode``..."""
    passed: bool
    reason: str = ""
    """Why not, with both values; of a skipped filter, why it would not have passed."""
    wanted: str = ""
    """What the server or its host has, or what the rule asks for: ``0x42e``."""
    found: str = ""
    """What there is: of the candidate, or of the server where the rule is about that alone."""
    skipped: bool = False
    """Lifted by ``--skip-cpu-check`` or ``--skip-kernel-check``: it refuses nothing."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One host with each filter's verdict, and its rank among those that passed."""

    host_id: str
    host_name: str
    verdicts: tuple[FilterVerdict, ...]
    weight: float = 0.0
    """Higher is better; only meaningful among hosts that passed."""
    risk: str = ""
    """What the skipped filters risk here, in one sentence; empty if nothing."""
    safe: str = ""
    """Why the move is safe although skipped filters would have refused it; empty if none would."""

    @property
    def fits(self) -> bool:
        """Whether every filter lets this host through."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Each failed filter's sentence."""
        return tuple(verdict.reason for verdict in self.verdicts if not verdict.passed)
