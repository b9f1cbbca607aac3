"""What operators want otherwise about single servers: checked, and summed up by server."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from backend.fleet.known import Fleet
from backend.fleet.names import find_host, find_server
from wire.errors import bad_request
from wire.evacuation import EvacuationKind, MoveOptions, PlanEdit, Way
from wire.fleet import HostFacts, ServerRecord


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """All that an operator said of one server."""

    target_host_id: str = ""
    """The only host to go to; empty lets the plan choose."""
    way: Way | None = None
    first: bool = False
    options: MoveOptions = MoveOptions()


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What edits may name."""

    kind: EvacuationKind
    hosts: tuple[HostFacts, ...]
    """That are emptied together, or the one that servers return to."""
    records: Mapping[str, ServerRecord]
    """server_id → the servers that are planned."""


def wishes(
    fleet: Fleet,
    scope: Scope,
    edits: Iterable[PlanEdit],
    known: Mapping[str, Wish] | None = None,
) -> dict[str, Wish]:
    """Sum up edits by server; a later one holds where both say something.

    Args:
        fleet: hosts and servers by name.
        scope: what is planned.
        edits: what is wanted, the oldest first.
        known: wishes from before, by server id.

    Raises:
        GodwitError: NOT_FOUND, AMBIGUOUS or BAD_REQUEST: who or where is meant makes no sense.
    """
    found = dict(known or {})
    for edit in edits:
        record = _server(fleet, scope, edit.server)
        before = found.get(record.server_id, Wish())
        found[record.server_id] = _with(before, edit, _target(fleet, scope, record, edit.target))
    return found


def over(options: MoveOptions, later: MoveOptions | None) -> MoveOptions:
    """Both as one: what the later says holds."""
    if later is None:
        return options
    said = {name: getattr(later, name) for name in later.__struct_fields__}
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(options, **given)


def _with(before: Wish, edit: PlanEdit, target_host_id: str | None) -> Wish:
    return Wish(
        target_host_id=before.target_host_id if target_host_id is None else target_host_id,
        way=edit.way or before.way,
        first=before.first if edit.first is None else edit.first,
        options=over(before.options, edit.options),
    )


def _server(fleet: Fleet, scope: Scope, name_or_id: str) -> ServerRecord:
    """A planned server; names that others bear too are no matter."""
    named = [one for one in scope.records.values() if name_or_id in {one.server_id, one.name}]
    if len(named) == 1:
        return named[0]
    record = find_server(fleet, name_or_id)
    if record.server_id in scope.records:
        return record
    owner = fleet.facts.get(record.owner.host_id)
    where = owner.name if owner else record.owner.host_id
    if scope.kind is EvacuationKind.RETURN:
        raise bad_request(
            f"{record.name} is on {where} and did not leave {_names(scope.hosts)} in an "
            "evacuation, so it is not in this plan"
        )
    raise bad_request(f"{record.name} is on {where}, and the plan is for {_names(scope.hosts)}")


def _target(fleet: Fleet, scope: Scope, record: ServerRecord, name_or_id: str | None) -> str | None:
    if not name_or_id:
        return name_or_id
    target = find_host(fleet, name_or_id)
    ids = {one.host_id for one in scope.hosts}
    if scope.kind is EvacuationKind.RETURN:
        if target.host_id not in ids:
            raise bad_request(
                f"{record.name} cannot go to {target.name}: a return goes to "
                f"{_names(scope.hosts)} alone"
            )
        return ""
    if target.host_id == record.owner.host_id:
        raise bad_request(
            f"{record.name} is on {target.name} already; name another host as its target"
        )
    if target.host_id in ids:
        raise bad_request(
            f"{record.name} cannot go to {target.name}, which is emptied together with "
            f"{_names(one for one in scope.hosts if one.host_id != target.host_id)}"
        )
    return target.host_id


def _names(hosts: Iterable[HostFacts] | Collection[HostFacts]) -> str:
    return ", ".join(one.name for one in hosts)
