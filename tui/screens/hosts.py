"""The Hosts view."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from textual.binding import BindingType

from tui.desk import Desk
from tui.draft import Draft
from tui.listing import Listing
from tui.maintenance_acts import maintenance, why_no_return
from tui.paint import Line
from tui.places import Place
from tui.screens.about_hosts import AboutHosts
from tui.screens.frame import keys
from tui.screens.listing import ListView
from tui.store import Changes
from tui.views import hosts
from wire.evacuation import PlanRequest
from wire.fleet import HostFacts, HostStatus, HostView


class HostsScreen(ListView[HostView], AboutHosts):
    """Every host, compared with the one under the cursor."""

    place = Place.HOSTS
    noun = "host"
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.HOSTS)

    def __init__(self, desk: Desk) -> None:
        self._marked: set[str] = set()
        columns = hosts.columns(
            desk.glyphs,
            under_cursor=self._under_cursor,
            evacuation_of=desk.store.evacuation_of,
            is_marked=self._marked.__contains__,
        )
        super().__init__(desk, Listing(columns))

    def rows(self) -> Mapping[str, HostView]:
        """All hosts."""
        return self.desk.store.hosts

    def changed(self, changes: Changes) -> Collection[str]:
        """Hosts that changed; a mark of one that is gone goes with it."""
        self._marked.intersection_update(self.rows())
        return changes.hosts

    def scope(self) -> str:
        """How many are marked."""
        return f"{len(self._marked)} marked" if self._marked else ""

    def describe(self, row: HostView, width: int) -> list[Line]:
        """Compare the host with the others, and say all that is known of it."""
        emptied = self.desk.store.evacuation_of(row)
        return hosts.details(row, self.rows().values(), width, self.desk.glyphs, emptied)

    def idle_actions(self) -> Collection[str]:
        """Few hosts have something to bring back."""
        host = self.host
        idle = set(super().idle_actions())
        if host is None or why_no_return(self.desk.store, host):
            idle.add("bring_back")
        return idle if host is not None else idle | {"evacuate", "maintenance", "mark"}

    def labels(self) -> Mapping[str, str]:
        """Say what the keys mean for this host, or for those that are marked."""
        found = dict(super().labels())
        host = self.host
        if host is None:
            return found
        if self.desk.store.evacuation_of(host) is not None and not self._marked:
            found["evacuate"] = "Evacuation"
        elif not self.desk.writable:
            found["evacuate"] = "Plan"
        elif self._marked:
            found["evacuate"] = f"Evacuate {len(self._marked)}"
        elif host.status is HostStatus.OFFLINE:
            found["evacuate"] = "Rescue all"
        if host.policy.maintenance:
            found["maintenance"] = "End maintenance"
        return found

    async def action_evacuate(self) -> None:
        """Plan how the marked hosts, or else this one, are emptied; or see it happen."""
        host = self.host
        if host is None:
            return
        emptied = self.desk.store.evacuation_of(host)
        if emptied is not None and not self._marked:
            await self.navigator.show_evacuation(emptied.evacuation_id)
            return
        order = [each for each in self.table.listing.ids if each in self._marked]
        # one that the filter hides stays marked
        order += sorted(self._marked.difference(order))
        ids = tuple(order) or (host.facts.host_id,)
        await self.navigator.show_plan(Draft(request=PlanRequest(hosts=ids)))

    async def action_bring_back(self) -> None:
        """Plan the return of what left this host."""
        host = self.host
        if host is None:
            return
        why = why_no_return(self.desk.store, host)
        if why:
            self.tell(why)
        else:
            request = PlanRequest(hosts=(host.facts.host_id,))
            await self.navigator.show_plan(Draft(request=request, returning=True))

    async def action_maintenance(self) -> None:
        """Take no servers on this host any more, or take them again."""
        await self.navigator.act(maintenance(self.desk.store, self.host))

    def action_mark(self) -> None:
        """Mark this host, or take its mark away; the cursor goes on to the next."""
        if self.table.cursor_id:
            self._marked.symmetric_difference_update({self.table.cursor_id})
            self.table.move("down")
            self.table.paint()
            self.refresh_frame()

    async def action_back(self) -> None:
        """Take the marks away, unless a zoom or a filter is set."""
        set_later = self.has_class("-zoomed") or self.table.listing.filter.text
        if not self._marked or set_later:
            await super().action_back()
            return
        self._marked.clear()
        self.table.paint()
        self.refresh_frame()

    async def action_open(self) -> None:
        """Show the servers of the host under the cursor."""
        if self.table.cursor_id:
            await self.navigator.show_servers(self.table.cursor_id)

    @property
    def host(self) -> HostView | None:
        """The host under the cursor."""
        return self.table.cursor_row

    def _under_cursor(self) -> HostFacts | None:
        row = self.table.cursor_row
        return row.facts if row is not None else None
