"""What may happen at any moment, as functions of a world and a few choices."""

from tests.unit.model.process import Process
from tests.unit.model.world import World
from wire import keys
from wire.life import Fence

HOSTS = ("kvm-0", "kvm-1", "kvm-2")
PARTS = ("agent", "libvirtd", "fence")
TASKS = ("lead", "look", "rescue")
STATES = ("cut", "slow", "up")


def pass_time(world: World, ticks: int) -> None:
    world.run(ticks)


def set_link(world: World, one: str, other: str, state: str) -> None:
    if one != other:
        world.network.set(one, other, state)


def _process(world: World, host: str, part: str) -> Process:
    return getattr(world.hosts[host], part)


def stop(world: World, host: str, part: str) -> None:
    """SIGSTOP."""
    process = _process(world, host, part)
    process.paused = process.alive


def go_on(world: World, host: str, part: str) -> None:
    """SIGCONT."""
    _process(world, host, part).paused = False


def kill(world: World, host: str, part: str) -> None:
    """SIGKILL; its supervisor starts it again."""
    _process(world, host, part).kill()


def stall_fence(world: World, host: str, point: int, ticks: int) -> None:
    """The fence stands still at one of its next instructions."""
    world.hosts[host].stalls = [0] * point + [ticks]


def stall_backend(world: World, number: int, task: str, ticks: int) -> None:
    world.backends[number].process.stalled[task] = world.now + ticks


def stop_backend(world: World, number: int) -> None:
    process = world.backends[number].process
    process.paused = not process.paused


def kill_backend(world: World, number: int) -> None:
    world.backends[number].process.kill()


def power_cut(world: World, host: str) -> None:
    if world.hosts[host].powered:
        world.hosts[host].power_cut()


def switch_off(world: World, host: str) -> None:
    if world.hosts[host].powered:
        world.switch_off(host)


def switch_on(world: World, host: str) -> None:
    world.switch_on(host)


def declare_off(world: World, host: str) -> None:
    """Truthfully: an operator has switched it off and keeps it off."""
    if not world.hosts[host].powered and world.stays_off(world.hosts[host]):
        world.declare_off(host)


def etcd_away(world: World, ticks: int) -> None:
    world.etcd_down()
    world.run(ticks)
    world.etcd_up()


def etcd_elects(world: World) -> None:
    world.store.elect()


def depose(world: World, host: str) -> None:
    """etcd elects; the leader that this host talks to does not know it yet."""
    world.store.elect()
    world.store.deposed.add(host)


def lose_key(world: World, host: str, *, lease: bool) -> None:
    """By hand, or by a deposed leader of etcd; not in the last second of a lease.

    A refresh in that second, and a revocation in the same one, look like a lease that ran out.
    """
    item = world.store.get(keys.HEALTH + host)
    if item is None or (lease and world.store.left_s(item.lease) < 4):
        return
    world.lose_key(host, lease=lease)


def set_policy(world: World, host: str, *, rescue: bool) -> None:
    world.set_policy(host, rescue=rescue)


def migrate(world: World, server_id: str, target: str, *, postcopy: bool) -> None:
    world.migrate(server_id, target, postcopy=postcopy)


def unbind(world: World) -> None:
    world.unbind("disk")


def fenced(world: World, host: str) -> bool:
    """Whether the host's last life says that a watchdog fences it."""
    life = world.store.value(keys.LIVES + host)
    return life is not None and life.fence is Fence.WATCHDOG
