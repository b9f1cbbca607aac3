"""Faults by which each rule of decision 0018 shows what it is for.

Each scenario is a family of faults at moments that the test chooses.
"""

from collections.abc import Callable

from tests.unit.model import faults
from tests.unit.model.agent import Record
from tests.unit.model.world import World
from wire import keys

Moments = tuple[int, int]
"""How the programs' periods lie to each other, and a number of ticks for the scenario."""
Scenario = Callable[[World, Moments], None]
SCENARIOS: dict[str, Scenario] = {}
"""By the rule that it needs."""


def scenario(rule: str) -> Callable[[Scenario], None]:
    """Note what a rule is for."""

    def register(play: Scenario) -> None:
        SCENARIOS[rule] = play

    return register


def until(world: World, condition: Callable[[], bool], *, ticks: int = 200) -> None:
    """Let time pass until something is seen, or for long enough."""
    for _ in range(ticks):
        if condition():
            return
        world.run(1)


def isolate(world: World, host: str, *, but: str = "") -> None:
    for other in ("etcd", "backend-0", "backend-1", *faults.HOSTS):
        if other not in {host, but}:
            faults.set_link(world, host, other, "cut")


def record(world: World, server_id: str = "web") -> Record:
    return world.store.value(keys.SERVERS + server_id)


@scenario("sent")
def _stopped_before_its_answer(world: World, moments: Moments) -> None:
    """``t_ok`` is read before the refresh is sent: the agent may look at the answer much later."""
    world.hosts["kvm-0"].hang()
    lease = world.store.leases[world.store.get(keys.HEALTH + "kvm-0").lease]
    before_s = lease.expires_s
    until(world, lambda: lease.expires_s > before_s)
    faults.stop(world, "kvm-0", "agent")
    world.run(15 + moments[1] % 15)
    faults.go_on(world, "kvm-0", "agent")
    world.run(6)
    isolate(world, "kvm-0")
    world.run(120)


@scenario("margin")
def _card_is_late(world: World, _: Moments) -> None:
    """The margin: rounds are 0.2 s apart, and the card takes its time."""
    world.hosts["kvm-0"].hang()
    isolate(world, "kvm-0")
    world.run(120)


@scenario("guard")
def _last_writes(world: World, moments: Moments) -> None:
    """The guard: what a guest wrote last is still on its way to the disk."""
    world.landing_ticks = 22  # a look, a claim and what lies between take two seconds here
    world.hosts["kvm-0"].hang()
    world.run(moments[1])
    isolate(world, "kvm-0")
    world.run(150)


@scenario("sighting")
def _revoked(world: World, _: Moments) -> None:
    """A lease that did not run out by itself: the host may have refreshed it just before."""
    isolate(world, "kvm-0")
    world.lose_key("kvm-0", lease=True)
    world.run(120)


@scenario("watching")
def _new_leader(world: World, moments: Moments) -> None:
    """A new leader waits a whole TTL: it knows nothing of what was refreshed before."""
    isolate(world, "kvm-0")
    world.lose_key("kvm-0", lease=moments[1] % 2 == 0)
    faults.kill_backend(world, 0)
    world.run(160)


@scenario("key_absent")
def _back_before_the_claim(world: World, moments: Moments) -> None:
    """A claim is void once the old host has a key: it runs its servers again."""
    faults.switch_off(world, "kvm-0")
    until(world, lambda: world.backends[0].dead("kvm-0"))
    for task in ("look", "rescue"):
        faults.stall_backend(world, 0, task, 50 + moments[1])
    faults.switch_on(world, "kvm-0")
    world.run(150)


@scenario("life")
def _proof_of_an_earlier_life(world: World, moments: Moments) -> None:
    """A proof is of one life: the next one may be unfenced."""
    faults.set_policy(world, "kvm-0", rescue=False)
    world.store.elect()
    world.run(20)
    faults.set_policy(world, "kvm-0", rescue=True)
    world.run(40)
    faults.switch_off(world, "kvm-0")
    until(world, lambda: world.backends[0].dead("kvm-0"))
    faults.set_policy(world, "kvm-0", rescue=False)
    for task in ("look", "rescue"):
        faults.stall_backend(world, 0, task, 250 + moments[1])
    faults.switch_on(world, "kvm-0")
    until(world, lambda: world.hosts["kvm-0"].executing("web"))
    isolate(world, "kvm-0")
    world.run(260)


@scenario("generation")
def _late_command(world: World, moments: Moments) -> None:
    """An agent refuses a start of an older generation, however late it arrives."""
    leader = next(one for one in world.backends if one.fence)
    for host in ("kvm-1", "kvm-2"):
        faults.set_link(world, leader.name, host, "slow")
    faults.switch_off(world, "kvm-0")
    until(world, lambda: record(world).owner != "kvm-0")
    world.run(12)
    leader.process.paused = True
    until(world, lambda: record(world).phase == "settled")
    first = record(world).owner
    other = "kvm-2" if first == "kvm-1" else "kvm-1"
    world.run(moments[1])
    faults.migrate(world, "web", other, postcopy=False)
    until(world, lambda: record(world).owner == other)
    world.network.heal()
    world.run(30)


@scenario("kill")
def _wrongly_declared_off(world: World, _: Moments) -> None:
    """A host that comes back ends what is not its own, before it takes its key and after."""
    faults.set_policy(world, "kvm-0", rescue=False)
    world.run(40)
    isolate(world, "kvm-0")
    world.run(120)
    world.lied = True
    world.declare_off("kvm-0")
    until(world, lambda: record(world).owner != "kvm-0" and record(world).phase == "settled")
    world.network.heal()
    world.run(60)


@scenario("arm_first")
def _armed_too_late(world: World, moments: Moments) -> None:
    """The card is armed before the value says so."""
    faults.set_policy(world, "kvm-0", rescue=False)
    until(world, lambda: not faults.fenced(world, "kvm-0"))
    world.run(10 + moments[1])
    faults.set_policy(world, "kvm-0", rescue=True)
    until(world, lambda: faults.fenced(world, "kvm-0"))
    faults.stop(world, "kvm-0", "agent")
    world.run(120)


@scenario("disarm_last")
def _disarmed_too_early(world: World, _: Moments) -> None:
    """The card is disarmed after etcd has acknowledged a value that does not say watchdog."""
    faults.set_policy(world, "kvm-0", rescue=False)
    until(world, lambda: not world.hosts["kvm-0"].word.armed, ticks=30)
    isolate(world, "kvm-0")
    world.run(120)


@scenario("dead_not_gone")
def _gone_is_not_dead(world: World, moments: Moments) -> None:
    """A target without a key may run the guest: the paused source is not resumed."""
    faults.set_policy(world, "kvm-1", rescue=False)
    world.run(30)
    world.run(moments[1])
    faults.migrate(world, "web", "kvm-1", postcopy=False)
    until(world, lambda: world.hosts["kvm-1"].executing("web"))
    isolate(world, "kvm-1")
    world.run(220)


@scenario("connection")
def _start_in_flight(world: World, moments: Moments) -> None:
    """libvirtd dies before the guests do, and with it every start that waits in it."""
    faults.switch_off(world, "kvm-0")
    until(world, lambda: record(world).owner != "kvm-0")
    owner = record(world).owner
    faults.stop(world, owner, "libvirtd")
    world.run(12 + moments[1])
    isolate(world, owner)
    until(world, lambda: record(world).owner not in {"kvm-0", owner})
    until(world, lambda: record(world).phase == "settled")
    faults.go_on(world, owner, "libvirtd")
    world.run(20)


@scenario("read_back")
def _deposed_leader(world: World, _: Moments) -> None:
    """A refresh counts once the key was read in the same term: etcd may have another leader."""
    faults.depose(world, "kvm-0")
    world.run(130)


@scenario("put_first")
def _stopped_before_its_key(world: World, _: Moments) -> None:
    """The time of a new lease counts once the key is under it: until then the old one may end."""
    known = set(world.store.leases)
    world.hosts["kvm-0"].hang()
    faults.kill(world, "kvm-0", "agent")
    until(world, lambda: bool(set(world.store.leases) - known))
    world.run(3)
    faults.stop(world, "kvm-0", "agent")
    world.run(120)


@scenario("hook")
def _just_booted(world: World, moments: Moments) -> None:
    """A host that has had no life since its boot takes no guest: nothing fences it."""
    faults.power_cut(world, "kvm-1")
    isolate(world, "kvm-1", but="kvm-0")
    world.run(42)
    faults.migrate(world, "web", "kvm-1", postcopy=moments[1] % 2 == 0)
    world.run(130)


@scenario("first_word")
def _answer_is_late(world: World, moments: Moments) -> None:
    """A host that may have been told to start a server says that it does not, before another is."""
    faults.switch_off(world, "kvm-0")
    until(world, lambda: record(world).owner != "kvm-0")
    owner = record(world).owner
    faults.stop(world, owner, "libvirtd")
    until(world, lambda: record(world).owner != owner)
    world.run(20 + moments[1])
    faults.go_on(world, owner, "libvirtd")
    world.run(60)


@scenario("in_flight")
def _asked_before_the_death(world: World, moments: Moments) -> None:
    """The target of a migration is asked after its source is dead: it may have switched over."""
    faults.migrate(world, "web", "kvm-1", postcopy=False)
    world.run(6 + moments[1])
    isolate(world, "kvm-0", but="kvm-1")
    faults.stall_backend(world, 0, "rescue", 160)
    world.run(260)


@scenario("leftover_first")
def _finish_is_late(world: World, moments: Moments) -> None:
    """A copy that waits on the target is ended before the source is resumed."""
    faults.migrate(world, "web", "kvm-1", postcopy=False)
    world.run(10 + moments[1])
    faults.set_link(world, "kvm-0", "kvm-1", "slow")
    source = world.hosts["kvm-0"]
    until(world, lambda: not source.executing("web"), ticks=30)
    until(world, lambda: source.executing("web"), ticks=90)
    world.network.heal()
    world.run(20)


@scenario("fired")
def _killed_and_not_lost(world: World, moments: Moments) -> None:
    """A life in which the fence fired ends, or nobody starts what it killed."""
    faults.etcd_away(world, 75 + moments[1])


@scenario("own_word")
def _status_of_yesterday(world: World, _: Moments) -> None:
    """A new life says watchdog only by the agent's own word: the fence may be about to disarm."""
    host = world.hosts["kvm-0"]
    faults.set_policy(world, "kvm-0", rescue=False)
    until(world, lambda: not host.word.armed, ticks=60)
    faults.stop(world, "kvm-0", "fence")
    faults.kill(world, "kvm-0", "agent")
    epoch = host.word.epoch
    until(world, lambda: world.store.value(keys.LIVES + "kvm-0").epoch > epoch, ticks=19)
    faults.go_on(world, "kvm-0", "fence")
    isolate(world, "kvm-0")
    world.run(120)


@scenario("own_ack")
def _late_write(world: World, moments: Moments) -> None:
    """After a write whose answer was lost, reading does not show that it will not be done."""
    faults.set_policy(world, "kvm-0", rescue=False)
    until(world, lambda: not faults.fenced(world, "kvm-0"))
    world.run(10)
    faults.set_policy(world, "kvm-0", rescue=True)
    until(world, lambda: world.agents["kvm-0"].in_force is None, ticks=60)
    world.run(1 + moments[1] % 2)
    world.network.hold("kvm-0", "etcd")
    faults.set_policy(world, "kvm-0", rescue=False)
    world.run(50)
    world.network.release()
    until(world, lambda: faults.fenced(world, "kvm-0"), ticks=3)
    isolate(world, "kvm-0")
    world.run(120)


@scenario("exempt_first")
def _exempt_too_long(world: World, _: Moments) -> None:
    """A server leaves the exempt before its record says that it can be started elsewhere."""
    world.unbind("disk")
    until(world, lambda: not record(world, "disk").bound, ticks=30)
    faults.stop(world, "kvm-2", "agent")
    world.run(120)


@scenario("own_key")
def _unbound_without_a_key(world: World, moments: Moments) -> None:
    """What makes a server rescuable is written under the host's own key, which has to run out."""
    faults.stop(world, "kvm-2", "agent")
    world.run(130 + moments[1])
    world.unbind("disk")
    faults.go_on(world, "kvm-2", "agent")
    world.run(30)
