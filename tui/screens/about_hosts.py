"""The acts that every view of hosts offers: policy, declaring off, and the guard of rescues."""

from collections.abc import Collection, Mapping

from tui.rescue_acts import auto_migrate, declare_off, guard
from tui.screens.frame import Frame
from wire.fleet import HostView


class AboutHosts(Frame):
    """A view in which the cursor, or the view itself, stands for a host.

    The last of a view's bases: Textual takes a widget's style from the first one.
    """

    @property
    def host(self) -> HostView | None:
        """The host that the acts are about; None if there is none."""
        raise NotImplementedError

    def idle_actions(self) -> Collection[str]:
        """Only a host that is lost can be declared off."""
        idle = {"auto_migrate"} if self.host is None else set()
        if isinstance(declare_off(self.desk.store, self.host), str):
            idle.add("declare_off")
        return idle

    def labels(self) -> Mapping[str, str]:
        """Say which way the guard turns."""
        return {"guard": "Disarm" if self.desk.store.guard.armed else "Arm"}

    async def action_auto_migrate(self) -> None:
        """Choose when the host's servers leave it."""
        if self.host is not None:
            await self.navigator.act(auto_migrate(self.host))

    async def action_declare_off(self) -> None:
        """Ask for the name of the host that is switched off."""
        await self.navigator.act(declare_off(self.desk.store, self.host))

    async def action_guard(self) -> None:
        """Arm or disarm rescues."""
        await self.navigator.act(guard(self.desk.store))
