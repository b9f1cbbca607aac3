"""What the backend says to consoles, the command line and scripts (API under ``/v1``).

| call | role | body → answer |
|---|---|---|
| ``GET /v1/status`` | viewer | → :class:`BackendStatus` |
| ``GET /v1/hosts`` | viewer | → list of :class:`wire.fleet.HostView` |
| ``GET /v1/hosts/{name or id}`` | viewer | → :class:`wire.fleet.HostView` |
| ``GET /v1/servers`` | viewer | → list of :class:`wire.fleet.ServerView` |
| ``GET /v1/servers/{name or id}`` | viewer | → :class:`wire.fleet.ServerView` |
| ``GET /v1/servers/{name or id}/candidates`` | viewer | → list of ``wire.candidates.Candidate`` |
| ``POST /v1/servers/{name or id}/live-migrate`` | operator | ``MigrationOptions`` → ``Migration`` |
| ``POST /v1/servers/{name or id}/migrate`` | operator | ``MigrationOptions`` → ``Migration`` |
| ``POST /v1/servers/{name or id}/rescue`` | operator | ``RescueOptions`` → ``Migration`` |
| ``POST /v1/servers/{name or id}/policy`` | operator | ``ServerPolicyChange`` → ``ServerView`` |
| ``POST /v1/hosts/{name or id}/policy`` | operator | ``HostPolicyChange`` → ``HostView`` |
| ``POST /v1/hosts/{name or id}/declare-off`` | operator | ``DeclareOff`` → ``Incident`` |
| ``GET /v1/health`` | viewer | → :class:`wire.rescue.HealthReport`, asked of etcd now |
| ``POST /v1/rescue/arm`` | operator | → :class:`wire.rescue.RescueGuard` |
| ``POST /v1/rescue/disarm`` | operator | ``Disarm`` → :class:`wire.rescue.RescueGuard` |
| ``GET /v1/incidents`` | viewer | → list of :class:`wire.rescue.Incident`, newest first |
| ``GET /v1/incidents/{id}`` | viewer | → :class:`wire.rescue.Incident` |
| ``POST /v1/servers/{name or id}/settle`` | operator | :class:`SettleRequest` → ``ServerView`` |
| ``POST /v1/servers/{name or id}/forget`` | operator | → :class:`ServerRemoved`; no host has it |
| ``GET /v1/migrations`` | viewer | → list of :class:`wire.migration.Migration`, newest first |
| ``GET /v1/migrations/{id}`` | viewer | → :class:`wire.migration.MigrationDetail` |
| ``POST /v1/migrations/{id}/cancel`` | operator | → :class:`wire.migration.Migration` |
| ``POST /v1/migrations/{id}/parameters`` | operator | ``MigrationParameters`` → ``Migration`` |
| ``POST /v1/migrations/{id}/postcopy`` | operator | → :class:`wire.migration.Migration` |
| ``POST /v1/migrations/{id}/recover`` | operator | → :class:`wire.migration.Migration` |
| ``POST /v1/migrations/{id}/remove-kept`` | operator | → :class:`wire.migration.Migration` |
| ``POST /v1/hosts/{name or id}/maintenance`` | operator | → ``HostView`` |
| ``POST /v1/hosts/{name or id}/exit-maintenance`` | operator | → ``HostView`` |
| ``POST /v1/evacuations/plan`` | viewer | ``PlanRequest`` → list of ``Plan``, one for each host |
| ``POST /v1/evacuations`` | operator | ``PlanRequest`` → list of ``Evacuation`` |
| ``POST /v1/hosts/{name or id}/return-plan`` | viewer | ``ReturnRequest`` → ``Plan`` |
| ``POST /v1/hosts/{name or id}/return`` | operator | ``ReturnRequest`` → ``Evacuation`` |
| ``GET /v1/evacuations`` | viewer | → list of ``Evacuation``, newest first |
| ``GET /v1/evacuations/{id}`` | viewer | → ``Evacuation`` |
| ``POST /v1/evacuations/{id}/pause`` | operator | → ``Evacuation`` |
| ``POST /v1/evacuations/{id}/resume`` | operator | → ``Evacuation`` |
| ``POST /v1/evacuations/{id}/cancel`` | operator | ``ServersOf`` → ``Evacuation`` |
| ``POST /v1/evacuations/{id}/retry`` | operator | ``ServersOf`` → ``Evacuation`` |
| ``POST /v1/evacuations/{id}/replan`` | operator | → ``Evacuation`` |
| ``POST /v1/evacuations/{id}/change`` | operator | ``EvacuationChange`` → ``Evacuation`` |
| ``GET /v1/audit`` | viewer | → list of :class:`wire.audit.AuditEntry`, newest first |
| ``GET /v1/events`` | viewer | → SSE, see below |

``candidates`` takes the query parameters ``kind`` (``live``, the default, ``cold`` or ``rescue``),
``skip_cpu_check`` and ``skip_kernel_check``.

The stream begins with ``snapshot``, unless ``Last-Event-ID`` names an event that the backend still
holds: then it goes on right after it. Every event has an id ``<backend start>-<number>``; comment
lines come each 2 s so that a dead link is noticed. Every call needs a client certificate of the
fleet's CA and ``Authorization: Bearer <token>``. Errors are :class:`wire.errors.ErrorBody`.
"""

import msgspec

from wire.audit import AuditEntry
from wire.evacuation import Evacuation
from wire.fleet import HostView, ServerView
from wire.migration import Migration, Sample
from wire.rescue import Incident, RescueGuard
from wire.role import Role


class SettleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Leave exactly one copy of a server that a failed migration left double, halted or nowhere.

    The copy on ``keep_host`` stays, and is let run again if the migration paused it; one that is
    off stays so until a person starts it. Every other one is ended. If no host has the server, it
    is defined on ``keep_host`` from the definition that etcd keeps, and stays stopped.
    """

    keep_host: str
    """Name or id."""


class FailingDuty(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the leading backend does all the time, and that lately failed, or in part."""

    name: str
    """``migrations``, ``rescues``, ``departures``, ``evacuations``, ``leftovers`` or ``audit``."""
    failures: int
    """How often since then; a part that goes on failing counts once in ten seconds."""
    since_ms: int
    """When it failed first, Unix time in ms."""
    reason: str
    """Of the latest failure, in one line."""


class BackendStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Event ``status`` and answer of ``GET /v1/status``."""

    version: str
    role: Role
    """Of the token that asks."""
    token_name: str
    etcd_ok: bool
    etcd_error: str = ""
    """One sentence when etcd does not answer."""
    leading: bool = True
    """Whether this backend drives migrations; another one refuses to act."""
    rescue_guard: RescueGuard = RescueGuard()
    """Whether servers of dead hosts are started elsewhere without being asked."""
    failing_duties: tuple[FailingDuty, ...] = ()
    """What does not get done by this backend; by name."""


class FleetSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Event ``snapshot``: replaces all that the console knew."""

    status: BackendStatus
    hosts: tuple[HostView, ...]
    servers: tuple[ServerView, ...]
    migrations: tuple[Migration, ...]
    """Those under way and the latest ended ones, newest first."""
    incidents: tuple[Incident, ...] = ()
    """Those that are open and the latest ended ones, newest first."""
    evacuations: tuple[Evacuation, ...] = ()
    """Those that are open and the latest ended ones, newest first."""


class HostGone(msgspec.Struct, frozen=True, kw_only=True):
    """Event ``host_gone``."""

    host_id: str


class ServerRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """Event ``server_gone``, and the answer to one that was forgotten."""

    server_id: str


class MigrationSample(msgspec.Struct, frozen=True, kw_only=True):
    """Event ``sample``."""

    migration_id: str
    sample: Sample


CONSOLE_EVENTS: dict[str, type[msgspec.Struct]] = {
    "snapshot": FleetSnapshot,
    "status": BackendStatus,
    "host": HostView,
    "host_gone": HostGone,
    "server": ServerView,
    "server_gone": ServerRemoved,
    "migration": Migration,
    "incident": Incident,
    "evacuation": Evacuation,
    "audit": AuditEntry,
    "sample": MigrationSample,
}
"""Event name to payload of the backend's stream."""
