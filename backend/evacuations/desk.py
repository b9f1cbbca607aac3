"""Where evacuations and returns are asked for, and hosts are taken out of service and back."""

import logging

from backend.evacuations.beginning import (
    check_confirmed,
    check_deadline,
    check_free,
    check_hosts,
    check_startable,
    evacuation_of,
    holding,
)
from backend.evacuations.means import Means
from backend.evacuations.planning import planner
from backend.evacuations.planning.queue import PlanQueue
from backend.fleet.names import find_host
from backend.health.policies import Policies
from backend.migrations.checks import check_cap
from wire.errors import conflict
from wire.evacuation import Evacuation, EvacuationKind, Plan, PlanRequest, ReturnRequest
from wire.fleet import HostFacts

_log = logging.getLogger(__name__)


class EvacuationDesk:
    """Takes requests from the API. Only the leading backend acts."""

    def __init__(self, means: Means, policies: Policies) -> None:
        self._means = means
        self._fleet = means.fleet
        self._policies = policies
        self._queue = PlanQueue()

    async def plan(self, request: PlanRequest, *, asked_by: str) -> tuple[Plan, ...]:
        """Plan, and change nothing.

        Raises:
            GodwitError: as :func:`backend.evacuations.planning.planner.plan`; BAD_REQUEST for a
                number of hosts, a cap or a deadline out of its bounds; CONFLICT for one who asks
                for too many at once.
        """
        check_hosts(request.hosts)
        check_cap(request.max_bandwidth_bytes_per_s)
        check_deadline(request.empty_by_ms)
        with self._queue.place(asked_by):
            return await planner.plan(self._means.sources, request)

    async def start(self, request: PlanRequest, *, requested_by: str) -> tuple[Evacuation, ...]:
        """Begin to empty hosts: all of them, or none.

        Each is in maintenance before its first move, and stays so until a person ends that.

        Raises:
            GodwitError: BAD_REQUEST when the hosts' names are not confirmed, or an option is out of
                its bounds; CONFLICT with what refuses, or with who empties a host already.
        """
        self._means.check_acting()
        check_hosts(request.hosts)
        hosts = [find_host(self._fleet, one) for one in request.hosts]
        check_confirmed(hosts, request.confirmed)
        check_cap(request.max_bandwidth_bytes_per_s)
        check_deadline(request.empty_by_ms)
        async with self._means.evacuator.turn():
            for host in hosts:
                check_free(self._fleet, host)
            plans = await planner.plan(self._means.sources, request)
            check_startable(plans)
            begun = [
                evacuation_of(
                    one,
                    options=request.options,
                    max_bandwidth_bytes_per_s=request.max_bandwidth_bytes_per_s,
                    keep_spare=request.keep_spare,
                    empty_by_ms=request.empty_by_ms,
                    requested_by=requested_by,
                )
                for one in plans
            ]
            await self._means.records.begin(begun, maintenance=True)
        return self._told(begun)

    async def plan_return(self, host: str, request: ReturnRequest, *, asked_by: str) -> Plan:
        """Plan to bring back what left a host, and change nothing.

        Raises:
            GodwitError: as :func:`backend.evacuations.planning.planner.plan_return`; BAD_REQUEST
                for a cap out of its bounds; CONFLICT for one who asks for too many at once.
        """
        check_cap(request.max_bandwidth_bytes_per_s)
        with self._queue.place(asked_by):
            return await planner.plan_return(self._means.sources, host, request)

    async def bring_back(
        self, host: str, request: ReturnRequest, *, requested_by: str
    ) -> Evacuation:
        """Begin to bring back what left a host.

        Raises:
            GodwitError: BAD_REQUEST; CONFLICT with what refuses.
        """
        self._means.check_acting()
        facts = find_host(self._fleet, host)
        check_cap(request.max_bandwidth_bytes_per_s)
        async with self._means.evacuator.turn():
            check_free(self._fleet, facts)
            plan = await planner.plan_return(self._means.sources, facts.host_id, request)
            check_startable([plan])
            evacuation = evacuation_of(
                plan,
                options=request.options,
                max_bandwidth_bytes_per_s=request.max_bandwidth_bytes_per_s,
                requested_by=requested_by,
            )
            await self._means.records.begin([evacuation], maintenance=False)
        return self._told([evacuation])[0]

    async def set_maintenance(self, host: str, *, on: bool, requested_by: str) -> HostFacts:
        """Have a host take no servers any more, or take them again.

        Raises:
            GodwitError: CONFLICT while an evacuation holds the host.
        """
        self._means.check_acting()
        facts = find_host(self._fleet, host)
        async with self._means.evacuator.turn():
            known = self._fleet.open_evacuation(facts.host_id)
            if not on and known is not None and known.kind is not EvacuationKind.RETURN:
                raise conflict(
                    f"{holding(known)}; godwit evacuation-cancel {known.evacuation_id} ends that",
                )
            return await self._policies.set_maintenance(
                facts.host_id, on=on, requested_by=requested_by
            )

    def _told(self, begun: list[Evacuation]) -> tuple[Evacuation, ...]:
        """Have the leader look at once."""
        for one in begun:
            _log.info(
                "%s begins to %s %s: evacuation %s with %d servers",
                one.requested_by,
                "fill" if one.kind is EvacuationKind.RETURN else "empty",
                one.host_name,
                one.evacuation_id,
                len(one.servers),
            )
        self._means.look_soon()
        return tuple(begun)
