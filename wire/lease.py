"""A key held under a lease: a host's health, a backend's leadership."""

import logging
import threading
import time
from collections.abc import Callable

from wire.etcd import Etcd, EtcdUnreachable, Lease

_log = logging.getLogger(__name__)


def boot_clock_s() -> float:
    """Seconds of CLOCK_BOOTTIME: runs through suspend and is deaf to clock steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class HeldKey:
    """One thread that puts a key under a lease, keeps the lease alive, and starts over when lost.

    The lease counts as lost when etcd says so (a refreshed TTL of 0), when the key is no longer
    under it, or when the TTL has passed since the last refresh that succeeded was *sent*: etcd's
    own expiry cannot be earlier.
    """

    def __init__(
        self,
        etcd: Etcd,
        key: str,
        *,
        ttl_s: int,
        value: Callable[[], bytes],
        only_if_absent: bool = False,
        on_held: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing happens before :meth:`start`.

        Args:
            etcd: the connection.
            key: what to hold.
            ttl_s: wished TTL; the one that etcd grants is used.
            value: called for each new lease; may call etcd itself.
            only_if_absent: take the key only while nobody holds it (leadership).
            on_held: called in this thread each time the key is taken.
            on_lost: called in this thread each time it is lost.
        """
        self._etcd = etcd
        self._key = key
        self._ttl_s = ttl_s
        self._value = value
        self._only_if_absent = only_if_absent
        self._on_held = on_held
        self._on_lost = on_lost
        self._lease: Lease | None = None
        self._good_until_s = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"hold {key}", daemon=True)
        self.held = False

    def start(self) -> None:
        """Begin to hold the key."""
        self._thread.start()

    def stop(self, *, revoke: bool) -> None:
        """End the thread; with ``revoke`` the key vanishes now, else when its TTL has passed."""
        self._stopped.set()
        self._thread.join(timeout=2 * self._ttl_s)
        if revoke and self._lease is not None:
            try:
                self._etcd.revoke_lease(self._lease.lease_id)
            except EtcdUnreachable as error:
                _log.warning("%s: lease not revoked: %s", self._key, error.message)

    def _run(self) -> None:
        while True:
            try:
                self._step()
            except EtcdUnreachable as error:
                _log.warning("%s: %s", self._key, error.message)
            if self.held and boot_clock_s() >= self._good_until_s:
                self._lose("no refresh reached etcd in time")
            if self._stopped.wait(self._pause_s()):
                return

    def _step(self) -> None:
        sent_s = boot_clock_s()
        if self._lease is not None:
            remaining_s = self._etcd.refresh_lease(self._lease.lease_id)
            if remaining_s > 0:
                self._keep(sent_s + remaining_s)
                if self._is_ours(self._lease):
                    return
            self._lease = None
            if self.held:
                gone = "the key was deleted or taken" if remaining_s > 0 else "the lease expired"
                self._lose(gone)
            sent_s = boot_clock_s()
        if self._only_if_absent and self._etcd.get(self._key) is not None:
            return  # a read costs etcd nothing; a lease for each try would be two writes a second
        lease = self._etcd.grant_lease(self._ttl_s)
        value = self._value()
        if self._only_if_absent:
            if not self._etcd.create(self._key, value, lease_id=lease.lease_id):
                self._etcd.revoke_lease(lease.lease_id)
                return
        else:
            self._etcd.put(self._key, value, lease_id=lease.lease_id)
        self._lease = lease
        self._keep(sent_s + lease.ttl_s)

    def _is_ours(self, lease: Lease) -> bool:
        stored = self._etcd.get(self._key)
        return stored is not None and stored.lease_id == lease.lease_id

    def _keep(self, good_until_s: float) -> None:
        self._good_until_s = good_until_s
        if not self.held:
            self.held = True
            _log.info("%s: held", self._key)
            self._on_held()

    def _lose(self, reason: str) -> None:
        self.held = False
        _log.warning("%s: lost: %s", self._key, reason)
        self._on_lost()

    def _pause_s(self) -> float:
        if self.held and self._lease is not None:
            return self._lease.ttl_s / 3
        return min(1.0, self._ttl_s / 3)
