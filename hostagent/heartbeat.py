"""The host's health key: present while this agent refreshes its lease."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from wire.etcd import Etcd, KeyValue
from wire.fleet import HealthValue
from wire.keys import HEALTH, LIVES
from wire.lease import HeldKey

_log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Heartbeat:
    """Holds ``HEALTH/<host_id>``; each newly granted lease is an epoch of its own."""

    def __init__(
        self, etcd: Etcd, host_id: str, *, ttl_s: int, on_held: Callable[[int], None]
    ) -> None:
        """Prepare; nothing happens before :meth:`start`.

        Args:
            etcd: the connection.
            host_id: libvirt's host UUID.
            ttl_s: of the lease.
            on_held: called in a thread of its own with the epoch, each time the key is taken.
        """
        self._etcd = etcd
        self._host_id = host_id
        self._on_held = on_held
        self._ttl_s = ttl_s
        self._epoch = 0
        self._key = HeldKey(
            etcd,
            HEALTH + host_id,
            ttl_s=ttl_s,
            value=self._value,
            on_held=self._held,
        )

    def start(self) -> None:
        """Begin to hold the key."""
        self._key.start()

    def stop(self) -> None:
        """End without giving the lease up: an agent that ends is no host that died."""
        self._key.stop(revoke=False)

    def _held(self) -> None:
        self._on_held(self._epoch)

    def _value(self) -> bytes:
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        life = begin_life(self._etcd, self._host_id, boot_id=boot_id, ttl_s=self._ttl_s)
        self._epoch = life.epoch
        return msgspec.json.encode(life)


def begin_life(etcd: Etcd, host_id: str, *, boot_id: str, ttl_s: int) -> HealthValue:
    """Take the host's next epoch, by compare-and-swap on ``LIVES/<host_id>``.

    Raises:
        EtcdUnreachable: no answer; an epoch may have been skipped.
    """
    key = LIVES + host_id
    while True:
        stored = etcd.get(key)
        life = HealthValue(boot_id=boot_id, epoch=_last_epoch(stored) + 1, ttl_s=ttl_s)
        revision = 0 if stored is None else stored.mod_revision
        if etcd.replace(key, msgspec.json.encode(life), mod_revision=revision):
            return life


def _last_epoch(stored: KeyValue | None) -> int:
    if stored is None:
        return 0
    try:
        return msgspec.json.decode(stored.value, type=HealthValue).epoch
    except msgspec.DecodeError as error:
        _log.error("%s holds no health value (%s); epochs are counted anew", stored.key, error)
        return 0
