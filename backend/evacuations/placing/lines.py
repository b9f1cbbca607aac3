"""How each server can leave: by its state, or why it stays before any host is looked at."""

from collections.abc import Collection, Mapping

import msgspec

from backend.evacuations.placing.alike import bound
from backend.evacuations.placing.options import merged
from backend.evacuations.placing.ways import KINDS, runs_there
from backend.evacuations.placing.wishes import Wish
from backend.fleet.known import Fleet
from backend.fleet.server_view import owner_report, standing
from backend.fleet.targets import move_of
from backend.migrations.choice import skips_of
from backend.rescue.definition import Definition
from backend.rescue.placing import facts_of
from backend.rescue.sorting import obstacle, unwanted
from backend.scheduler.move import HostState, Move
from backend.scheduler.state import MOVES_COLD, MOVES_LIVE, cannot_move
from wire.errors import bad_request
from wire.evacuation import EvacuationKind, MoveOptions, PlannedMove, Way
from wire.fleet import (
    HostFacts,
    HostStatus,
    OwnerPhase,
    PowerState,
    ServerRecord,
    ServerStatus,
)
from wire.migration import MigrationKind, MigrationOptions

WISHED = "an operator wants it to stay"
_ON_ITS_WAY = {ServerStatus.START_MIGRATE, ServerStatus.MIGRATING, ServerStatus.LIVE_MIGRATING}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One server before it has a target."""

    record: ServerRecord
    source: HostFacts
    way: Way
    wish: Wish = Wish()
    options: MigrationOptions = MigrationOptions()
    move: Move | None = None
    """What the filters look at; None for one that stays, or has no target yet since it moves."""
    why: str = ""
    """Why it stays, or has no target yet."""
    avoid: frozenset[str] = frozenset()
    """Ids of hosts that its move failed for already: taken only where there is no other one."""
    only_target_id: str = ""
    """Where it goes back to, in a return; empty if any host will do."""

    @property
    def kind(self) -> MigrationKind:
        """The kind of its migration; not for one that stays."""
        return KINDS[self.way]

    @property
    def size_bytes(self) -> int:
        """Memory that it takes on its target once it is there; 0 for one that is not on then."""
        return self.record.memory_bytes if runs_there(self.way, self.options) else 0

    def planned(self) -> PlannedMove:
        """The same as a plan's line, without a target."""
        return PlannedMove(
            server_id=self.record.server_id,
            server_name=self.record.name,
            way=self.way,
            source_host_id=self.source.host_id,
            source_host_name=self.source.name,
            options=msgspec.structs.replace(self.options, prefer_host=self.wish.target_host_id),
            why=self.why,
            pinned=bool(self.wish.target_host_id),
            first=self.wish.first,
            chosen_way=self.wish.way is not None,
            memory_bytes=self.record.memory_bytes,
        )


def line_of(
    fleet: Fleet,
    record: ServerRecord,
    *,
    kind: EvacuationKind,
    wish: Wish,
    for_all: MoveOptions,
    definitions: Mapping[str, Definition],
    avoid: Collection[str] = (),
) -> Line | None:
    """Say how one server leaves; None if nobody knows the host that it is on.

    Args:
        fleet: all that is known.
        record: the server.
        kind: of the evacuation.
        wish: what an operator said of it.
        for_all: options of all servers.
        definitions: of a dead host's servers, by server id.
        avoid: ids of hosts that its move failed for already.

    Raises:
        GodwitError: BAD_REQUEST for a way that its state does not allow, or an option out of its
            bounds.
    """
    source = fleet.facts.get(record.owner.host_id)
    if source is None:
        return None
    line = Line(record=record, source=source, way=Way.STAYS, wish=wish, avoid=frozenset(avoid))
    if kind is EvacuationKind.RESCUE:
        return _of_dead(line, definitions.get(record.server_id), for_all)
    return _of_living(fleet, line, for_all)


def _of_living(fleet: Fleet, line: Line, for_all: MoveOptions) -> Line:
    record, wish = line.record, line.wish
    now = standing(fleet, record)
    way = Way.LIVE if now.status in MOVES_LIVE else Way.COLD
    if wish.way is Way.RESCUE:
        raise bad_request(
            f"way of {record.name} is rescue, and {line.source.name} is not dead: it can be live, "
            "cold or stays"
        )
    if wish.way not in {None, Way.STAYS, way} and now.status in MOVES_LIVE | MOVES_COLD:
        raise bad_request(cannot_move(record.name, now.status, str(wish.way)))
    # one that fell with its host, or is about to be started there, is off only until then
    starts = way is Way.COLD and record.runs_again
    options = merged(KINDS[way], for_all, wish.options, auto_start=starts)
    line = msgspec.structs.replace(line, options=options)
    if record.owner.phase is OwnerPhase.LOST:
        return _staying(
            line,
            f"it is lost: no host has it; godwit server-settle --keep-host HOST {record.name} "
            "defines it again",
        )
    move = move_of(
        fleet, record, kind=KINDS[way], auto_start=options.auto_start, skips=skips_of(options)
    )
    if wish.way is Way.STAYS:
        tied = bound(move, HostState(facts=line.source, status=HostStatus.ONLINE)) if move else ""
        return _staying(line, f"{WISHED}, and it could not leave: {tied}" if tied else WISHED)
    if now.status in _ON_ITS_WAY or record.owner.phase is OwnerPhase.MIGRATING:
        moves = f"it already migrates {now.reason}".rstrip()
        why = f"{moves} (migration {record.owner.migration_id}), which has to end first"
        report = owner_report(fleet, record)
        off = report is not None and report.state is PowerState.SHUT_OFF
        return msgspec.structs.replace(line, way=Way.COLD if off else Way.LIVE, why=why)
    if move is None or now.status not in MOVES_LIVE | MOVES_COLD:
        because = f": {now.reason}" if now.reason else ""
        return _staying(line, f"its state is {now.status}{because}")
    return msgspec.structs.replace(line, way=way, move=move)


def _of_dead(line: Line, definition: Definition | None, for_all: MoveOptions) -> Line:
    record, wish = line.record, line.wish
    if wish.way in {Way.LIVE, Way.COLD}:
        raise bad_request(
            f"way of {record.name} is {wish.way}, and {line.source.name} is dead: it can be rescue "
            "or stays"
        )
    merged("live", for_all, wish.options)
    options = MigrationOptions(auto_start=record.runs_again)
    if wish.way is Way.STAYS:
        return _staying(line, WISHED)
    if record.owner.phase is OwnerPhase.MIGRATING:
        return _staying(line, f"migration {record.owner.migration_id} holds it and ends first")
    because = obstacle(record, definition, line.source.name)
    if not because and record.suspended and wish.way is None:
        because = unwanted(record)
    if because or definition is None:
        return _staying(line, because or "its definition was not read yet")
    move = Move(
        server=facts_of(record, definition),
        status=ServerStatus.UNKNOWN,
        source=line.source,
        kind="rescue",
        auto_start=options.auto_start,
    )
    return msgspec.structs.replace(line, way=Way.RESCUE, options=options, move=move)


def _staying(line: Line, why: str) -> Line:
    return msgspec.structs.replace(line, why=why)
