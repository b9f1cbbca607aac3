"""A host that begins another life: it ends what it does not own any more, before all else."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection

import libvirt
import msgspec

from hostagent.copies import domains
from hostagent.driver import LibvirtDriver
from hostagent.fence.guests import Process, find_guests, is_gone, kill
from hostagent.guest import find_domain
from hostagent.ownership import BadRecord, decode_record
from hostagent.starting import Starts
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Etcd
from wire.fleet import OwnerPhase, ServerRecord
from wire.keys import MIGRATIONS, SERVERS
from wire.migration import Migration

_log = logging.getLogger(__name__)

_DEATH_S = 5.0
"""How long a killed guest is waited for; then the whole is put off."""
_POLL_S = 0.02
_UNDEFINE_TIMEOUT_S = 20.0


class Returning:
    """Kills by ``/proc``, which needs no libvirtd; undefines by libvirt. Files stay.

    Left alone are guests without a record, and those that a migration brings to this host: their
    record names another owner until they have come.
    """

    def __init__(
        self,
        etcd: Etcd,
        driver: LibvirtDriver,
        starts: Starts,
        leaving_ids: Callable[[], Awaitable[Collection[str]]],
    ) -> None:
        """Prepare.

        Args:
            etcd: the connection.
            driver: this host's libvirt.
            starts: which are under way.
            leaving_ids: servers whose files this host still has to give up: whether they are as
                they were copied is asked with their domain.
        """
        self._etcd = etcd
        self._driver = driver
        self._starts = starts
        self._leaving_ids = leaving_ids

    def end_lost(self, host_id: str) -> None:
        """Kill every guest whose record names another owner, and see it gone. Blocks.

        Raises:
            EtcdUnreachable: nobody says who owns what.
            GodwitError: ``INTERNAL``, one does not die.
        """
        lost = {record.server_id: record for record in self._lost(host_id)}
        doomed = [guest for guest in find_guests() if guest.server_id in lost]
        for guest in doomed:
            record = lost[guest.server_id]
            _log.warning(
                "%r is killed here: it belongs to the host %s since generation %d",
                record.name,
                record.owner.host_id,
                record.owner.generation,
            )
            kill(guest)
        _wait_until_gone(doomed)

    async def settle(self, host_id: str) -> None:
        """The same once more, with the key in place, and undefine what is not this host's.

        Raises:
            GodwitError: as above, or ``LIBVIRT``: it is to be done again.
        """
        await asyncio.to_thread(self._starts.wait_for_all)
        await asyncio.to_thread(self.end_lost, host_id)
        leaving_ids = frozenset(await self._leaving_ids())

        def undefine(handle: libvirt.virConnect) -> None:
            for record in self._lost(host_id):
                if record.server_id not in leaving_ids and self._is_over(record):
                    _undefine(handle, record)

        await self._driver.call("undefine domains", undefine, timeout_s=_UNDEFINE_TIMEOUT_S)

    def _lost(self, host_id: str) -> list[ServerRecord]:
        """Records of servers that have no business on this host."""
        lost = []
        for item in self._etcd.list(SERVERS).items:
            try:
                record = decode_record(item.key, item.value)
            except BadRecord as error:
                _log.error("%s", error.message)
                continue
            owner = record.owner
            arriving = owner.phase is OwnerPhase.MIGRATING and owner.target_host_id == host_id
            if owner.host_id != host_id and not arriving:
                lost.append(record)
        return lost

    def _is_over(self, record: ServerRecord) -> bool:
        """Whether nobody asks this host about the server any more, as the source of a move."""
        if record.owner.phase is OwnerPhase.SETTLED:
            return True
        stored = self._etcd.get(MIGRATIONS + record.owner.migration_id)
        if stored is None:
            return False
        try:
            return msgspec.json.decode(stored.value, type=Migration).kind == "rescue"
        except msgspec.DecodeError:
            return False


def _undefine(handle: libvirt.virConnect, record: ServerRecord) -> None:
    domain = find_domain(handle, record.server_id)
    if domain is None:
        return
    _log.info("%r is undefined here: it belongs to the host %s", record.name, record.owner.host_id)
    try:
        domains.undefine(handle, record.server_id)
    except libvirt.libvirtError as error:
        _log.warning("%r is not undefined: %s", record.name, error)


def _wait_until_gone(guests: Collection[Process]) -> None:
    until_s = time.monotonic() + _DEATH_S
    while left := [guest for guest in guests if not is_gone(guest)]:
        if time.monotonic() > until_s:
            raise GodwitError(
                ErrorCode.INTERNAL,
                f"the guest {left[0].server_id} (process {left[0].pid}) was killed and does not "
                "die: this host does not come back before it has",
            )
        time.sleep(_POLL_S)
