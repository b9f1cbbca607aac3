"""What people's acts on evacuations work with."""

import msgspec

from backend.evacuations.planning.planner import Sources
from backend.evacuations.records import Evacuations, not_found
from backend.evacuations.running.evacuator import Evacuator
from backend.fleet.known import Fleet
from backend.leader import Leadership
from backend.migrations.acting import check_acting
from wire.evacuation import Evacuation


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """Fleet model, leadership, what plans are made from, records, and the runner with its lock."""

    fleet: Fleet
    leadership: Leadership
    sources: Sources
    records: Evacuations
    evacuator: Evacuator

    def check_acting(self) -> None:
        """Refuse to act where another backend does.

        Raises:
            GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
        """
        check_acting(self.fleet, self.leadership)

    def found(self, evacuation_id: str) -> Evacuation:
        """The record of an evacuation that is to be changed.

        Raises:
            GodwitError: NOT_FOUND, NOT_LEADING or ETCD_UNREACHABLE.
        """
        self.check_acting()
        known = self.fleet.evacuations.get(evacuation_id)
        if known is None:
            raise not_found(evacuation_id)
        return known

    def look_soon(self) -> None:
        """Have the runner look at once."""
        self.fleet.moves_changed.set()
