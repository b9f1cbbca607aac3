"""What the backend and a host agent say to each other (API under ``/v1`` of the agent).

| call | body → answer |
|---|---|
| ``GET /v1/snapshot`` | → :class:`AgentSnapshot` |
| ``GET /v1/events`` | → SSE: ``snapshot`` first, then the events below |
| ``GET /v1/servers/{id}`` | → :class:`GuestTruth`, asked of libvirt at that moment |
| ``GET /v1/servers/{id}/storage`` | → :class:`ServerStorage`, definition and files, read now |
| ``POST /v1/cpu-comparison`` | :class:`CpuQuestion` → :class:`CpuComparison` |
| ``POST /v1/servers/{id}/resume`` | :class:`ServerCommand` → :class:`GuestTruth` |
| ``POST /v1/servers/{id}/start`` | :class:`ServerCommand` → :class:`GuestTruth` |
| ``POST /v1/servers/{id}/release`` | :class:`ReleaseCommand` → :class:`GuestTruth` |
| ``POST /v1/servers/{id}/remove`` | :class:`ServerCommand` → :class:`GuestTruth` |
| ``POST /v1/servers/{id}/break-off`` | :class:`BreakOffCommand` → :class:`GuestTruth` |
| ``POST /v1/migrations`` | :class:`MigrateCommand` → :class:`Job` (202), on the source |
| ``POST /v1/pulls`` | :class:`PullCommand` → :class:`Job` (202), on the target |
| ``GET /v1/migrations/{id}`` | → :class:`JobDetail`, of either |
| ``POST /v1/migrations/{id}/cancel`` | :class:`JobCommand` → :class:`Job`, of either |
| ``POST /v1/migrations/{id}/parameters`` | :class:`ParametersCommand` → :class:`Job`, of either |
| ``POST /v1/migrations/{id}/postcopy`` | :class:`JobCommand` → :class:`Job` |
| ``POST /v1/migrations/{id}/recover`` | :class:`JobCommand` → :class:`Job` |
| ``POST /v1/incoming`` | :class:`PrepareCommand` → :class:`Incoming`, on the target |
| ``POST /v1/incoming/{id}/define`` | :class:`DefineCommand` → :class:`GuestTruth` |
| ``POST /v1/incoming/{id}/complete`` | → 204 |
| ``POST /v1/incoming/{id}/discard`` | :class:`DiscardCommand` → :class:`Discarded` |
| ``POST /v1/incoming/{id}/remove-kept`` | → 204 |
| ``GET /v1/leftovers/{id}`` | → :class:`Leftovers`, of either |
| ``POST /v1/exports`` | :class:`ExportCommand` → :class:`Export`, on the source |
| ``GET /v1/exports/{id}`` | → :class:`Export` |
| ``POST /v1/exports/{id}/close`` | → :class:`Export` |

A host that has lost its lease, or has it anew and still ends the guests that it does not own any
more, refuses every ``POST`` with ``NOT_READY``.

``{id}`` of a job, of what is incoming, of leftovers and of an export is the migration's. Every call
that changes something may be repeated. What concerns files is in :mod:`wire.storage`. Errors are
:class:`wire.errors.ErrorBody`. Every call needs a client certificate of the fleet's CA and
``Authorization: Bearer <agent token>``.
"""

from enum import StrEnum

import msgspec

from wire.fleet import HostFacts, HostMeters, PowerState, ServerFacts
from wire.forecast import Dirtying
from wire.migration import (
    MigrationOptions,
    MigrationParameters,
    Note,
    Pass,
    PostcopyState,
    Sample,
    Statistics,
)
from wire.storage import IncomingFile


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
    disks: tuple[IncomingFile, ...] = ()
    """Local disks that are copied with the memory; the target has made room for them."""
    leaves: tuple[str, ...] = ()
    """Files here that only this server uses, and that the target will have too: they may be deleted
    once the server has moved."""
    postcopy: bool = False
    """Both hosts can do post-copy, so that the guest may be switched over to it."""


class JobCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Do what the path says to a job: abort it, switch it to post-copy, recover that."""

    server_id: str
    generation: int


class ParametersCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change a running job. A cap is a total: the agent divides it among memory and disks."""

    server_id: str
    generation: int
    parameters: MigrationParameters


class ServerCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Do what the path says to a server.

    ``resume`` lets a paused guest run again, ``start`` starts a stopped one: only on the host that
    the record names as owner. ``remove`` ends and undefines a copy on a host that is *not* the
    owner; its files stay.
    """

    generation: int


class BreakOffCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have the arrived half of a guest in post-copy let go of its connection to the other half.

    QEMU may hold on for ever to one that a break of the link has killed, and cannot be connected
    again before it lets go.
    """

    generation: int
    source_address: str
    """Where the memory comes from."""


class CpuQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Could this guest run here (``virConnectCompareHypervisorCPU``)?"""

    cpu_xml: str
    architecture: str
    machine: str
    virt_type: str


class CpuComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What libvirt says."""

    compatible: bool
    missing_features: tuple[str, ...] = ()
    error: str = ""
    """libvirt's own text when it is not compatible for another reason."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A live migration on its source host, or the copy of a cold one on its target."""

    migration_id: str
    server_id: str
    state: JobState
    cancel_requested: bool = False
    error: str = ""
    """libvirt's or QEMU's text in full, once ended and failed."""
    resumable: bool = False
    """A copy that was broken off and goes on when it is asked for again."""
    statistics: Statistics | None = None
    passes: tuple[Pass, ...] = ()
    postcopy: PostcopyState = PostcopyState.NOT
    recovering: bool = False
    """libvirt is connecting a post-copy that broke off, or was asked to just now."""
    notes: tuple[Note, ...] = ()
    digests: dict[str, str] = {}
    """Of a copy that is whole: source path to digest, as of :class:`Export`."""


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
    dirtying: tuple[Dirtying, ...] = ()


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
    "dirtying": Dirtying,
}
"""Event name to payload of the agent's stream."""
