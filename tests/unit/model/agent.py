"""The host's agent by decision 0018: lease and epochs, arming, the return."""

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from hostagent.fence.deadline import fence_times
from hostagent.fence.word import Word
from tests.unit.model.commands import Commands
from tests.unit.model.host import Host
from tests.unit.model.process import Steps, Unreachable
from tests.unit.model.store import NAME as ETCD
from tests.unit.model.store import Item, LeaseGone
from wire import keys
from wire.life import Fence, HealthValue

if TYPE_CHECKING:
    from tests.unit.model.world import World

TTL_S = 10
_REFRESH_TICKS = 16
_ARMING_TICKS = 30


class Record(NamedTuple):
    """A server's record, as far as ownership goes."""

    owner: str
    generation: int
    phase: str = "settled"
    """``settled``, ``migrating`` or ``rescue``."""
    target: str = ""
    migration: str = ""
    bound: bool = False
    """It cannot be started elsewhere."""
    told: tuple[str, ...] = ()
    """Hosts that a rescue gave up, which may have been told to start it."""


class Agent:
    """One process of the agent; a new one knows what files and etcd say."""

    def __init__(self, world: "World", host: Host) -> None:
        self.world, self.host = world, host
        self.ready = False
        self._epoch = 0
        self._lease = 0
        self._life_revision = 0
        self.in_force: Fence | None = Fence.NONE
        """What the value in etcd says; None while a write is under way or its answer was lost."""
        self._to_start: set[str] = set()
        self.commands = Commands(self)

    def tasks(self) -> dict[str, Steps]:
        return {"heartbeat": self._heartbeat(), "policy": self._follow_policy()}

    def etcd(self, operation: Any) -> Steps:
        return self.world.network.call(self.host.name, ETCD, self.world.store.ask(operation))

    # the fence's file

    def _say(self, **changes: Any) -> None:
        fresh = Word(
            boot_id="", host_id=self.host.name, epoch=0, armed=False, t_ok_s=0.0, ttl_s=TTL_S
        )
        self.host.word = (self.host.word or fresh)._replace(**changes)

    def _fired(self) -> bool:
        word, status = self.host.word, self.host.status
        return word is not None and status is not None and status.fired_epoch >= word.epoch > 0

    def may_begin(self) -> bool:
        """Whether a guest that starts now is in time to be seen by the fence."""
        word = self.host.word
        if word is None or not word.armed:
            return True
        kill_from_s = fence_times(TTL_S, watchdog_timeout_s=2).kill_from(word.t_ok_s)
        return not self._fired() and self.host.clock() < kill_from_s

    # lease and epoch

    def _heartbeat(self) -> Steps:
        yield 1 + self.world.phase % _REFRESH_TICKS
        while True:
            try:
                if not self._lease:
                    yield from self._take_key()
                elif not (yield from self._refresh()):
                    self._lease, self.ready = 0, False
                    continue
                if self._lease and not self.ready:
                    yield from self._return()
            except (Unreachable, LeaseGone):
                yield 3
                continue
            yield _REFRESH_TICKS

    def _refresh(self) -> Steps:
        if self._fired() and self.world.holds("fired"):
            return False
        lease, key = self._lease, keys.HEALTH + self.host.name
        store = self.world.store
        sent_s = self.host.clock()
        left_s, term = yield from self.etcd(lambda: store.refresh(lease, self.host.name))
        if not self.world.holds("sent"):
            sent_s = self.host.clock()
        if not left_s:
            return False
        if not self.world.holds("read_back"):
            self._say(t_ok_s=sent_s)
        item, read_term = yield from self.etcd(lambda: (store.get(key), store.term))
        if item is None or item.lease != lease:
            return False
        if self.world.holds("read_back"):
            if term == read_term:
                self._say(t_ok_s=sent_s)
            else:
                store.deposed.discard(self.host.name)  # the next endpoint
        return True

    def _take_key(self) -> Steps:
        """Take the next epoch: kill, then the key."""
        store, name = self.world.store, self.host.name
        self.ready = False
        sent_s = self.host.clock()
        lease = yield from self.etcd(lambda: store.grant(TTL_S))
        if not self.world.holds("put_first"):
            self._say(t_ok_s=sent_s)
        life = yield from self.etcd(lambda: store.get(keys.LIVES + name))
        if self.world.holds("kill"):
            yield from self._kill_lost()
        word, status = self.host.word, self.host.status
        armed = word is not None and word.armed and status is not None and status.armed
        if not self.world.holds("own_word"):
            armed = status is not None and status.armed
        epoch = (life.value.epoch if life else 0) + 1
        self.in_force = None
        if not (
            yield from self._write(life, epoch, Fence.WATCHDOG if armed else Fence.NONE, lease)
        ):
            return
        self._epoch, self._lease = epoch, lease
        self._say(epoch=epoch, t_ok_s=sent_s, may_stay=())

    def _return(self) -> Steps:
        """What follows the key: kill once more, start; tried again if etcd goes away meanwhile."""
        store, name = self.world.store, self.host.name
        if self.world.holds("kill"):
            yield from self._kill_lost()
        records = yield from self.etcd(lambda: store.list(keys.SERVERS))
        self._exempt(records)
        self._to_start = {
            server_id
            for server_id, item in records.items()
            if item.value.owner == name
            or (item.value.phase == "migrating" and item.value.target == name)
        }
        self.world.returned(self.host)
        self.ready = self.host.lived = True

    def _write(self, life: Item | None, epoch: int, fence: Fence, lease: int) -> Steps:
        name = self.host.name
        value = HealthValue(boot_id="", epoch=epoch, fence=fence, ttl_s=TTL_S, watchdog_timeout_s=2)
        when = {keys.LIVES + name: life.revision if life else 0}
        then = {keys.LIVES + name: value, keys.HEALTH + name: value}
        revision = yield from self.etcd(lambda: self.world.store.transact(when, then, lease=lease))
        if revision:
            self._life_revision, self.in_force = revision, fence
        return revision

    def _kill_lost(self) -> Steps:
        """Kill what belongs to another host, unless it is arriving here; wait until it is gone."""
        store, name = self.world.store, self.host.name
        records = yield from self.etcd(lambda: store.list(keys.SERVERS))
        lost = set()
        for server_id, item in records.items():
            record = item.value
            arriving = record.phase == "migrating" and record.target == name
            if record.owner != name and not arriving and server_id in self.host.copies:
                self.host.kill(server_id)
                lost.add(server_id)
        while lost & self.host.copies.keys():
            yield

    # policy

    def _follow_policy(self) -> Steps:
        while True:
            yield 10
            if not self.ready:
                continue
            try:
                yield from self._step_policy()
            except (Unreachable, LeaseGone):
                continue

    def _step_policy(self) -> Steps:
        store, name = self.world.store, self.host.name
        wanted = yield from self.etcd(lambda: store.value(keys.POLICIES + name))
        armed = self.host.word is not None and self.host.word.armed
        if wanted and self.in_force is not Fence.WATCHDOG:
            if self.world.holds("arm_first"):
                self._say(armed=True)
                if not (yield from self._armed()):
                    return
                yield from self._put(Fence.WATCHDOG)
            else:
                yield from self._put(Fence.WATCHDOG)
                self._say(armed=True)
        elif not wanted and (self.in_force is not Fence.NONE or armed):
            if not self.world.holds("disarm_last"):
                self._say(armed=False)
            if self.in_force is None and not self.world.holds("own_ack"):
                life = yield from self.etcd(lambda: store.get(keys.LIVES + name))
                self.in_force = life.value.fence
            if self.in_force is Fence.NONE or (yield from self._put(Fence.NONE)):
                self._say(armed=False)
        records = yield from self.etcd(lambda: store.list(keys.SERVERS))
        self._exempt(records)
        for server_id in tuple(self._to_start):
            self.host.agent.spawn(f"start {server_id}", self._start_own(server_id))

    def _armed(self) -> Steps:
        for _ in range(_ARMING_TICKS):
            if self.host.status is not None and self.host.status.armed:
                return True
            yield
        return False

    def _put(self, fence: Fence) -> Steps:
        store, name = self.world.store, self.host.name
        life = yield from self.etcd(lambda: store.get(keys.LIVES + name))
        if life.value.epoch != self._epoch:
            return 0
        self.in_force = None
        return (yield from self._write(life, self._epoch, fence, self._lease))

    def _exempt(self, records: dict[str, Item]) -> None:
        stay = tuple(
            server_id
            for server_id, item in records.items()
            if item.value.owner == self.host.name
            and item.value.phase == "settled"
            and item.value.bound
            and server_id not in self.host.unbound
        )
        self._say(may_stay=stay)

    def unbind(self, server_id: str) -> Steps:
        """Its disks are shared from now on: it leaves the exempt before the record says so."""
        with contextlib.suppress(Unreachable):
            yield from self._unbind(server_id)

    def _unbind(self, server_id: str) -> Steps:
        store, key = self.world.store, keys.SERVERS + server_id
        item = yield from self.etcd(lambda: store.get(key))
        word = self.host.word
        if item.value.owner != self.host.name or word is None:
            return
        stay = tuple(one for one in word.may_stay if one != server_id)
        if self.world.holds("exempt_first"):
            self.host.unbound.add(server_id)
            self._say(may_stay=stay)
        when = {key: item.revision}
        if self.world.holds("own_key"):
            if not self.may_begin():
                return  # what is killed from now on may not be dead when the lease runs out
            when[keys.HEALTH + self.host.name] = self._life_revision
        then = {key: item.value._replace(bound=False)}
        if (yield from self.etcd(lambda: store.transact(when, then))):
            self._say(may_stay=stay)

    def _start_own(self, server_id: str) -> Steps:
        try:
            record = yield from self.record(server_id)
        except Unreachable:
            return
        if record.phase != "settled":
            return  # how the migration ended is not known yet
        if record.owner != self.host.name:
            self._to_start.discard(server_id)
            return
        result = yield from self.commands.start(server_id, record.generation, "settled")
        if result == "running":
            self._to_start.discard(server_id)

    def record(self, server_id: str) -> Steps:
        """What etcd says now of a server."""
        store = self.world.store
        item = yield from self.etcd(lambda: store.get(keys.SERVERS + server_id))
        return item.value
