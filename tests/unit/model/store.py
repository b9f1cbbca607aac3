"""etcd as the protocol sees it: revisions, leases, transactions; deaf while it is away."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.unit.model.process import TICKS_PER_S, Box

_SCAN_TICKS = 5
NAME = "etcd"


class LeaseGone(Exception):
    """A put under a lease that ended."""


class Item(NamedTuple):
    """One key."""

    value: Any
    revision: int
    lease: int


class Lease:
    """One lease."""

    def __init__(self, ttl_s: int, expires_s: float) -> None:
        self.ttl_s, self.expires_s = ttl_s, expires_s


class Store:
    """The linearizable store. Its clock has a rate of its own."""

    def __init__(self, now: Callable[[], int], ran_out: Callable[[str], None]) -> None:
        self._now = now
        self._ran_out = ran_out
        self.rate = 1.0
        self.up = True
        self.term = 1
        self.revision = 0
        self.keys: dict[str, Item] = {}
        self.leases: dict[int, Lease] = {}
        self.deposed: set[str] = set()
        """Parties whose keepalives a deposed leader answers, which still believes that it leads."""

    def clock(self) -> float:
        return self._now() / TICKS_PER_S * self.rate

    def ask(self, operation: Callable[[], Any]) -> Callable[[Box], None]:
        """An operation for :meth:`Network.call`."""

        def there(reply: Box) -> None:
            if self.up:
                try:
                    reply.put(operation())
                except LeaseGone as error:
                    reply.put(error)

        return there

    def tick(self) -> None:
        if self.up and self._now() % _SCAN_TICKS == 0:
            for lease_id, lease in tuple(self.leases.items()):
                if lease.expires_s <= self.clock():
                    self._end(lease_id, self._ran_out)

    def _end(self, lease_id: int, told: Callable[[str], None] = lambda _: None) -> None:
        del self.leases[lease_id]
        for key, item in tuple(self.keys.items()):
            if item.lease == lease_id:
                self.delete(key)
                told(key)

    def elect(self) -> None:
        """A new leader arms every lease for its whole time."""
        self.term += 1
        for lease in self.leases.values():
            lease.expires_s = self.clock() + lease.ttl_s

    def get(self, key: str) -> Item | None:
        return self.keys.get(key)

    def value(self, key: str) -> Any:
        item = self.keys.get(key)
        return None if item is None else item.value

    def list(self, prefix: str) -> dict[str, Item]:
        return {
            key.removeprefix(prefix): item
            for key, item in self.keys.items()
            if key.startswith(prefix)
        }

    def delete(self, key: str) -> None:
        self.revision += 1
        self.keys.pop(key, None)

    def transact(self, when: dict[str, int], then: dict[str, Any], *, lease: int = 0) -> int:
        """Put all if each key is at its revision (0: absent); health keys go under the lease."""
        now = {key: self.keys[key].revision for key in when if key in self.keys}
        if any(now.get(key, 0) != revision for key, revision in when.items()):
            return 0
        if lease and lease not in self.leases:
            raise LeaseGone
        self.revision += 1
        for key, value in then.items():
            under = lease if key.startswith(("/onecloud", "/godwit/leader")) else 0
            self.keys[key] = Item(value, self.revision, under)
        return self.revision

    def grant(self, ttl_s: int) -> int:
        self.revision += 1
        self.leases[self.revision] = Lease(ttl_s, self.clock() + ttl_s)
        return self.revision

    def refresh(self, lease_id: int, who: str = "") -> tuple[int, int]:
        """Time to live and term; (0, term) of a lease that ended."""
        if who in self.deposed:
            return 10, self.term - 1
        lease = self.leases.get(lease_id)
        if lease is None:
            return 0, self.term
        lease.expires_s = self.clock() + lease.ttl_s
        return lease.ttl_s, self.term

    def left_s(self, lease_id: int) -> int:
        lease = self.leases.get(lease_id)
        return -1 if lease is None else max(0, int(lease.expires_s - self.clock()))

    def revoke(self, lease_id: int) -> None:
        if lease_id in self.leases:
            self._end(lease_id)
