"""The host's health key: present while this agent refreshes its lease."""

import logging
from collections.abc import Callable

import msgspec

from hostagent.fence.deadline import refresh_every_s
from hostagent.fence.word import boot_id
from hostagent.fencing import NOT_ASKED, Fencing
from wire.etcd import Condition, Etcd, KeyValue, Lease, Write
from wire.fleet import HostPolicy
from wire.keys import HEALTH, LIVES, POLICIES
from wire.lease import HeldKey, boot_clock_s
from wire.life import Fence, HealthValue

_log = logging.getLogger(__name__)

_ARM_AGAIN_S = 5.0
"""How often a fence is asked for that could not be had."""


class Heartbeat:
    """Holds ``HEALTH/<host_id>``; each newly granted lease is a life with an epoch of its own.

    ``LIVES/<host_id>`` is written in the same transaction, and compared: nothing of an agent that
    was killed lands after its successor has begun.

    What the value says of the fence is in force: the fence is armed before it is written, and
    disarmed after etcd has acknowledged a value that does not speak of it.
    """

    def __init__(
        self,
        etcd: Etcd,
        host_id: str,
        *,
        ttl_s: int,
        fencing: Fencing,
        end_lost: Callable[[], None],
        on_held: Callable[[int], None],
    ) -> None:
        """Prepare; nothing happens before :meth:`start`. All is called in a thread of its own.

        Args:
            etcd: a connection whose calls time out in time for the next refresh.
            host_id: libvirt's host UUID.
            ttl_s: of the lease.
            fencing: who fences this host.
            end_lost: kills what this host does not own, before a new life is written; a
                GodwitError puts that off.
            on_held: called with the epoch, each time the key is taken.
        """
        self._etcd = etcd
        self._host_id = host_id
        self._fencing = fencing
        self._end_lost = end_lost
        self._on_held = on_held
        self._life: HealthValue | None = None
        self._wanted = False
        self._lease_id = 0
        self._lives_revision = 0
        self._armed_at_s = 0.0
        self._key = HeldKey(
            etcd,
            HEALTH + host_id,
            ttl_s=ttl_s,
            put=self._put,
            refresh_s=refresh_every_s(ttl_s),
            void=self._void,
            on_refreshed=self._refreshed,
            on_held=lambda: self._on_held(self.epoch),
        )

    def start(self) -> None:
        """Begin to hold the key."""
        self._key.start()

    def stop(self) -> None:
        """End without giving the lease up: an agent that ends is no host that died."""
        self._key.stop(revoke=False)

    @property
    def epoch(self) -> int:
        """Of the present life, or of the last one; 0 before the first."""
        return 0 if self._life is None else self._life.epoch

    @property
    def held(self) -> bool:
        """Whether the key is there for certain at this moment."""
        return self._key.held

    @property
    def revision(self) -> int:
        """Of the key as this process last wrote it; 0 while it is not there for certain."""
        return self._lives_revision if self.held else 0

    def policy_changed(self) -> None:
        """Somebody wrote this host's policy: the value follows it."""
        self._key.renew()

    def check(self) -> None:
        """Have the value written anew if it does not say any more what fences this host."""
        life = self._life
        if life is None or not self._wanted:
            return
        force = self._fencing.force()
        changed = (force.fence, force.watchdog_timeout_s) != (life.fence, life.watchdog_timeout_s)
        try_again = force.fence is Fence.NONE and boot_clock_s() > self._armed_at_s + _ARM_AGAIN_S
        if changed or try_again:
            self._key.renew()

    def _void(self) -> str:
        return "the fence has fired" if self._fencing.fired(self.epoch) else ""

    def _refreshed(self, sent_s: float, ttl_s: int) -> None:
        self._fencing.heard(self._host_id, self.epoch, sent_s=sent_s, ttl_s=ttl_s)
        self.check()

    def _put(self, lease: Lease, sent_s: float) -> bool:
        if lease.lease_id == self._lease_id:
            return self._write(lease, sent_s, epoch=self.epoch, revision=self._lives_revision)
        self._end_lost()
        stored = self._etcd.get(LIVES + self._host_id)
        revision = 0 if stored is None else stored.mod_revision
        epoch = max(_last_epoch(stored), self._fencing.epoch) + 1
        return self._write(lease, sent_s, epoch=epoch, revision=revision)

    def _write(self, lease: Lease, sent_s: float, *, epoch: int, revision: int) -> bool:
        """Write the life if ``LIVES`` is as it was read; False if another process wrote it."""
        self._wanted, force = self._policy().auto_migrate_on_host_down, NOT_ASKED
        if self._wanted:
            self._armed_at_s = boot_clock_s()
            force = self._fencing.arm(self._host_id, epoch, sent_s=sent_s, ttl_s=lease.ttl_s)
        life = HealthValue(
            boot_id=boot_id(),
            epoch=epoch,
            fence=force.fence,
            fence_detail=force.detail,
            ttl_s=lease.ttl_s,
            watchdog_timeout_s=force.watchdog_timeout_s,
        )
        value = msgspec.json.encode(life)
        written = self._etcd.transact(
            when=[Condition(key=LIVES + self._host_id, mod_revision=revision)],
            then=[
                Write(key=HEALTH + self._host_id, value=value, lease_id=lease.lease_id),
                Write(key=LIVES + self._host_id, value=value),
            ],
        )
        if not written:
            return False
        if self._life is None or (life.fence, life.fence_detail) != (
            self._life.fence,
            self._life.fence_detail,
        ):
            _log.info("epoch %d, fence %s %s", epoch, life.fence, life.fence_detail)
        self._life, self._lease_id, self._lives_revision = life, lease.lease_id, written
        if life.fence is Fence.NONE:
            self._fencing.disarm()
        return True

    def _policy(self) -> HostPolicy:
        stored = self._etcd.get(POLICIES + self._host_id)
        if stored is None:
            return HostPolicy()
        try:
            return msgspec.json.decode(stored.value, type=HostPolicy)
        except msgspec.DecodeError as error:
            _log.error("%s holds no policy (%s); nothing is fenced", stored.key, error)
            return HostPolicy()


def _last_epoch(stored: KeyValue | None) -> int:
    if stored is None:
        return 0
    try:
        return msgspec.json.decode(stored.value, type=HealthValue).epoch
    except msgspec.DecodeError as error:
        _log.error("%s holds no health value (%s); epochs are counted anew", stored.key, error)
        return 0
