"""A key held under a lease: a host's health, a backend's leadership."""

import logging
import threading
import time
from collections.abc import Callable

from wire.errors import GodwitError
from wire.etcd import Etcd, EtcdUnreachable, Lease

_log = logging.getLogger(__name__)

_RETRY_S = 0.2
"""After a refresh that did not reach etcd: each one that fails costs its time-out besides."""


def boot_clock_s() -> float:
    """Seconds of CLOCK_BOOTTIME: runs through suspend and is deaf to clock steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class HeldKey:
    """One thread that puts a key under a lease, keeps the lease alive, and starts over when lost.

    The lease counts as lost when etcd says so (a refreshed TTL of 0), when the key is no longer
    under it, or when the TTL has passed since the last refresh that succeeded was *sent*: etcd's
    own expiry cannot be earlier. A refresh counts only when a linearizable read that was sent after
    it shows the key under this lease, answered in the same term: a deposed leader of etcd goes on
    answering keepalives of leases that its successor lets run out.
    """

    def __init__(
        self,
        etcd: Etcd,
        key: str,
        *,
        ttl_s: int,
        put: Callable[[Lease, float], bool],
        wait_for_absence: bool = False,
        refresh_s: float | None = None,
        void: Callable[[], str] = lambda: "",
        on_refreshed: Callable[[float, int], None] = lambda _sent_s, _ttl_s: None,
        on_held: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing happens before :meth:`start`. All is called in this thread.

        Args:
            etcd: the connection.
            key: what to hold.
            ttl_s: wished TTL; the one that etcd grants is used.
            put: puts the key under this lease; False if somebody else has it. Called for each new
                lease with the moment before that was asked for, and after :meth:`renew` for the
                present one with that of the last refresh that counts.
            wait_for_absence: ask for a lease only while nobody holds the key (leadership).
            refresh_s: how often the lease is refreshed; a third of it by default.
            void: why the present lease is to be given up for a new one; empty if it is not.
            on_refreshed: told when a refresh that counts was sent, and the lease's TTL.
            on_held: called each time the key is taken.
            on_lost: called each time it is lost.
        """
        self._etcd = etcd
        self._key = key
        self._ttl_s = ttl_s
        self._put = put
        self._wait_for_absence = wait_for_absence
        self._refresh_s = ttl_s / 3 if refresh_s is None else refresh_s
        self._void = void
        self._on_refreshed = on_refreshed
        self._on_held = on_held
        self._on_lost = on_lost
        self._lease: Lease | None = None
        self._held = False
        self._good_until_s = 0.0
        self._wake = threading.Event()
        self._stopped = False
        self._put_due = False
        self._thread = threading.Thread(target=self._run, name=f"hold {key}", daemon=True)

    @property
    def held(self) -> bool:
        """Whether the key is there for certain at this moment."""
        return self._held and boot_clock_s() < self._good_until_s

    def start(self) -> None:
        """Begin to hold the key."""
        self._thread.start()

    def renew(self) -> None:
        """Have the key put again under the present lease, soon."""
        self._put_due = True
        self._wake.set()

    def stop(self, *, revoke: bool) -> None:
        """End the thread; with ``revoke`` the key vanishes now, else when its TTL has passed."""
        self._stopped = True
        self._wake.set()
        self._thread.join(timeout=2 * self._ttl_s)
        if revoke and self._lease is not None:
            try:
                self._etcd.revoke_lease(self._lease.lease_id)
            except EtcdUnreachable as error:
                _log.warning("%s: lease not revoked: %s", self._key, error.message)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopped:
                return
            began_s = boot_clock_s()
            try:
                counted = self._step()
            except GodwitError as error:
                _log.warning("%s: %s", self._key, error.message)
                counted = False
            except Exception:  # noqa: BLE001 - told; the thread must not end by it
                _log.exception("%s: not refreshed", self._key)
                counted = False
            if self._held and boot_clock_s() >= self._good_until_s:
                self._lose("no refresh reached etcd in time")
            pause_s = self._refresh_s - (boot_clock_s() - began_s) if counted else self._retry_s()
            self._wake.wait(max(0.0, pause_s))

    def _retry_s(self) -> float:
        return _RETRY_S if self._lease is not None else min(1.0, self._ttl_s / 3)

    def _step(self) -> bool:
        """Refresh the lease or take a new one; whether that counts."""
        if self._lease is not None:
            counted, gone = self._refresh(self._lease)
            if not gone:
                return counted
            self._lease = None
            if self._held:
                self._lose(gone)
        if self._wait_for_absence and self._etcd.get(self._key) is not None:
            # a read costs etcd nothing; a lease for each try would be two writes a second
            return False
        sent_s = boot_clock_s()
        lease = self._etcd.grant_lease(self._ttl_s)
        self._put_due = False  # before it is put: a wish that comes meanwhile is another one
        if not self._put(lease, sent_s):
            self._etcd.revoke_lease(lease.lease_id)
            return False
        self._lease = lease
        self._keep(sent_s, lease.ttl_s)
        return True

    def _refresh(self, lease: Lease) -> tuple[bool, str]:
        """Whether the refresh counts, and why the key is not ours any more; empty if it is."""
        void = self._void()
        if void:
            return False, void
        sent_s = boot_clock_s()
        refreshed = self._etcd.refresh_in_term(lease.lease_id)
        if refreshed.seconds_left <= 0:
            return False, "the lease expired"
        read = self._etcd.get_in_term(self._key)
        if read.item is None or read.item.lease_id != lease.lease_id:
            return False, "the key was deleted or taken"
        if read.raft_term != refreshed.raft_term:
            _log.warning(
                "%s: a refresh of term %d was followed by a read of term %d: it does not count",
                self._key,
                refreshed.raft_term,
                read.raft_term,
            )
            self._etcd.next_endpoint()
            return False, ""
        self._keep(sent_s, refreshed.seconds_left)
        if self._put_due:
            self._put_due = False
            try:
                if not self._put(lease, sent_s):
                    return False, "another process of this name has taken it"
            except BaseException:
                self._put_due = True
                raise
        return True, ""

    def _keep(self, sent_s: float, ttl_s: int) -> None:
        self._good_until_s = sent_s + ttl_s
        self._on_refreshed(sent_s, ttl_s)
        if not self._held:
            self._held = True
            _log.info("%s: held", self._key)
            self._on_held()

    def _lose(self, reason: str) -> None:
        self._held = False
        _log.warning("%s: lost: %s", self._key, reason)
        self._on_lost()
