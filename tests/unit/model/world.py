"""Everything together: time, faults, and what must hold at each moment."""

from tests.unit.model.agent import Agent, Record
from tests.unit.model.backend import Backend
from tests.unit.model.host import Host
from tests.unit.model.migrating import migration
from tests.unit.model.process import Network, Steps, Violation
from tests.unit.model.store import Store
from wire import keys
from wire.life import Fence

SERVERS = {"web": "kvm-0", "db": "kvm-1", "disk": "kvm-2"}
"""Server to its first owner. ``disk`` has a disk that only its host reaches."""


class World:
    """Hosts, etcd and backends in one virtual time of ticks of 0.1 s."""

    def __init__(
        self, *, without: frozenset[str] = frozenset(), backends: int = 2, phase: int = 0
    ) -> None:
        """Begin with every server running, every host armed and one backend leading.

        Args:
            without: the rules that are left out.
            backends: how many.
            phase: how the programs' periods lie to each other, and how fast their clocks run.
        """
        self.without, self.phase = without, phase
        self.now = 0
        self.landing_ticks = 10
        """What a guest wrote last reaches the shared disk so long after its death."""
        self.lied = False
        """A host was declared off that is not: two copies are then nobody's fault."""
        self.network = Network(lambda: self.now)
        self.store = Store(lambda: self.now, self._ran_out)
        self.hosts = {f"kvm-{number}": Host(self, number) for number in range(3)}
        self.agents: dict[str, Agent] = {}
        for host in self.hosts.values():
            host.agent_tasks = self._fresh_agent(host)
            host.rate = self.rate()
        self._kept_off: set[str] = set()
        for name in self.hosts:
            self.store.transact({}, {keys.POLICIES + name: True})
        for server_id, owner in SERVERS.items():
            record = Record(owner=owner, generation=1, bound=server_id == "disk")
            self.store.transact({}, {keys.SERVERS + server_id: record})
            self.hosts[owner].defined.add(server_id)
        for host in self.hosts.values():
            host.boot()
        self.backends = [Backend(self, f"backend-{number}") for number in range(backends)]
        self.run(130)

    def holds(self, rule: str) -> bool:
        """Whether a rule is kept."""
        return rule not in self.without

    def rate(self) -> float:
        """Of one more clock, measured by etcd's."""
        self.phase += 1
        return (0.999, 1.0, 1.001)[self.phase % 3]

    def _fresh_agent(self, host: Host) -> object:
        def tasks() -> dict[str, Steps]:
            agent = self.agents[host.name] = Agent(self, host)
            return agent.tasks()

        return tasks

    # time

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += 1
            self.network.deliver()
            self.store.tick()
            for host in self.hosts.values():
                host.physics()
                host.fence.step()
                host.libvirtd.step()
                host.agent.step()
            for backend in self.backends:
                if not backend.process.alive and self.now % 10 == 0:
                    backend.boot()
                backend.process.step()

    def stays_off(self, host: Host) -> bool:
        return host.name in self._kept_off

    def move(self, source: Host, target: str, server_id: str, _: str, *, postcopy: bool) -> Steps:
        return migration(self, source, self.hosts[target], server_id, postcopy=postcopy)

    # what must hold

    def fail(self, sentence: str) -> None:
        raise Violation(f"{self.now / 10:.1f} s: {sentence}")

    def begins(self, host: Host, server_id: str) -> None:
        """vCPUs begin to run: no other copy runs, nor has writes under way."""
        if self.lied:
            return
        for other in self.hosts.values():
            if other is host:
                continue
            if other.executing(server_id):
                self.fail(f"{server_id} runs on {host} and on {other}")
            if other.landing.get(server_id, 0) > self.now:
                self.fail(f"{server_id} runs on {host} while what it wrote on {other} still lands")

    def claimed(self, server_id: str, owner: str) -> None:
        """Taken over from a host: it is dead there, and runs nowhere."""
        if self.lied:
            return
        for host in self.hosts.values():
            if host.executing(server_id):
                self.fail(f"{server_id} of {owner} is claimed while it runs on {host}")
            if host.landing.get(server_id, 0) > self.now:
                self.fail(f"{server_id} is claimed while what it wrote on {host} still lands")

    def _ran_out(self, key: str) -> None:
        """A health key's lease ran out in etcd: its fenced host runs nothing that is not bound."""
        name = key.removeprefix(keys.HEALTH)
        host = self.hosts.get(name)
        life = self.store.value(keys.LIVES + name)
        if host is None or life is None or life.fence is not Fence.WATCHDOG:
            return
        for server_id in host.copies:
            record = self.store.value(keys.SERVERS + server_id)
            if host.executing(server_id) and not record.bound:
                self.fail(f"the lease of {name} ran out, and {server_id} still runs there")

    def returned(self, host: Host) -> None:
        """A host answers commands again: it runs nothing that is another's."""
        for server_id in host.copies:
            record = self.store.value(keys.SERVERS + server_id)
            elsewhere = record.phase == "settled" and record.owner != host.name
            if host.executing(server_id) and elsewhere:
                self.fail(f"{host} is back and runs {server_id}, which belongs to {record.owner}")

    def settle_down(self, ticks: int = 900) -> None:
        """All faults end; in bounded time every server runs once, where its record says."""
        self.network.heal()
        self.network.release()
        self.store.deposed.clear()
        if not self.store.up:
            self.etcd_up()
        self._kept_off.clear()
        for host in self.hosts.values():
            host.stalls.clear()
            host.unhang()
            for process in (host.agent, host.libvirtd, host.fence):
                process.paused = False
            self._recover(host)
        for backend in self.backends:
            backend.process.paused = False
            backend.process.stalled.clear()
        for _ in range(ticks // 50):
            self.run(50)
            if not self._untrue():
                return
        self.fail(self._untrue())

    def _recover(self, source: Host) -> None:
        """A person recovers a post-copy that broke off."""
        for server_id, copy in tuple(source.copies.items()):
            if copy.state != "half" or server_id in source.jobs:
                continue
            for target in self.hosts.values():
                there = target.copies.get(server_id)
                if there is not None and there.state.startswith("post-copy"):
                    source.leave(server_id)
                    target.execute(server_id)

    def _untrue(self) -> str:
        for server_id in SERVERS:
            record: Record = self.store.value(keys.SERVERS + server_id)
            running = [host.name for host in self.hosts.values() if host.executing(server_id)]
            if running != [record.owner] or record.phase != "settled":
                return f"{server_id} runs on {running or 'no host'}, and its record is {record}"
            if server_id not in self.hosts[record.owner].defined:
                return f"{server_id} is defined on no host"
        return ""

    # faults

    def etcd_down(self) -> None:
        self.store.up = False

    def etcd_up(self) -> None:
        self.store.up = True
        self.store.elect()

    def switch_off(self, name: str) -> None:
        """A person switches the host off, and leaves it off."""
        self._kept_off.add(name)
        self.hosts[name].power_cut()

    def switch_on(self, name: str) -> None:
        self._kept_off.discard(name)

    def declare_off(self, name: str) -> None:
        """A person says so, of the life that the host wrote last."""
        life = self.store.get(keys.LIVES + name)
        if life is not None and keys.HEALTH + name not in self.store.keys:
            self.store.transact({}, {keys.INCIDENTS + name: life.revision})

    def lose_key(self, name: str, *, lease: bool) -> None:
        """Somebody deletes the key, or revokes its lease (as a deposed leader of etcd may)."""
        item = self.store.get(keys.HEALTH + name)
        if item is None:
            return
        if lease:
            self.store.revoke(item.lease)
        else:
            self.store.delete(keys.HEALTH + name)

    def set_policy(self, name: str, *, rescue: bool) -> None:
        self.store.transact({}, {keys.POLICIES + name: rescue})

    def migrate(self, server_id: str, target: str, *, postcopy: bool) -> None:
        """A person asks for a move; the leader locks the record and tells the source."""
        item = self.store.get(keys.SERVERS + server_id)
        record: Record = item.value
        key = self.store.get(keys.LEADER)
        leading = [one for one in self.backends if key is not None and one.fence == key.revision]
        if not leading or record.phase != "settled" or record.bound or record.owner == target:
            return
        if target not in self.hosts:
            return
        name = f"move-{self.store.revision}"
        leader = leading[0]
        locked = record._replace(phase="migrating", target=target, migration=name)
        key = keys.SERVERS + server_id
        if not self.store.transact({key: item.revision, **leader.leads()}, {key: locked}):
            return
        agents = self.agents
        self.network.send(
            leader.name,
            record.owner,
            lambda: agents[record.owner].commands.migration(
                server_id, name, target=target, postcopy=postcopy
            ),
        )

    def unbind(self, server_id: str) -> None:
        """The last disk that only its host reaches is taken away from a server."""
        owner = self.hosts[self.store.value(keys.SERVERS + server_id).owner]
        owner.agent.spawn("unbind", self.agents[owner.name].unbind(server_id))
