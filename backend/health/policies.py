"""What operators decide about hosts and servers, written by the leading backend alone."""

import logging
from collections.abc import Callable

import msgspec

from backend.fleet.known import Fleet
from backend.fleet.names import find_host, find_server
from backend.leader import Leadership
from backend.leader_writes import LeaderWrites
from backend.migrations.acting import check_acting
from wire import keys
from wire.errors import bad_request
from wire.fleet import HostFacts, HostPolicy, ServerPolicy, ServerRecord
from wire.rescue import HostPolicyChange, ServerPolicyChange

_log = logging.getLogger(__name__)


class Policies:
    """Takes requests from the API. Successful writes are put into the fleet model at once.

    Every call raises GodwitError besides what it tells itself: NOT_FOUND, AMBIGUOUS, NOT_LEADING,
    ETCD_UNREACHABLE, or CONFLICT when somebody else changes the same all the time, or what
    etcd holds cannot be read.
    """

    def __init__(self, etcd: LeaderWrites, fleet: Fleet, leadership: Leadership) -> None:
        self._etcd = etcd
        self._fleet = fleet
        self._leadership = leadership

    async def change_host(
        self, host: str, change: HostPolicyChange, *, requested_by: str
    ) -> HostFacts:
        """Change what is done when a host dies or is shut down; what is not given stays.

        Raises:
            GodwitError: BAD_REQUEST for a change of nothing, or when shutdown would be enabled
                without down.
        """
        check_acting(self._fleet, self._leadership)
        facts = find_host(self._fleet, host)
        given = {
            name: value
            for name in change.__struct_fields__
            if (value := getattr(change, name)) is not None
        }
        if not given:
            raise bad_request(
                "nothing to change: give auto_migrate_on_host_down or auto_migrate_on_host_shutdown"
            )

        def changed(known: HostPolicy) -> HostPolicy:
            wanted = msgspec.structs.replace(known, **given)
            check_host_policy(facts.name, wanted)
            return wanted

        await self._change(facts.host_id, changed)
        said = ", ".join(f"{name} {_word(enabled=value)}" for name, value in given.items())
        _log.info("%s sets of host %s: %s", requested_by, facts.name, said)
        return facts

    async def set_maintenance(self, host: str, *, on: bool, requested_by: str) -> HostFacts:
        """Have a host take no servers any more, or take them again."""
        check_acting(self._fleet, self._leadership)
        facts = find_host(self._fleet, host)
        if await self._change(
            facts.host_id, lambda known: msgspec.structs.replace(known, maintenance=on)
        ):
            word = "begins" if on else "ends"
            _log.info("%s %s maintenance of host %s", requested_by, word, facts.name)
        return facts

    async def change_server(
        self, server: str, change: ServerPolicyChange, *, requested_by: str
    ) -> ServerRecord:
        """Change when a server's turn comes among those of a host that died."""
        check_acting(self._fleet, self._leadership)
        record = find_server(self._fleet, server)
        key = keys.SERVER_POLICIES + record.server_id
        priority = change.rescue_priority
        told = await self._etcd.change(
            key,
            ServerPolicy,
            lambda known: msgspec.structs.replace(known, rescue_priority=priority),
            absent=ServerPolicy(),
        )
        if told.changed:
            self._fleet.written[key] = told.revision
            self._fleet.put_server_policy(record.server_id, told.record)
        _log.info("%s sets of server %s: rescue_priority %s", requested_by, record.name, priority)
        return record

    async def _change(self, host_id: str, change: Callable[[HostPolicy], HostPolicy]) -> bool:
        """Change a host's policy; whether it is another one now."""
        key = keys.POLICIES + host_id
        told = await self._etcd.change(key, HostPolicy, change, absent=HostPolicy())
        if told.changed:
            self._fleet.written[key] = told.revision
            self._fleet.put_policy(host_id, told.record)
        return told.changed


def check_host_policy(name: str, policy: HostPolicy) -> None:
    """Refuse a policy that moves servers away at shutdown, but not at death.

    The rule is climc's: whoever enables the one must have enabled the other.

    Raises:
        GodwitError: BAD_REQUEST.
    """
    if policy.auto_migrate_on_host_shutdown and not policy.auto_migrate_on_host_down:
        raise bad_request(
            f"auto_migrate_on_host_shutdown of {name} would be enabled with "
            "auto_migrate_on_host_down disabled, and needs it: enable both, or disable both"
        )


def _word(*, enabled: bool) -> str:
    return "enable" if enabled else "disable"
