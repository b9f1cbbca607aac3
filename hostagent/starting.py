"""Starting a stopped guest, so that no start outlives the right to it."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import libvirt

from hostagent.copies import domains
from hostagent.driver import LibvirtDriver, NoSuchServer
from hostagent.fence.guests import find_guests, is_gone
from hostagent.fencing import Fencing
from hostagent.guest import find_domain
from hostagent.ownership import Ownership
from wire.errors import conflict
from wire.fleet import ServerRecord

_START_TIMEOUT_S = 40.0


class Starts:
    """One at a time for each server, and never beside its removal.

    The connection to libvirtd is taken before the record is read. When the fence fires it kills
    libvirtd first: a start that stood still since it read the record then fails with its
    connection, and cannot reach the libvirtd that comes after.
    """

    def __init__(
        self,
        driver: LibvirtDriver,
        ownership: Ownership,
        fencing: Fencing,
        require_ready: Callable[[], None],
    ) -> None:
        self._driver = driver
        self._ownership = ownership
        self._fencing = fencing
        self._require_ready = require_ready
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    async def start(
        self,
        server_id: str,
        *,
        host_id: str,
        generation: int | None = None,
        if_so: Callable[[ServerRecord], bool] = lambda _: True,
    ) -> bool:
        """Start a server that this host owns; False if its record says that it is not to be.

        Args:
            server_id: whose domain.
            host_id: this host's.
            generation: of the command; None when nobody commands it.
            if_so: asked with the record as it is then.

        Raises:
            GodwitError: ``NOT_FOUND``, ``CONFLICT`` naming the owner or a QEMU that still dies,
                ``STALE_GENERATION``, ``NOT_READY``, ``ETCD_UNREACHABLE``, or ``LIBVIRT`` with its
                own text.
        """

        def start(handle: libvirt.virConnect) -> bool:
            with self.alone(server_id):
                domain = find_domain(handle, server_id)
                if domain is None:
                    raise NoSuchServer(server_id)
                if not domain.isActive():
                    _require_dead(server_id)
                record = self._ownership.require_owner(server_id, generation, host_id=host_id)
                if not if_so(record):
                    return False
                self._require_ready()
                self._fencing.require_time_left()
                domains.start(handle, server_id)
                return True

        return await self._driver.call("start a domain", start, timeout_s=_START_TIMEOUT_S)

    async def end(self, server_id: str, check: Callable[[libvirt.virConnect], None]) -> None:
        """End and undefine a copy; its files stay.

        Args:
            server_id: whose domain.
            check: refuses what must not be ended, at the moment before it is. Blocks.

        Raises:
            GodwitError: of ``check``, or ``LIBVIRT``.
        """

        def end(handle: libvirt.virConnect) -> None:
            with self.alone(server_id):
                check(handle)
                domains.destroy(handle, server_id)
                domains.undefine(handle, server_id)

        await self._driver.call("end a domain", end, timeout_s=_START_TIMEOUT_S)

    @contextmanager
    def alone(self, server_id: str) -> Iterator[None]:
        """In this block nothing else is started or ended by that id. Blocks."""
        with self._locks[server_id]:
            yield

    def wait_for_all(self) -> None:
        """Wait until every start that is under way has ended. Blocks.

        A libvirtd that hangs is given up by its connections' keepalive.
        """
        for server_id in tuple(self._locks):
            with self.alone(server_id):
                pass


def _require_dead(server_id: str) -> None:
    """Refuse while a QEMU dies that may still write: libvirt takes one that was killed for gone.

    One on its way out does not tell any more whose it is.
    """
    for guest in find_guests():
        if guest.server_id in {server_id, ""} and not is_gone(guest):
            raise conflict(
                f"the QEMU process {guest.pid} was ended and is not gone: the server {server_id} "
                "is not started beside it",
            )
