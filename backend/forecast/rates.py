"""How fast bytes leave and enter a host: as moves have shown it, else as its card says."""

from backend.fleet.known import Fleet
from backend.migrations.jobs import Jobs
from wire.forecast import LinkRate


class Rates:
    """What is known of links now; made anew for each question, for it keeps nothing itself."""

    def __init__(self, fleet: Fleet, jobs: Jobs) -> None:
        self._fleet = fleet
        self._jobs = jobs

    def out_of(self, host_id: str) -> LinkRate | None:
        """How fast bytes leave a host; None if nobody knows."""
        return self._card(host_id)

    def into(self, host_id: str) -> LinkRate | None:
        """How fast bytes enter a host; None if nobody knows."""
        return self._card(host_id)

    def sending(self, host_id: str) -> int:
        """Bytes per second that moves send out of a host now, memory and disks together."""
        moves = (
            one
            for one in self._fleet.migrations.values()
            if one.source_host_id == host_id and not one.state.ended
        )
        latest = (self._jobs.samples(one.migration_id)[-1:] for one in moves)
        return sum(
            each.bandwidth_bytes_per_s + each.disk_bandwidth_bytes_per_s
            for samples in latest
            for each in samples
        )

    def _card(self, host_id: str) -> LinkRate | None:
        facts = self._fleet.facts.get(host_id)
        if facts is None or not facts.link_bytes_per_s:
            return None
        return LinkRate(bytes_per_s=facts.link_bytes_per_s)
