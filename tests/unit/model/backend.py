"""A backend by decision 0018: leadership, what it sees of leases, the proof, rescues."""

from typing import TYPE_CHECKING, Any

from backend.health.sightings import Sighting, Sightings
from backend.rescue.proof import Evidence, prove
from tests.unit.model.agent import TTL_S, Record
from tests.unit.model.judging import Judging
from tests.unit.model.process import TICKS_PER_S, Process, Steps, Unreachable
from tests.unit.model.store import NAME as ETCD
from tests.unit.model.store import Item, LeaseGone
from wire import keys
from wire.life import HealthValue

if TYPE_CHECKING:
    from tests.unit.model.world import World

_LEADER_TTL_S = 5
_LOOK_TICKS = 4
"""Between two looks; with what they take there is about one each second."""
_TRIES = 2


class Backend:
    """One replica. All that it knows goes with its process."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.rate = world.rate()
        self.process = Process(lambda: world.now)
        self.boot()

    def boot(self) -> None:
        self.fence = 0
        """Revision of the leader key; 0 while another one leads."""
        self._watching_since_s: float | None = None
        self._sightings = Sightings()
        self._counted: dict[str, int] = {}
        """Host to the epoch of the life whose lease was looked at last."""
        self._absent_since_s: dict[str, float] = {}
        self._health: dict[str, Item] = {}
        self._lives: dict[str, Item] = {}
        self._declared: dict[str, Item] = {}
        self._tries: dict[tuple[str, int], int] = {}
        self._judging = Judging(self)
        self.process.start(lead=self._lead(), look=self._look(), rescue=self._rescue())

    def clock(self) -> float:
        """CLOCK_BOOTTIME of its machine."""
        return self.world.now / TICKS_PER_S * self.rate

    def etcd(self, operation: Any) -> Steps:
        return self.world.network.call(self.name, ETCD, self.world.store.ask(operation))

    def ask(self, host: str, verb: str, *arguments: Any) -> Steps:
        """Command an agent.

        Raises:
            Unreachable: no answer in time; the command may still be on its way.
        """
        agents = self.world.agents
        return self.world.network.call(
            self.name,
            host,
            lambda reply: agents[host].commands.answer(verb, reply, arguments),
            ticks=30,
        )

    # leadership

    def _lead(self) -> Steps:
        lease, good_until_s = 0, 0.0
        while True:
            sent_s = self.clock()
            try:
                lease = yield from (self._keep(lease) if lease else self._stand())
                if lease:
                    good_until_s = sent_s + _LEADER_TTL_S
            except LeaseGone:
                lease = 0
            except Unreachable:
                pass
            if self.clock() >= good_until_s:
                lease = 0
            if not lease:
                self.fence = 0
            yield 15 if lease else 8

    def _keep(self, lease: int) -> Steps:
        store = self.world.store
        left_s, _ = yield from self.etcd(lambda: store.refresh(lease))
        return lease if left_s else 0

    def _stand(self) -> Steps:
        """Take the key if nobody has it; the lease, or 0."""
        store = self.world.store
        if (yield from self.etcd(lambda: store.get(keys.LEADER))) is not None:
            return 0
        lease = yield from self.etcd(lambda: store.grant(_LEADER_TTL_S))
        when, then = {keys.LEADER: 0}, {keys.LEADER: self.name}
        self._begin_term((yield from self.etcd(lambda: store.transact(when, then, lease=lease))))
        return lease if self.fence else 0

    def _begin_term(self, fence: int) -> None:
        self.fence = fence
        self._watching_since_s = None
        self._sightings, self._counted, self._absent_since_s = Sightings(), {}, {}

    def leads(self) -> dict[str, int]:
        """The condition of every write."""
        return {keys.LEADER: self.fence}

    # what it sees

    def _look(self) -> Steps:
        while True:
            yield _LOOK_TICKS
            if not self.fence:
                continue
            try:
                yield from self._look_once()
            except Unreachable:
                self._watching_since_s = None
                self._absent_since_s.clear()

    def _look_once(self) -> Steps:
        store = self.world.store
        self._health, self._lives, self._declared = yield from self.etcd(
            lambda: tuple(map(store.list, (keys.HEALTH, keys.LIVES, keys.INCIDENTS)))
        )
        for host in self._lives.keys() - self._health.keys():
            self._absent_since_s.setdefault(host, self.clock())
            epoch = self._lives[host].value.epoch
            if self._counted.get(host) != epoch:
                self._sightings.take_absent(host, TTL_S, self.clock())
                self._counted[host] = epoch
        for host in self._health:
            self._absent_since_s.pop(host, None)
        leases = {host: item.lease for host, item in self._health.items()}
        due, asked_s = self._sightings.due(leases, self.clock()), self.clock()
        left = yield from self.etcd(lambda: {host: store.left_s(due[host]) for host in due})
        for host, left_s in left.items():
            if left_s < 0 and host in leases:
                continue
            seen = Sighting(
                lease_id=due[host],
                left_s=left_s,
                granted_s=TTL_S,
                asked_s=asked_s,
                answered_s=self.clock(),
            )
            self._sightings.take(host, seen)
            if not seen.gone:
                self._counted[host] = self._lives[host].value.epoch
        if self._watching_since_s is None:
            self._watching_since_s = self.clock()

    def present(self, host: str) -> bool:
        return host in self._health

    def dead(self, host: str) -> bool:
        """Whether the host's last life is proven to be over."""
        life = self._lives.get(host)
        if not self.fence or self._watching_since_s is None or life is None:
            return False
        world, now_s = self.world, self.clock()
        absent_s, bound_s = self._absent_since_s.get(host), self._sightings.bound_s(host)
        watching_s = self._watching_since_s
        if absent_s is not None and not world.holds("guard"):
            absent_s -= 1.0
        if bound_s is not None and not world.holds("rounding"):
            bound_s -= 1.0
        if not world.holds("sighting"):
            bound_s = 0.0
        if not world.holds("watching"):
            watching_s = bound_s = -100.0
        declared = self._declared.get(host)
        by = declared is not None and declared.value == life.revision
        evidence = Evidence(
            host_name=host,
            life=life.value,
            absent_since_s=absent_s,
            cannot_live_before_s=bound_s,
            watching_since_s=watching_s,
            declared_off_by="ann" if by else "",
        )
        return prove(evidence, now_s=now_s).dead

    def life(self, host: str) -> HealthValue:
        return self._lives[host].value

    # rescues

    def _rescue(self) -> Steps:
        store = self.world.store
        while True:
            yield 2
            if not self.fence or self._watching_since_s is None:
                continue
            try:
                records = yield from self.etcd(lambda: store.list(keys.SERVERS))
                for server_id, item in records.items():
                    yield from self._step(server_id, item)
            except Unreachable:
                continue

    def _step(self, server_id: str, item: Item) -> Steps:
        record: Record = item.value
        if record.phase == "migrating":
            yield from self._judging.step(server_id, item)
        elif self.dead(record.owner) and not record.bound:
            yield from self._claim(server_id, item)
        elif record.phase == "rescue" and self.present(record.owner):
            yield from self._have_started(server_id, item)

    def _claim(self, server_id: str, item: Item) -> Steps:
        record, store = item.value, self.world.store
        life = self._lives[record.owner]
        target = self.choose(but=(*record.told, record.owner))
        if target is None:
            return
        seen = self._health[target].revision
        yield  # it may stand still between the proof and the claim
        when = {keys.SERVERS + server_id: item.revision, **self.leads()}
        if self.world.holds("key_absent"):
            when[keys.HEALTH + record.owner] = 0
        if self.world.holds("life"):
            when[keys.LIVES + record.owner] = life.revision
        when[keys.HEALTH + target] = seen
        told = tuple(one for one in record.told if one != target)
        claimed = record._replace(
            owner=target, generation=record.generation + 1, phase="rescue", target="", told=told
        )

        def claim() -> int:
            done = store.transact(when, {keys.SERVERS + server_id: claimed})
            if done:
                self.world.claimed(server_id, record.owner)
            return done

        yield from self.etcd(claim)

    def choose(self, *, but: tuple[str, ...]) -> str | None:
        hosts = sorted(self._health.keys() - set(but))
        return hosts[self.world.now % len(hosts)] if hosts else None

    def _have_started(self, server_id: str, item: Item) -> Steps:
        record, store = item.value, self.world.store
        if self.world.holds("first_word"):
            for host in record.told:
                if not self.dead(host):
                    done = yield from self.ask(host, "remove", server_id, record.generation)
                    if done != "done":
                        return
        owner = record.owner
        try:
            answer = yield from self.ask(owner, "start", server_id, record.generation)
        except Unreachable:
            answer = "unknown"
        when = {keys.SERVERS + server_id: item.revision, **self.leads()}
        if answer == "running":
            settled = record._replace(phase="settled", told=(), migration="")
            yield from self.etcd(lambda: store.transact(when, {keys.SERVERS + server_id: settled}))
            return
        tried = self._tries.setdefault((server_id, record.generation), 0) + 1
        self._tries[server_id, record.generation] = tried
        other = self.choose(but=(owner,))
        if tried >= _TRIES and other is not None:
            told = tuple(one for one in (*record.told, owner) if one != other)
            again = record._replace(owner=other, generation=record.generation + 1, told=told)
            yield from self.etcd(lambda: store.transact(when, {keys.SERVERS + server_id: again}))
