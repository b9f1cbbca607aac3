"""The host's health key: present while this agent refreshes its lease."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from wire.etcd import Etcd, KeyValue
from wire.fleet import HealthValue
from wire.keys import EPOCHS, HEALTH
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
        self._epoch = count_epoch(self._etcd, self._host_id)
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        return msgspec.json.encode(HealthValue(boot_id=boot_id, epoch=self._epoch))


def _number(stored: KeyValue) -> int:
    try:
        return int(stored.value)
    except ValueError:
        _log.error("%s holds %r, and should hold a number; counting anew", stored.key, stored.value)
        return 0


def count_epoch(etcd: Etcd, host_id: str) -> int:
    """Take the host's next epoch, by compare-and-swap on ``EPOCHS/<host_id>``.

    Raises:
        EtcdUnreachable: no answer; an epoch may have been skipped.
    """
    key = EPOCHS + host_id
    while True:
        stored = etcd.get(key)
        epoch = 1 if stored is None else _number(stored) + 1
        revision = 0 if stored is None else stored.mod_revision
        if etcd.replace(key, str(epoch).encode(), mod_revision=revision):
            return epoch
