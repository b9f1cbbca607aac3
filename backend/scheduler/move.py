"""What a filter looks at: the server that should move, and one host that it might go to."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from wire.agent import CpuComparison
from wire.fleet import HostFacts, HostMeters, HostPolicy, HostStatus, ServerFacts, ServerStatus
from wire.migration import MigrationKind


class Skips(msgspec.Struct, frozen=True, kw_only=True):
    """Checks that the operator lifted."""

    cpu: bool = False
    """``--skip-cpu-check``."""
    kernel: bool = False
    """``--skip-kernel-check``."""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A server that should move, as its host reports it."""

    server: ServerFacts
    status: ServerStatus
    status_reason: str = ""
    source: HostFacts
    kind: MigrationKind = "live"
    auto_start: bool = False
    skips: Skips = Skips()


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """A host as a target: what it is, whether it answers, and what is on its way to it."""

    facts: HostFacts
    status: HostStatus
    status_reason: str = ""
    shutting_down: bool = False
    policy: HostPolicy = HostPolicy()
    meters: HostMeters | None = None
    server_count: int = 0
    incoming_bytes: int = 0
    """Memory of the servers that are moving here now and will run."""
    incoming_moves: int = 0
    incoming_pool_bytes: Mapping[str, int] = {}
    """Name of a local pool to the full sizes of the disks that are moving into it now."""
    cpu: CpuComparison | None = None
    """What libvirt there says of this guest's CPU; None if it was not asked, or did not answer."""
    cpu_silence: str = ""
    """Why it did not answer; empty if it was not asked."""

    @property
    def free_bytes(self) -> int | None:
        """Memory neither used nor promised to a move under way; None until the host reports."""
        if self.meters is None:
            return None
        free = self.facts.memory_total_bytes - self.meters.memory_used_bytes - self.incoming_bytes
        return max(0, free)


class Filter(Protocol):
    """One rule of placement."""

    @property
    def name(self) -> str:
        """The rule's name in verdicts."""

    def refusal(self, move: Move, host: HostState) -> str:
        """Say why not, with both values; empty when the host passes."""

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """Say what is wanted and what this host has; both empty if nothing is compared."""


class Weigher(Protocol):
    """One preference among the hosts that pass."""

    def weight(self, move: Move, host: HostState) -> float:
        """Say how good a target this is; higher is better."""
