"""A host that died: what was seen, what was started elsewhere, what was not and why."""

from enum import StrEnum

import msgspec

from wire.fleet import HostPolicy, RescuePriority
from wire.life import Fence, HealthValue
from wire.migration import Note


class IncidentState(StrEnum):
    """How far the case of one lost host is."""

    PROVING = "proving"
    """The health key is gone, and the host may still run its guests: time will tell."""
    HELD = "held"
    """Nothing is done by itself until a person acts or the host is back, whether it is dead
    (``dead_at_ms``) or nobody knows that: ``held_reason`` says why."""
    RESCUING = "rescuing"
    """Its servers are being started elsewhere; those that fit nowhere yet are tried again."""
    RESCUED = "rescued"
    """Nothing more is to be done; the host is still away."""
    ENDED = "ended"
    """The host is back, or was removed, as ``held_reason`` says then."""


class RescueState(StrEnum):
    """What became of one server of a lost host."""

    WAITING = "waiting"
    """Its turn comes, or no host has room for it now: ``reason`` says which."""
    STARTING = "starting"
    RESCUED = "rescued"
    SKIPPED = "skipped"
    """It stays where it is, and starts when its host is back if it ran: ``reason`` says why."""
    FAILED = "failed"
    """Given up after its tries: ``reason`` is the last error."""
    RETURNED = "returned"
    """Its host came back before it was started elsewhere."""

    @property
    def open(self) -> bool:
        """Whether something is still to come of it."""
        return self in {RescueState.WAITING, RescueState.STARTING}


class IncidentServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server that the lost host owned."""

    server_id: str
    server_name: str
    state: RescueState
    priority: RescuePriority = RescuePriority.MEDIUM
    reason: str = ""
    """One sentence for every state but ``rescued``."""
    tries: int = 0
    migration_id: str = ""
    """Of the latest try."""
    target_host_name: str = ""
    running_at_ms: int = 0
    """When its new host said that it runs, Unix time in ms; 0 if never."""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Value of ``/godwit/incidents/<incident_id>``: the report of one lost host."""

    incident_id: str
    host_id: str
    host_name: str
    life: HealthValue
    """The host's last life as it wrote it itself."""
    state: IncidentState = IncidentState.PROVING
    lost_at_ms: int
    """When the backend saw that the health key was gone, Unix time in ms as all below."""
    dead_at_ms: int = 0
    """When the host counted as dead; 0 while it does not."""
    proof: str = ""
    """Why it counts as dead, in one sentence; empty while it does not."""
    declared_off_by: str = ""
    """Who said that the host is switched off; empty if nobody had to."""
    shut_down: bool = False
    """The host had said that it was being shut down in order."""
    held_reason: str = ""
    """What is missing for servers to be started elsewhere, in one sentence."""
    servers: tuple[IncidentServer, ...] = ()
    notes: tuple[Note, ...] = ()
    """What happened and who asked for what, oldest first."""
    first_running_at_ms: int = 0
    last_running_at_ms: int = 0
    ended_at_ms: int = 0

    @property
    def open(self) -> bool:
        """Whether the host is still away."""
        return self.state is not IncidentState.ENDED


class RescueGuard(msgspec.Struct, frozen=True, kw_only=True):
    """Value of ``/godwit/rescue-guard``: whether anything is rescued without being asked."""

    armed: bool = True
    reason: str = ""
    """Why not: ``3 of 5 hosts were lost together``, or what an operator gave."""
    by: str = ""
    """Who changed it last; empty for Godwit itself."""
    at_ms: int = 0


class RescueOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``server-migrate --rescue-mode``: bring a server of a host that is down to another one."""

    prefer_host: str = ""
    """Name or id of the only host to go to; empty lets the scheduler choose."""
    auto_start: bool = False
    """Start it there; without this it is only defined."""
    host_is_off: str = ""
    """Name of its host, typed by the operator who has switched it off; empty to rely on proof."""


class HostPolicyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change about a host; None leaves it as it is."""

    auto_migrate_on_host_down: bool | None = None
    auto_migrate_on_host_shutdown: bool | None = None


class ServerPolicyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change about a server."""

    rescue_priority: RescuePriority


class DeclareOff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operator's word that a host is switched off. Void once its health key is back."""

    host_name: str
    """The host's name, typed once more."""


class Disarm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stop rescues that nobody asks for, until armed again."""

    reason: str = ""


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a host's health."""

    at_ms: int
    """Unix time in ms."""
    text: str
    """One clause: ``late: 3.1 s left of 10``, ``lost``, ``back with epoch 7``."""


class HostHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One host as etcd has it at this moment."""

    host_id: str
    host_name: str
    present: bool
    """Whether the health key is there."""
    left_s: int | None = None
    """Time to live that etcd gives its lease now, in whole seconds; None if it is not there."""
    life: HealthValue
    """The present life, or the last one."""
    late: bool = False
    dead: bool = False
    policy: HostPolicy
    transitions: tuple[Transition, ...] = ()
    """The latest ones since this backend started, oldest first."""

    @property
    def fence(self) -> Fence:
        """What fences the host."""
        return self.life.fence


class EtcdMember(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint of etcd (``Maintenance.Status``)."""

    endpoint: str
    error: str = ""
    """Why it does not answer; empty if it does."""
    version: str = ""
    leader: bool = False
    raft_term: int = 0
    database_bytes: int = 0


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """Every host's health, and etcd's own."""

    at_ms: int
    guard: RescueGuard
    members: tuple[EtcdMember, ...]
    hosts: tuple[HostHealth, ...]
    """By name."""
