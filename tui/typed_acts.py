"""The acts that ``:`` names: each opens what its key would open on this server or host."""

from tui.acts import MAKERS
from tui.destinations import Destination
from tui.maintenance_acts import maintenance
from tui.navigator import Navigator
from tui.rescue_acts import auto_migrate, declare_off, guard, priority
from tui.store import Store


async def begin_act(navigator: Navigator, store: Store, place: Destination) -> None:
    """Ask what stands before the act that a command names, or say why there is none."""
    row_id = place.row_id
    if place.act == "migrate":
        await navigator.show_targets(row_id)
    elif place.act == "settle":
        await navigator.show_settling(row_id)
    elif place.act == "priority":
        await navigator.act(priority(store.servers[row_id]))
    elif place.act == "auto-migrate":
        await navigator.act(auto_migrate(store.hosts[row_id]))
    elif place.act == "off":
        await navigator.act(declare_off(store, store.hosts[row_id]))
    elif place.act == "maintenance":
        await navigator.act(maintenance(store, store.hosts[row_id]))
    elif place.act == "guard":
        await navigator.act(guard(store))
    elif moves := store.migrations_of(row_id):
        await navigator.act(MAKERS[place.act](store, moves[0]))
    else:
        navigator.tell(f"{store.servers[row_id].name} has not been migrated yet")
