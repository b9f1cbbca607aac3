"""What is wished for before hosts are emptied, or one is filled again: the plan's question."""

import msgspec

from tui.client import Client
from wire.evacuation import (
    Evacuation,
    MoveOptions,
    Plan,
    PlanEdit,
    PlanRequest,
    ReturnRequest,
)
from wire.migration import MigrationOptions


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that nobody has started; each change is a new draft, and a new question."""

    request: PlanRequest
    returning: bool = False
    """What left the one host comes back to it: spare room and a deadline mean nothing then."""

    def edit_of(self, server_id: str) -> PlanEdit:
        """What is wished for one server so far."""
        found = [each for each in self.request.edits if each.server == server_id]
        return found[0] if found else PlanEdit(server=server_id)

    def edited(self, edit: PlanEdit) -> "Draft":
        """Wish for something else about one server, on top of what was wished before."""
        others = [each for each in self.request.edits if each.server != edit.server]
        return self.changed(edits=(*others, then(self.edit_of(edit.server), edit)))

    def changed(self, **fields: object) -> "Draft":
        """Wish for something else about all servers: fields of the request."""
        request = msgspec.structs.replace(self.request, **fields)
        return msgspec.structs.replace(self, request=request)

    async def plans(self, client: Client) -> list[Plan]:
        """Ask the backend, one plan for each host."""
        if self.returning:
            return [await client.return_plan(self.request.hosts[0], self._of_return)]
        return await client.plan(self.request)

    async def start(self, client: Client, confirmed: tuple[str, ...]) -> list[Evacuation]:
        """Begin; the hosts' names were typed."""
        if self.returning:
            return [await client.bring_back(self.request.hosts[0], self._of_return)]
        return await client.evacuate(msgspec.structs.replace(self.request, confirmed=confirmed))

    @property
    def _of_return(self) -> ReturnRequest:
        asked = self.request
        return ReturnRequest(
            options=asked.options,
            max_bandwidth_bytes_per_s=asked.max_bandwidth_bytes_per_s,
            edits=asked.edits,
        )


def then(earlier: PlanEdit, later: PlanEdit) -> PlanEdit:
    """Both wishes as one: the later holds where both say something."""
    return PlanEdit(
        server=later.server,
        target=earlier.target if later.target is None else later.target,
        way=earlier.way if later.way is None else later.way,
        first=earlier.first if later.first is None else later.first,
        options=_options_then(earlier.options, later.options),
    )


def _options_then(earlier: MoveOptions | None, later: MoveOptions | None) -> MoveOptions | None:
    if earlier is None or later is None:
        return later or earlier
    said = {key: value for key, value in msgspec.structs.asdict(later).items() if value is not None}
    return msgspec.structs.replace(earlier, **said)


def with_options(usual: MigrationOptions, wanted: MoveOptions) -> MigrationOptions:
    """Options of a migration in which a wish holds where it says something."""
    said = {k: value for k, value in msgspec.structs.asdict(wanted).items() if value is not None}
    return msgspec.structs.replace(usual, **said)


def deviating(usual: MigrationOptions, chosen: MigrationOptions) -> MoveOptions:
    """The wish for what was chosen otherwise than usual."""
    values = {
        field: getattr(chosen, field)
        for field in MoveOptions.__struct_fields__
        if getattr(chosen, field) != getattr(usual, field)
    }
    return MoveOptions(**values)
