"""Keeps etcd in step with libvirt: this host's facts, its servers' records and definitions."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import NoReturn

import msgspec

from hostagent.facts import notably_different
from hostagent.fencing import Fencing
from hostagent.inventory import Inventory, Server
from hostagent.ownership import BadRecord, Ownership, decode_record, read_record
from hostagent.records import bound_by, is_rescuable, new_record, renewed_record
from wire.errors import GodwitError
from wire.etcd import Condition, Etcd, Write
from wire.fleet import HostFacts, OwnerPhase, PowerState
from wire.keys import DEFINITIONS, FACTS, HEALTH, SERVERS

_log = logging.getLogger(__name__)

_RECONCILE_S = 10.0
_DISPUTE_S = 1.0
"""While a server is on here whose record names another host: it has arrived, and the record will
follow."""
_RETRY_S = 2.0
_SETTLE_S = 0.05
"""Events come in bursts; one pass answers them together."""


class Register:
    """Writes what this host may write, and only on change.

    A domain without a record is adopted with generation 1. Records of other owners are not
    touched. A record of ours whose domain was removed is deleted, unless a migration holds it; one
    whose domain this libvirtd never had is kept as lost: its definition may be the only one.

    Records change only while this host's own health key is there: a server that can be started
    elsewhere from now on has a whole lease before that is done.
    """

    def __init__(
        self,
        etcd: Etcd,
        inventory: Inventory,
        ownership: Ownership,
        fencing: Fencing,
        *,
        key_revision: Callable[[], int],
        host_shuts_down: Callable[[], bool],
    ) -> None:
        self._etcd = etcd
        self._inventory = inventory
        self._ownership = ownership
        self._fencing = fencing
        self._key_revision = key_revision
        self._host_shuts_down = host_shuts_down
        self._bound_ids: set[str] = set()
        self._wake = asyncio.Event()
        self._switched: dict[str, bool] = {}
        self._facts_written: HostFacts | None = None
        self._definitions_written: dict[str, str] = {}
        self._owned_ids: set[str] = set()
        self._disputed = False
        self._epoch = 0
        self._compared_epoch = 0

    def changed(self) -> None:
        """Facts or servers are no longer as they were."""
        self._wake.set()

    def powered(self, server_id: str, *, on: bool) -> None:
        """Somebody switched a server on or off: that is how it is wanted from now on.

        One that ends because its host does is wanted on as before.
        """
        if not on and self._host_shuts_down():
            return
        self._switched[server_id] = on
        self._wake.set()

    def begin_epoch(self, epoch: int) -> None:
        """The host has a new lease; before its first one nothing is written.

        etcd was away, and may have lost something: nothing that was written is trusted.
        """
        self._epoch = epoch
        self._wake.set()

    async def run(self) -> NoReturn:
        """Write on change, and compare every :data:`_RECONCILE_S`, for ever."""
        told = ""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DISPUTE_S if self._disputed else _RECONCILE_S):
                    await self._wake.wait()
            await asyncio.sleep(_SETTLE_S)
            self._wake.clear()
            facts = self._inventory.facts
            if facts is None or not self._inventory.listed or not self._epoch:
                continue
            servers, unread_ids = dict(self._inventory.servers), set(self._inventory.unread_ids)
            removed_ids = frozenset(self._inventory.removed_ids)
            try:
                writing = asyncio.to_thread(
                    self._write_all, facts, servers, unread_ids, removed_ids
                )
                if not await writing:
                    self._wake.set()
                told = ""
            except GodwitError as error:
                if error.message != told:
                    _log.warning("records not written: %s", error.message)
                told = error.message
                await asyncio.sleep(_RETRY_S)
                self._wake.set()

    def _write_all(
        self,
        facts: HostFacts,
        servers: dict[str, Server],
        unread_ids: set[str],
        removed_ids: frozenset[str],
    ) -> bool:
        """Write what differs; False if a record changed under our hands."""
        epoch = self._epoch
        if self._compared_epoch != epoch:
            self._facts_written = None
            self._definitions_written.clear()
            self._owned_ids |= self._listed_as_ours(facts.host_id)
            self._compared_epoch = epoch
        self._disputed = False
        if self._facts_written is None or notably_different(self._facts_written, facts):
            self._etcd.put(FACTS + facts.host_id, msgspec.json.encode(facts))
            self._facts_written = facts
        done = True
        # who is bound no more loses the right to stay before its record says so, who is bound anew
        # gets it after
        self._bound_ids.clear()
        bound = {one for one in servers if bound_by(servers[one].facts, facts.pools)}
        unknown_ids = unread_ids - servers.keys()
        self._fencing.keep_only(bound | unknown_ids)
        for server_id in servers.keys() | (self._owned_ids - unread_ids):
            try:
                if server_id not in servers:
                    removed = server_id in removed_ids
                    done &= self._forget(facts.host_id, server_id, removed=removed)
                elif not servers[server_id].facts.incoming:
                    done &= self._write_server(facts, servers[server_id])
            except BadRecord as error:
                _log.error("%s", error.message)
        self._fencing.let_stay((self._fencing.may_stay & unknown_ids) | self._bound_ids)
        return done

    def _listed_as_ours(self, host_id: str) -> set[str]:
        ours = set()
        for item in self._etcd.list(SERVERS).items:
            server_id = item.key.removeprefix(SERVERS)
            with contextlib.suppress(BadRecord):
                if decode_record(item.key, item.value).owner.host_id == host_id:
                    ours.add(server_id)
        return ours

    def _write_server(self, facts: HostFacts, server: Server) -> bool:
        host_id = facts.host_id
        server_id = server.facts.server_id
        switched = self._switched.get(server_id)
        record, revision = read_record(self._etcd, server_id)
        if record is not None:
            self._ownership.saw(record)
        if record is None:
            _log.info("%r is adopted", server.facts.name)
            generation = self._ownership.next_generation(server_id)
            fresh = new_record(
                server,
                host_id=host_id,
                epoch=self._epoch,
                generation=generation,
                pools=facts.pools,
            )
        elif record.owner.host_id == host_id:
            fresh = renewed_record(
                record,
                server,
                switched=switched,
                pools=facts.pools,
                host_shuts_down=self._host_shuts_down(),
            )
        else:
            self._disputed |= server.facts.state is not PowerState.SHUT_OFF
            self._owned_ids.discard(server_id)
            self._definitions_written.pop(server_id, None)
            self._switched.pop(server_id, None)
            return True
        writes = []
        if fresh != record:
            writes.append(Write(key=SERVERS + server_id, value=msgspec.json.encode(fresh)))
        if server.saved_xml != self._definition_written(server_id):
            writes.append(Write(key=DEFINITIONS + server_id, value=server.saved_xml.encode()))
        if is_rescuable(fresh) and not (record is not None and is_rescuable(record)):
            # its guest lost the right to stay above: the fence has to be in time for it
            self._fencing.require_time_left()
        if writes and not self._written(host_id, server_id, revision, writes):
            return False
        self._definitions_written[server_id] = server.saved_xml
        self._owned_ids.add(server_id)
        if fresh.bound_by and fresh.owner.phase is OwnerPhase.SETTLED:
            self._bound_ids.add(server_id)
        if self._switched.get(server_id) == switched:
            self._switched.pop(server_id, None)
        return True

    def _definition_written(self, server_id: str) -> str | None:
        if server_id not in self._definitions_written:
            stored = self._etcd.get(DEFINITIONS + server_id)
            return None if stored is None else stored.value.decode()
        return self._definitions_written[server_id]

    def _forget(self, host_id: str, server_id: str, *, removed: bool) -> bool:
        """Delete the record of a removed domain, or keep it as lost; not if a migration has it."""
        record, revision = read_record(self._etcd, server_id)
        if record is None or record.owner.host_id != host_id:
            self._owned_ids.discard(server_id)
            return True
        if record.owner.phase is not OwnerPhase.SETTLED:
            return True
        if removed:
            _log.info("%r is forgotten: it was removed from libvirt", record.name)
            fresh = None
            writes = [Write(key=DEFINITIONS + server_id, value=None)]
        else:
            _log.warning(
                "%r is lost: its record is kept, and libvirt has no such domain", record.name
            )
            owner = msgspec.structs.replace(record.owner, phase=OwnerPhase.LOST)
            fresh = msgspec.json.encode(msgspec.structs.replace(record, owner=owner))
            writes = []
        writes.append(Write(key=SERVERS + server_id, value=fresh))
        return self._written(host_id, server_id, revision, writes)

    def _written(
        self, host_id: str, server_id: str, revision: int, writes: Sequence[Write]
    ) -> bool:
        """Write if the record is as it was read, and this host's own key is there."""
        conditions = [
            Condition(key=SERVERS + server_id, mod_revision=revision),
            Condition(key=HEALTH + host_id, mod_revision=self._key_revision()),
        ]
        return bool(self._etcd.transact(when=conditions, then=writes))
