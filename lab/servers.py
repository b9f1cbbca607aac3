"""The servers of a lab: those that are missing are made, and one is removed from everywhere."""

from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from lab import guest, hypervisor, node
from lab.errors import LabError
from lab.folders import LabFolders
from lab.processes import ProcessId
from lab.state import LabState, ServerEntry


def find(state: LabState, name: str) -> ServerEntry:
    """What is recorded of a server.

    Raises:
        LabError: the lab has no server of that name.
    """
    for entry in state.servers:
        if entry.spec.name == name:
            return entry
    raise LabError(f"lab {state.name} has no server {name!r}")


def make_missing(state: LabState, folders: LabFolders) -> list[ServerEntry]:
    """Make each server that is recorded and was not made yet; returns those.

    Raises:
        LabError: a host is off, or libvirt refuses.
    """
    missing = [entry for entry in state.servers if not entry.made]
    inits = {entry.spec.host: node.require_init(state, entry.spec.host) for entry in missing}
    if any(entry.spec.chain for entry in missing):
        for init in filter(None, _inits(state).values()):
            hypervisor.add_image_cache(init)

    def make(entry: ServerEntry) -> None:
        init = inits[entry.spec.host]
        guest.create(entry.spec, entry.server_id, folders, init, state.virt_type)

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(make, missing))
    return missing


def remove(state: LabState, folders: LabFolders, entry: ServerEntry) -> LabState:
    """Remove a server from every host, and the pools of image caches with the last that has one.

    Returns the lab without it.

    Raises:
        LabError: libvirt refuses.
    """
    inits = _inits(state)
    guest.remove(entry.spec.name, folders, inits)
    others = tuple(each for each in state.servers if each != entry)
    if entry.spec.chain and not any(each.spec.chain for each in others):
        for init in filter(None, inits.values()):
            hypervisor.remove_image_cache(init)
    return replace(state, servers=others)


def _inits(state: LabState) -> dict[str, ProcessId | None]:
    """PID 1 of each host, None of one that is off."""
    return {host.name: node.init_process(host) for host in state.hosts}
