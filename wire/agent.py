"""What the backend and a host agent say to each other (API under ``/v1`` of the agent).

| call | body → answer |
|---|---|
| ``GET /v1/snapshot`` | → :class:`AgentSnapshot` |
| ``GET /v1/events`` | → SSE: ``snapshot`` first, then the events below |
| ``GET /v1/servers/{id}`` | → :class:`GuestTruth`, asked of libvirt at that moment |
| ``POST /v1/migrations`` | :class:`MigrateCommand` → :class:`Job` (202) |
| ``GET /v1/migrations/{id}`` | → :class:`JobDetail` |
| ``POST /v1/migrations/{id}/cancel`` | :class:`CancelCommand` → :class:`Job` |
| ``POST /v1/servers/{id}/resume`` | :class:`ResumeCommand` → :class:`GuestTruth` |

Errors are :class:`wire.errors.ErrorBody`. Every call needs a client certificate of the fleet's CA
and ``Authorization: Bearer <agent token>``.
"""

from enum import StrEnum

import msgspec

from wire.fleet import HostFacts, HostMeters, PowerState, ServerFacts
from wire.migration import MigrationOptions, Pass, Sample, Statistics


class JobState(StrEnum):
    """What a migration does on its source host."""

    STARTING = "starting"
    COPYING_DISKS = "copying_disks"
    COPYING_MEMORY = "copying_memory"
    SWITCHING_OVER = "switching_over"
    ENDED = "ended"
    """libvirt's call returned, or after an agent restart: libvirt shows no job any more."""


class MigrateCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Move a running guest away by libvirt peer-to-peer (``virDomainMigrateToURI3``)."""

    migration_id: str
    server_id: str
    generation: int
    target_host_id: str
    target_host_name: str
    target_libvirt_uri: str
    """``qemu+tls://kvm-02/system``."""
    target_address: str
    """Where the memory stream goes: ``tcp://<address>``."""
    options: MigrationOptions


class CancelCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Abort a running job (``virDomainAbortJob``)."""

    server_id: str
    generation: int


class ResumeCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let a paused guest run again (``virDomainResume``)."""

    generation: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A migration on its source host."""

    migration_id: str
    server_id: str
    state: JobState
    cancel_requested: bool = False
    error: str = ""
    """libvirt's text in full, once ended and failed."""
    statistics: Statistics | None = None
    passes: tuple[Pass, ...] = ()


class JobDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A job with every sample since it began (or since the agent re-attached to it)."""

    job: Job
    samples: tuple[Sample, ...] = ()


class GuestTruth(msgspec.Struct, frozen=True, kw_only=True):
    """What this hypervisor knows of a guest, asked now."""

    server_id: str
    state: PowerState
    state_detail: str = ""
    incoming: bool = False
    job_active: bool = False
    """libvirt shows a migration job on it."""
    completed: Statistics | None = None
    """Statistics of the last finished job, if libvirt still has them."""


class AgentSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an agent knows; first event of its stream (event ``snapshot``)."""

    facts: HostFacts
    servers: tuple[ServerFacts, ...]
    jobs: tuple[Job, ...]
    meters: HostMeters | None = None


class ServerGone(msgspec.Struct, frozen=True, kw_only=True):
    """Event ``server_gone``: this hypervisor no longer has the domain."""

    server_id: str


class JobSample(msgspec.Struct, frozen=True, kw_only=True):
    """Event ``sample``: about four a second while a job runs, and one at each pass."""

    migration_id: str
    server_id: str
    sample: Sample


AGENT_EVENTS: dict[str, type[msgspec.Struct]] = {
    "snapshot": AgentSnapshot,
    "facts": HostFacts,
    "meters": HostMeters,
    "server": ServerFacts,
    "server_gone": ServerGone,
    "job": Job,
    "sample": JobSample,
}
"""Event name to payload of the agent's stream."""
