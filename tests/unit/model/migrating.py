"""libvirt's peer-to-peer migration: driven by the source's libvirtd, ended by the target's word."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.unit.model.host import Host
from tests.unit.model.process import Box, Steps, Unreachable

if TYPE_CHECKING:
    from tests.unit.model.world import World

_COPY_TICKS = 15
_CLOSED_TICKS = 100
"""The target ends an incoming guest so long after its source is not heard any more."""


def migration(
    world: "World", source: Host, target: Host, server_id: str, *, postcopy: bool
) -> Steps:
    """All of one migration, as tasks of both libvirtds."""
    source.jobs[server_id] = target.name
    try:
        yield from _ask(world, source, target, _prepare(world, source, target, server_id))
    except Unreachable:
        source.jobs.pop(server_id, None)
        return
    copy = source.copies.get(server_id)
    for _ in range(_COPY_TICKS):
        yield
        broken = world.network.link(source.name, target.name) == "cut" or not target.powered
        if broken or copy is None or source.copies.get(server_id) is not copy:
            source.jobs.pop(server_id, None)
            return
    if copy.state != "running" or copy.dies_at is not None:
        source.jobs.pop(server_id, None)
        return
    copy.state = "half" if postcopy else "halted"
    yield
    try:
        state = "post-copy" if postcopy else "running"
        came = yield from _ask(world, source, target, _finish(target, server_id, state))
    except Unreachable:
        came = None  # nobody knows: it stays halted
    if postcopy and came:
        came = yield from _fetch(world, source, target, server_id)
    source.jobs.pop(server_id, None)
    if source.copies.get(server_id) is not copy:
        return
    if came:
        source.leave(server_id)
    elif came is False and copy.dies_at is None and not postcopy:
        source.execute(server_id)


def _ask(world: "World", source: Host, target: Host, steps: Callable[[Box], Steps]) -> Steps:
    def there(reply: Box) -> None:
        target.libvirtd.spawn("peer", steps(reply))

    return (yield from world.network.call(source.name, target.name, there, ticks=20))


def _prepare(world: "World", source: Host, target: Host, server_id: str) -> Callable[[Box], Steps]:
    def steps(reply: Box) -> Steps:
        yield
        if server_id in target.copies or (world.holds("hook") and not target.lived):
            reply.put(Unreachable())
            return
        copy = target.appear(server_id, "incoming")
        target.libvirtd.spawn("close", _close(world, source, target, server_id, copy))
        reply.put("ready")

    return steps


def _finish(target: Host, server_id: str, state: str) -> Callable[[Box], Steps]:
    def steps(reply: Box) -> Steps:
        yield
        copy = target.copies.get(server_id)
        here = copy is not None and copy.state == "incoming" and copy.dies_at is None
        if here:
            target.defined.add(server_id)
            target.execute(server_id, state)
        reply.put(here)

    return steps


def _close(world: "World", source: Host, target: Host, server_id: str, copy: object) -> Steps:
    """End what waits for a source that has gone."""
    silent = 0
    while silent < _CLOSED_TICKS:
        yield
        here = target.copies.get(server_id)
        if here is not copy or here.state != "incoming":
            return
        heard = world.network.link(source.name, target.name) == "up" and server_id in source.jobs
        silent = 0 if heard else silent + 1
    target.kill(server_id)


def _fetch(world: "World", source: Host, target: Host, server_id: str) -> Steps:
    """Post-copy: the target runs while it fetches, and stands still while the link is cut."""
    left = _COPY_TICKS
    while left:
        yield
        here, there = source.copies.get(server_id), target.copies.get(server_id)
        if here is None or there is None:
            return None
        cut = world.network.link(source.name, target.name) != "up"
        there.state = "post-copy failed" if cut else "post-copy"
        left -= 0 if cut else 1
    target.copies[server_id].state = "running"
    return True
