"""What of the fleet model has changed: :mod:`backend.publish` makes those views anew."""

import asyncio
from collections.abc import Iterable


class Changes:
    """Ids whose views have to be made anew."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()
        self.servers: set[str] = set()
        self.migrations: set[str] = set()
        self.incidents: set[str] = set()
        self.evacuations: set[str] = set()
        self.audit: set[str] = set()
        self.placement = False
        """Something changed that may move hosts in or out of servers' lists of targets."""
        self.status = False
        self.wake = asyncio.Event()

    def of(self, *, hosts: Iterable[str] = (), servers: Iterable[str] = ()) -> None:
        """Note changes of hosts and servers, by their ids, and wake who publishes."""
        self.hosts.update(hosts)
        self.servers.update(servers)
        self.wake.set()
