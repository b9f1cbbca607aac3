"""One migration: its states, its options, what is measured, and the record that stays."""

from enum import StrEnum
from typing import Literal

import msgspec

from wire.forecast import Forecast

DOWNTIME_BOUND_MS = 3_000
"""What ``quickly_finish`` may raise the pause to, unless told otherwise; oVirt stops at 5,000."""


MigrationKind = Literal["live", "cold", "rescue"]
"""A rescue starts a server anew, from its definition and shared disks, when its host is dead."""


class MigrationState(StrEnum):
    """States in their order; the last three are ends."""

    QUEUED = "queued"
    SCHEDULING = "scheduling"
    PREPARING = "preparing"
    COPYING_DISKS = "copying_disks"
    COPYING_MEMORY = "copying_memory"
    SWITCHING_OVER = "switching_over"
    COMPLETING = "completing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in {
            MigrationState.SUCCEEDED,
            MigrationState.FAILED,
            MigrationState.CANCELLED,
        }

    @property
    def rank(self) -> int:
        """Position in the order above; progress never goes to a lower one."""
        return list(MigrationState).index(self)


class MigrationOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator asked for. Those of the other kind of migration are refused."""

    prefer_host: str = ""
    """Name or id of the only host to go to; empty lets the scheduler choose."""
    max_bandwidth_bytes_per_s: int | None = None
    """Cap on all that is sent, memory and disks together; None for no cap."""
    auto_start: bool = False
    """Cold and rescue: start the server once it has arrived."""
    skip_cpu_check: bool = False
    """Live: let through hosts of another CPU model or microcode, or that lack CPU features."""
    skip_kernel_check: bool = False
    """Live: let through hosts of another kernel."""
    enable_tls: bool = False
    """Live: encrypt memory and disk streams, each side proving its certificate."""
    quickly_finish: bool = False
    """Live: after a few passes raise the downtime limit to what the pass at hand needs."""
    downtime_limit_ms: int = 300
    """Live: longest pause at switch-over that QEMU may plan; 300 is QEMU's and climc's default."""
    downtime_bound_ms: int = DOWNTIME_BOUND_MS
    """Live: ``quickly_finish`` never raises the limit above this."""
    keep_dest_guest_on_failed: bool = False
    """Live: keep what a failed migration left on the target, for whoever looks into it."""


class MigrationParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be changed in a migration under way; None leaves it as it is."""

    max_bandwidth_bytes_per_s: int | None = None
    no_bandwidth_limit: bool = False
    """Take the cap away; not together with another one."""
    downtime_limit_ms: int | None = None

    def then(self, later: "MigrationParameters") -> "MigrationParameters":
        """Both changes as one: the later holds where both change the same."""
        caps = later.no_bandwidth_limit or later.max_bandwidth_bytes_per_s is not None
        of_cap, limit_ms = later if caps else self, later.downtime_limit_ms
        return MigrationParameters(
            max_bandwidth_bytes_per_s=of_cap.max_bandwidth_bytes_per_s,
            no_bandwidth_limit=of_cap.no_bandwidth_limit,
            downtime_limit_ms=self.downtime_limit_ms if limit_ms is None else limit_ms,
        )


class Sample(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Job statistics at one moment (``virDomainGetJobStats`` of a running job).

    A cold migration has no passes and no memory: only its disk fields say something.
    """

    elapsed_ms: int
    """Since the job began, by libvirt's clock on the source."""
    pass_number: int
    """1 for the first walk through all of memory (``memory_iteration`` less its origin); 0 while
    only disks are copied."""
    memory_total_bytes: int
    memory_processed_bytes: int
    memory_remaining_bytes: int
    bandwidth_bytes_per_s: int
    """``memory_bps``: what the link carries now."""
    dirty_bytes_per_s: int
    """``memory_dirty_rate`` x page size; 0 in the first pass, when nobody knows it."""
    expected_downtime_ms: int
    downtime_limit_ms: int
    throttle_percent: int
    """How much auto-converge holds the guest's CPUs back, 0 to 99."""
    postcopy: bool = False
    disk_total_bytes: int = 0
    """All disks that are copied; of a cold migration without their holes, of a live one with them:
    QEMU does not tell them apart."""
    disk_remaining_bytes: int = 0
    disk_bandwidth_bytes_per_s: int = 0


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """One walk through the pages that were dirty when it began."""

    number: int
    started_ms: int
    """Since the job began."""
    duration_ms: int
    remaining_at_start_bytes: int
    transferred_bytes: int
    dirty_bytes_per_s: int
    """Rate at which the guest dirtied pages during the pass before."""
    bandwidth_bytes_per_s: int
    throttle_percent: int


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was decided or happened during a migration."""

    at_ms: int
    """Unix time in ms."""
    text: str
    """One clause: ``downtime limit raised from 300 to 812 ms``."""
    by: str = ""
    """Who asked for it; empty for Godwit itself."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One file that a failed migration left on its target because that was asked for."""

    kind: Literal["definition", "disk", "log", "job"]
    path: str
    """On the target."""
    size_bytes: int


class PostcopyState(StrEnum):
    """Whether a live migration has switched to post-copy."""

    NOT = "not"
    ASKED = "asked"
    ACTIVE = "active"
    """The guest runs on the target and fetches its memory; neither host may fail now."""
    PAUSED = "paused"
    """The link broke: the guest stands still on the target until it is recovered."""


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a finished job (``virDomainGetJobStats`` with ``COMPLETED``)."""

    total_ms: int = 0
    downtime_ms: int | None = None
    """The real pause; None when neither host could tell any more."""
    setup_ms: int = 0
    memory_total_bytes: int = 0
    memory_transferred_bytes: int = 0
    memory_bandwidth_bytes_per_s: int = 0
    disk_transferred_bytes: int = 0
    """Of a live migration what QEMU's mirrors are through with (``disk_processed``): holes and
    zeros count at their full size, although next to nothing of them crosses the wire, and QEMU does
    not tell what does. Of a cold one what crossed it."""
    pass_count: int = 0
    throttle_max_percent: int = 0


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """Value of ``/godwit/migrations/<migration_id>``, and what the API shows."""

    migration_id: str
    kind: MigrationKind = "live"
    server_id: str
    server_name: str
    source_host_id: str
    source_host_name: str
    target_host_id: str = ""
    """Empty until scheduled."""
    target_host_name: str = ""
    state: MigrationState = MigrationState.QUEUED
    options: MigrationOptions = MigrationOptions()
    generation: int = 0
    """The server's owner generation when it began; commands to agents carry it."""
    paused: bool = False
    """The guest was paused (suspend) when it began, and nobody lets it run on its account."""
    source_paths: tuple[str, ...] = ()
    """Files on the source that only this server uses: deleted there once it has moved."""
    requested_by: str = ""
    """Name of the token that asked."""
    created_at_ms: int = 0
    """Unix time in ms, as the two below; 0 means not yet."""
    started_at_ms: int = 0
    finished_at_ms: int = 0
    cancel_requested_by: str = ""
    passes: tuple[Pass, ...] = ()
    statistics: Statistics = Statistics()
    error: str = ""
    """libvirt's or QEMU's own text in full, or the scheduler's."""
    advice: str = ""
    """What to do about the error, in one sentence."""
    outcome: str = ""
    """Where the guest is now, in one sentence: ``web-1 runs on kvm-02``."""
    stalled_reason: str = ""
    """Why nothing is heard of it now: ``kvm-01 does not answer, last heard 18 s ago``. Figures are
    old then. Filled in answers of the API and in events, never stored."""
    incident_id: str = ""
    """Rescue: the incident of the host that died."""
    evacuation_id: str = ""
    """The evacuation that it belongs to; empty for one that was asked for by itself."""
    risk: str = ""
    """What the skipped checks risk on this target, in one sentence; empty if nothing."""
    safe: str = ""
    """Why it is safe although skipped checks would have refused this target."""
    parameters: MigrationParameters = MigrationParameters()
    """What was changed while it ran; None where the options still hold."""
    postcopy: PostcopyState = PostcopyState.NOT
    recovery_requested_by: str = ""
    """Who wants a post-copy that broke off to go on; empty once it does."""
    notes: tuple[Note, ...] = ()
    """What was decided and what happened, oldest first."""
    forecast: Forecast | None = None
    """What it was expected to take when its target was chosen; None if nobody could say. Its
    ``total_ms`` is held against ``created_at_ms`` to ``finished_at_ms``."""
    kept: tuple[Kept, ...] = ()
    """What a failed migration left on the target on request, until it is removed."""

    @property
    def max_bandwidth_bytes_per_s(self) -> int | None:
        """The cap that holds now; None for none."""
        if self.parameters.no_bandwidth_limit:
            return None
        changed = self.parameters.max_bandwidth_bytes_per_s
        return self.options.max_bandwidth_bytes_per_s if changed is None else changed

    @property
    def downtime_limit_ms(self) -> int:
        """The limit that a person set last; ``quickly_finish`` may have raised QEMU's above it."""
        changed = self.parameters.downtime_limit_ms
        return self.options.downtime_limit_ms if changed is None else changed


class MigrationDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A migration with its curve, as long as the backend or the agent remembers it."""

    migration: Migration
    samples: tuple[Sample, ...] = ()
