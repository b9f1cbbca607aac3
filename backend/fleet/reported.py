"""What the agents of the hosts report."""

from backend.fleet.changes import Changes
from backend.moments import now_ms
from wire.agent import AgentSnapshot
from wire.fleet import HostMeters, ServerFacts
from wire.forecast import Dirtying


class AgentLink:
    """What one host's agent said, and whether we still hear it."""

    def __init__(self) -> None:
        self.connected = False
        self.silent = True
        """Not connected for so long that what it said last is no longer told as true."""
        self.reason = "the backend has not reached its agent yet"
        self.meters: HostMeters | None = None
        self.seen_at_ms = 0


class Reported:
    """The reports, by host, and which views a change of them touches."""

    def __init__(self) -> None:
        self.links: dict[str, AgentLink] = {}
        self.reports: dict[str, dict[str, ServerFacts]] = {}
        """By host id and server id: what that host says of it."""
        self.dirtying: dict[str, Dirtying] = {}
        """server_id → how fast it dirties its memory, as a host measured last."""
        self.owned: dict[str, set[str]] = {}
        """host_id → ids of the servers whose records name it as owner."""
        self.changes = Changes()

    def link(self, host_id: str) -> AgentLink:
        """The link to a host's agent, made when first asked for."""
        return self.links.setdefault(host_id, AgentLink())

    def put_snapshot(self, host_id: str, snapshot: AgentSnapshot) -> None:
        """Replace all that a host said of its servers."""
        self.changes.servers.update(self.reports.get(host_id, ()))
        self.reports[host_id] = {server.server_id: server for server in snapshot.servers}
        self.changes.servers.update(self.reports[host_id])
        link = self.link(host_id)
        link.connected, link.silent, link.reason = True, False, ""
        link.meters = snapshot.meters or link.meters
        for measured in snapshot.dirtying:
            self.put_dirtying(measured)
        self.heard(host_id)
        self.host_changed(host_id)

    def put_report(self, host_id: str, server: ServerFacts) -> None:
        """Note what a host says of one server."""
        self.reports.setdefault(host_id, {})[server.server_id] = server
        self.server_changed(server.server_id)

    def drop_report(self, host_id: str, server_id: str) -> None:
        """Note that a host no longer has a server."""
        self.reports.get(host_id, {}).pop(server_id, None)
        self.server_changed(server_id)

    def put_meters(self, host_id: str, meters: HostMeters) -> None:
        """Note a host's volatile figures."""
        self.link(host_id).meters = meters
        self.changes.of(hosts=[host_id])

    def put_dirtying(self, dirtying: Dirtying) -> None:
        """Note what a host measured of a running guest; a measurement that is behind is ignored."""
        known = self.dirtying.get(dirtying.server_id)
        if known is None or known.measured_at_ms <= dirtying.measured_at_ms:
            self.dirtying[dirtying.server_id] = dirtying

    def heard(self, host_id: str) -> None:
        """Note that an agent said something just now."""
        self.link(host_id).seen_at_ms = now_ms()

    def agent_lost(self, host_id: str, reason: str, *, silent: bool) -> None:
        """Note that an agent's stream is down; ``silent`` once its last words no longer count."""
        link = self.link(host_id)
        link.connected, link.silent, link.reason = False, silent, reason
        self.host_changed(host_id)

    def host_changed(self, host_id: str) -> None:
        """Have the views of a host and of its servers made anew."""
        self.changes.placement = True
        self.changes.of(hosts=[host_id], servers=self.owned.get(host_id, ()))

    def server_changed(self, server_id: str) -> None:
        """Have the view of a server made anew."""
        self.changes.of(servers=[server_id])
