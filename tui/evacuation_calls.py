"""Calls about emptying hosts and filling them again."""

import msgspec

from tui.transport import Transport, path_of
from wire.evacuation import (
    Evacuation,
    EvacuationChange,
    Plan,
    PlanRequest,
    ReturnRequest,
    ServersOf,
)


class EvacuationCalls(Transport):
    """Plans, evacuations and returns."""

    async def plan(self, wanted: PlanRequest) -> list[Plan]:
        """Plan how hosts would be emptied, one plan for each; nothing is changed."""
        return await self._post("/v1/evacuations/plan", list[Plan], msgspec.json.encode(wanted))

    async def evacuate(self, wanted: PlanRequest) -> list[Evacuation]:
        """Begin to empty hosts; it goes on in the backend whatever happens to us."""
        return await self._post("/v1/evacuations", list[Evacuation], msgspec.json.encode(wanted))

    async def return_plan(self, host: str, wanted: ReturnRequest) -> Plan:
        """Plan how what left a host would come back to it; nothing is changed."""
        path = path_of("host", host) + "/return-plan"
        return await self._post(path, Plan, msgspec.json.encode(wanted))

    async def bring_back(self, host: str, wanted: ReturnRequest) -> Evacuation:
        """Begin to bring back to a host what left it."""
        path = path_of("host", host) + "/return"
        return await self._post(path, Evacuation, msgspec.json.encode(wanted))

    async def evacuations(self) -> list[Evacuation]:
        """List evacuations and returns, newest first."""
        return await self._get("/v1/evacuations", list[Evacuation])

    async def evacuation(self, evacuation_id: str) -> Evacuation:
        """Fetch one evacuation: its course, or its report once it has ended."""
        return await self._get(path_of("evacuation", evacuation_id), Evacuation)

    async def pause_evacuation(self, evacuation_id: str) -> Evacuation:
        """Let no further move begin; what moves goes on to its end."""
        return await self._steer(evacuation_id, "pause")

    async def resume_evacuation(self, evacuation_id: str) -> Evacuation:
        """Let moves begin again."""
        return await self._steer(evacuation_id, "resume")

    async def cancel_evacuation(self, evacuation_id: str, servers: tuple[str, ...]) -> Evacuation:
        """Cancel the moves of these servers, or with none the whole evacuation."""
        body = msgspec.json.encode(ServersOf(servers=servers))
        return await self._steer(evacuation_id, "cancel", body)

    async def retry_evacuation(self, evacuation_id: str, servers: tuple[str, ...]) -> Evacuation:
        """Move servers again whose moves failed or were cancelled; with none all of them."""
        body = msgspec.json.encode(ServersOf(servers=servers))
        return await self._steer(evacuation_id, "retry", body)

    async def replan_evacuation(self, evacuation_id: str) -> Evacuation:
        """Plan anew what has not begun, with what is known now."""
        return await self._steer(evacuation_id, "replan")

    async def change_evacuation(self, evacuation_id: str, changed: EvacuationChange) -> Evacuation:
        """Change the cap, the deadline or the plan of single servers."""
        return await self._steer(evacuation_id, "change", msgspec.json.encode(changed))

    async def _steer(self, evacuation_id: str, act: str, body: bytes = b"") -> Evacuation:
        return await self._post(f"{path_of('evacuation', evacuation_id)}/{act}", Evacuation, body)
