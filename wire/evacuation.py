"""Emptying a host: the plan before it, its course, and the report after it.

An evacuation is a list of moves with a reason for everything that does not move. Its record holds
what was planned and how each move ended; what is under way is in the records of its migrations.
"""

from enum import StrEnum

import msgspec

from wire.forecast import Forecast, LinkRate
from wire.migration import MigrationOptions, Note


class EvacuationKind(StrEnum):
    """What is emptied or filled."""

    EVACUATE = "evacuate"
    """Every server of a host that lives leaves it."""
    RESCUE = "rescue"
    """Every server of a host that is dead is started elsewhere, within the rules of fencing."""
    RETURN = "return"
    """What left a host comes back to it."""


class Way(StrEnum):
    """How one server leaves."""

    LIVE = "live"
    COLD = "cold"
    RESCUE = "rescue"
    STAYS = "stays"
    """It does not: ``why`` says the reason."""


class MoveOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one server's move; of those of all servers, None takes what holds for all."""

    enable_tls: bool | None = None
    quickly_finish: bool | None = None
    skip_cpu_check: bool | None = None
    skip_kernel_check: bool | None = None
    downtime_limit_ms: int | None = None
    downtime_bound_ms: int | None = None


class PlanEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator wants otherwise about one server; None leaves it to the plan."""

    server: str
    """Name or id."""
    target: str | None = None
    """Name or id of the only host to go to; empty takes such a wish back."""
    way: Way | None = None
    """``live`` for one that is on, ``cold`` for a stopped one, ``stays`` to leave it."""
    first: bool | None = None
    """It goes before those that nobody put first."""
    options: MoveOptions | None = None


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which hosts to empty, and how. Body of ``plan`` and of the start alike."""

    hosts: tuple[str, ...]
    """Names or ids, at most 60, planned together: none of them is a target of another."""
    options: MoveOptions = MoveOptions()
    """For every server that has none of its own; None is the command's default."""
    max_bandwidth_bytes_per_s: int | None = None
    """Cap on all that leaves each of the hosts; None for no cap."""
    keep_spare: bool = False
    """Targets keep room for the servers of any one more host that may die."""
    empty_by_ms: int = 0
    """When they have to be empty, Unix time in ms; 0 for no deadline."""
    edits: tuple[PlanEdit, ...] = ()
    confirmed: tuple[str, ...] = ()
    """Of the start: the hosts' names, typed once more. Not looked at by ``plan``."""


class ReturnRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bring back to a host what left it. Body of ``return-plan`` and of ``return``."""

    options: MoveOptions = MoveOptions()
    max_bandwidth_bytes_per_s: int | None = None
    edits: tuple[PlanEdit, ...] = ()


class PlannedMove(msgspec.Struct, frozen=True, kw_only=True):
    """What is planned for one server."""

    server_id: str
    server_name: str
    way: Way
    source_host_id: str
    source_host_name: str
    target_host_id: str = ""
    """Empty for one that stays."""
    target_host_name: str = ""
    options: MigrationOptions = MigrationOptions()
    forecast: Forecast | None = None
    """None for one that stays, is stopped and moves only its definition, or is rescued."""
    why: str = ""
    """Why it stays; of another one what an operator should know: why it goes alone, what its target
    risks. One sentence."""
    pinned: bool = False
    """An operator chose the target: no other one will do."""
    first: bool = False
    chosen_way: bool = False
    """An operator chose the way."""
    starts_in_s: int = 0
    """From the plan's start, as reckoned."""
    ends_in_s: int = 0
    memory_bytes: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One host's plan. Moves are in the order in which they begin; those that stay come last."""

    kind: EvacuationKind
    host_id: str
    host_name: str
    moves: tuple[PlannedMove, ...]
    made_at_ms: int
    finish_in_s: int = 0
    """When the last move ends, as reckoned; with the band of all of them."""
    finish_low_s: int = 0
    finish_high_s: int = 0
    sent_bytes: int = 0
    link: LinkRate | None = None
    """Out of the host, or into it for a return; None if nobody knows."""
    refusals: tuple[str, ...] = ()
    """Why nothing can be started as it is, in one sentence each: the host is being emptied."""
    warnings: tuple[str, ...] = ()
    """What blocks a part of it or should be known, in one sentence each."""
    deadline: str = ""
    """Whether ``empty_by_ms`` can be kept, and which lever would make it; empty without one."""
    meets_deadline: bool = True


class MoveState(StrEnum):
    """How far one server is."""

    WAITING = "waiting"
    """``reason`` says what for."""
    MOVING = "moving"
    LEFT = "left"
    """It is where it was to go, or at least no longer here: ``reason`` says so then."""
    STAYED = "stayed"
    """By the plan or an operator's wish."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def open(self) -> bool:
        """Whether something is still to come of it."""
        return self in {MoveState.WAITING, MoveState.MOVING}


class EvacuatedServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server of an evacuation: its plan as it stands, and what became of it."""

    plan: PlannedMove
    state: MoveState
    reason: str = ""
    """What it waits for, why it stayed or failed, in one sentence."""
    tries: int = 0
    migration_id: str = ""
    """Of the latest try."""
    started_at_ms: int = 0
    """Of the latest try, Unix time in ms; 0 if never."""
    ended_at_ms: int = 0
    downtime_ms: int | None = None
    """The real pause."""
    sent_bytes: int = 0
    """Of all tries."""
    forecast: Forecast | None = None
    """The one that it began with, to be held against what came."""
    returned: bool = False
    """It is on the host again that it left, or was since: brought back, or moved by hand."""


class EvacuationState(StrEnum):
    """What an evacuation does."""

    RUNNING = "running"
    PAUSED = "paused"
    """Nothing new begins; what moves goes on to its end."""
    CANCELLING = "cancelling"
    """Nothing new begins, and what moves is being cancelled."""
    ENDED = "ended"
    """Nothing is open any more. Retrying makes it run again."""


class Evacuation(msgspec.Struct, frozen=True, kw_only=True):
    """Value of ``/godwit/evacuations/<evacuation_id>``, and what the API shows."""

    evacuation_id: str
    kind: EvacuationKind
    host_id: str
    host_name: str
    state: EvacuationState = EvacuationState.RUNNING
    servers: tuple[EvacuatedServer, ...] = ()
    """In the order in which they begin."""
    options: MoveOptions = MoveOptions()
    max_bandwidth_bytes_per_s: int | None = None
    keep_spare: bool = False
    empty_by_ms: int = 0
    requested_by: str = ""
    created_at_ms: int = 0
    ended_at_ms: int = 0
    notes: tuple[Note, ...] = ()
    """Who steered it how, and what was planned anew, oldest first."""
    planned_finish_s: int = 0
    """What its first plan said, to be held against what came."""
    finish_at_ms: int = 0
    """When it will be done as reckoned now, with the band; 0 if nobody can say. Filled in answers
    of the API and in events, never stored; so are all below."""
    finish_low_ms: int = 0
    finish_high_ms: int = 0
    link: LinkRate | None = None
    sending_bytes_per_s: int = 0
    """What its moves send together now."""
    deadline: str = ""
    meets_deadline: bool = True

    @property
    def open(self) -> bool:
        """Whether it holds its host."""
        return self.state is not EvacuationState.ENDED


class EvacuationChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change an evacuation under way; None leaves it as it is."""

    max_bandwidth_bytes_per_s: int | None = None
    no_bandwidth_limit: bool = False
    """Take the cap away; not together with another one."""
    empty_by_ms: int | None = None
    """0 takes the deadline away."""
    edits: tuple[PlanEdit, ...] = ()


class ServersOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which servers of an evacuation are meant; none for all."""

    servers: tuple[str, ...] = ()
    """Names or ids."""
