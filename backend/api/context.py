"""What the routes work on."""

import msgspec
from litestar.di import NamedDependency

from backend.agents import Agents
from backend.audit.entries import Audit
from backend.duties import Faults
from backend.evacuations.desk import EvacuationDesk
from backend.evacuations.steering import Steering
from backend.events import Broadcaster
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.health.policies import Policies
from backend.health.report import Reporter
from backend.leader import Leadership
from backend.migrations.acts import Acts
from backend.migrations.desk import Desk
from backend.migrations.forgetting import Forgetter
from backend.migrations.jobs import Jobs
from backend.migrations.settling import Settler
from backend.publish import Publisher
from backend.rescue.desk import RescueDesk
from backend.tokens import Token
from wire.console import BackendStatus, FleetSnapshot


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The running backend as the routes see it."""

    version: str
    fleet: Fleet
    agents: Agents
    jobs: Jobs
    publisher: Publisher
    broadcaster: Broadcaster
    comparisons: Comparisons
    desk: Desk
    acts: Acts
    settler: Settler
    forgetter: Forgetter
    policies: Policies
    reporter: Reporter
    rescue_desk: RescueDesk
    evacuation_desk: EvacuationDesk
    steering: Steering
    audit: Audit
    leadership: Leadership
    faults: Faults

    def status(self, caller: Token) -> BackendStatus:
        """How this backend is, for one caller."""
        return BackendStatus(
            version=self.version,
            role=caller.role,
            token_name=caller.name,
            etcd_ok=not self.fleet.etcd_error,
            etcd_error=self.fleet.etcd_error,
            leading=self.leadership.leading,
            rescue_guard=self.fleet.guard,
            failing_duties=self.faults.failing,
        )

    def snapshot(self, caller: Token) -> FleetSnapshot:
        """Everything as of the latest event."""
        views = self.publisher
        return FleetSnapshot(
            status=self.status(caller),
            hosts=tuple(sorted(views.hosts.values(), key=lambda host: host.facts.name)),
            servers=tuple(sorted(views.servers.values(), key=lambda server: server.name)),
            migrations=views.newest_migrations(),
            incidents=views.newest_incidents(),
            evacuations=views.newest_evacuations(),
        )


Injected = NamedDependency[Context]
"""How a route asks for its context: by a parameter that is called ``context``."""
