"""Calls about hosts, servers, their migrations, lost hosts, and who did what."""

from urllib.parse import urlencode

import msgspec

from tui.transport import Transport, path_of
from wire.audit import AuditEntry
from wire.candidates import Candidate
from wire.console import BackendStatus, ServerRemoved, SettleRequest
from wire.fleet import HostView, ServerView
from wire.migration import (
    Migration,
    MigrationDetail,
    MigrationKind,
    MigrationOptions,
    MigrationParameters,
)
from wire.rescue import (
    DeclareOff,
    Disarm,
    HealthReport,
    HostPolicyChange,
    Incident,
    RescueGuard,
    RescueOptions,
    ServerPolicyChange,
)


class FleetCalls(Transport):
    """What there is, and what is done to one server or one host."""

    async def status(self) -> BackendStatus:
        """Ask who we are for the backend, and whether it reaches etcd."""
        return await self._get("/v1/status", BackendStatus)

    async def hosts(self) -> list[HostView]:
        """List every host."""
        return await self._get("/v1/hosts", list[HostView])

    async def host(self, name_or_id: str) -> HostView:
        """Fetch one host."""
        return await self._get(path_of("host", name_or_id), HostView)

    async def servers(self) -> list[ServerView]:
        """List every server."""
        return await self._get("/v1/servers", list[ServerView])

    async def server(self, name_or_id: str) -> ServerView:
        """Fetch one server."""
        return await self._get(path_of("server", name_or_id), ServerView)

    async def candidates(
        self, server: str, kind: MigrationKind, options: MigrationOptions
    ) -> list[Candidate]:
        """List every host with each filter's verdict on such a migration of this server.

        Of the options only the skipped checks matter.
        """
        asked = {
            "kind": kind,
            "skip_cpu_check": str(options.skip_cpu_check).lower(),
            "skip_kernel_check": str(options.skip_kernel_check).lower(),
        }
        path = f"{path_of('server', server)}/candidates?{urlencode(asked)}"
        return await self._get(path, list[Candidate])

    async def migrate(
        self, server: str, kind: MigrationKind, options: MigrationOptions
    ) -> Migration:
        """Begin a live or cold migration; it goes on in the backend whatever happens to us."""
        verb = "live-migrate" if kind == "live" else "migrate"
        path = f"{path_of('server', server)}/{verb}"
        return await self._post(path, Migration, msgspec.json.encode(options))

    async def rescue(self, server: str, options: RescueOptions) -> Migration:
        """Begin to bring a server of a host that is down to another one."""
        body = msgspec.json.encode(options)
        return await self._post(path_of("server", server) + "/rescue", Migration, body)

    async def set_server_policy(self, server: str, changed: ServerPolicyChange) -> ServerView:
        """Change what is decided about a server."""
        body = msgspec.json.encode(changed)
        return await self._post(path_of("server", server) + "/policy", ServerView, body)

    async def set_host_policy(self, host: str, changed: HostPolicyChange) -> HostView:
        """Change what is decided about a host."""
        body = msgspec.json.encode(changed)
        return await self._post(path_of("host", host) + "/policy", HostView, body)

    async def declare_off(self, host: str, typed_name: str) -> Incident:
        """Give our word that a host is switched off; its name is typed once more."""
        body = msgspec.json.encode(DeclareOff(host_name=typed_name))
        return await self._post(path_of("host", host) + "/declare-off", Incident, body)

    async def health(self) -> HealthReport:
        """Ask etcd, through the backend, how every host is at this moment."""
        return await self._get("/v1/health", HealthReport)

    async def arm(self) -> RescueGuard:
        """Let servers of dead hosts be started elsewhere without being asked."""
        return await self._post("/v1/rescue/arm", RescueGuard, b"")

    async def disarm(self, reason: str) -> RescueGuard:
        """Stop rescues that nobody asks for, until armed again."""
        body = msgspec.json.encode(Disarm(reason=reason))
        return await self._post("/v1/rescue/disarm", RescueGuard, body)

    async def incidents(self) -> list[Incident]:
        """List lost hosts, newest first."""
        return await self._get("/v1/incidents", list[Incident])

    async def incident(self, incident_id: str) -> Incident:
        """Fetch the report of one lost host."""
        return await self._get(path_of("incident", incident_id), Incident)

    async def audit(self) -> list[AuditEntry]:
        """List what people did, newest first."""
        return await self._get("/v1/audit", list[AuditEntry])

    async def set_maintenance(self, host: str, *, on: bool) -> HostView:
        """Take no servers on a host any more, or take them again."""
        act = "maintenance" if on else "exit-maintenance"
        return await self._post(f"{path_of('host', host)}/{act}", HostView, b"")

    async def forget(self, server: str) -> ServerRemoved:
        """Delete what is kept of a server that no host has (operator)."""
        return await self._post(path_of("server", server) + "/forget", ServerRemoved, b"")

    async def settle(self, server: str, keep_host: str) -> ServerView:
        """Leave exactly one copy of a server that a failed migration left in doubt."""
        body = msgspec.json.encode(SettleRequest(keep_host=keep_host))
        return await self._post(path_of("server", server) + "/settle", ServerView, body)

    async def migrations(self) -> list[Migration]:
        """List migrations, newest first."""
        return await self._get("/v1/migrations", list[Migration])

    async def migration(self, migration_id: str) -> MigrationDetail:
        """Fetch one migration with its curve."""
        return await self._get(path_of("migration", migration_id), MigrationDetail)

    async def cancel(self, migration_id: str) -> Migration:
        """Ask for a migration's end; the guest stays where it is."""
        return await self._act(migration_id, "cancel")

    async def set_parameters(self, migration_id: str, changed: MigrationParameters) -> Migration:
        """Change the cap or the downtime limit of a migration under way."""
        return await self._act(migration_id, "parameters", msgspec.json.encode(changed))

    async def switch_to_postcopy(self, migration_id: str) -> Migration:
        """Let the guest run on the target now, and fetch the rest of its memory there."""
        return await self._act(migration_id, "postcopy")

    async def recover_postcopy(self, migration_id: str) -> Migration:
        """Go on with a post-copy migration whose link broke."""
        return await self._act(migration_id, "recover")

    async def remove_kept(self, migration_id: str) -> Migration:
        """Remove what a failed migration left on its target because that was asked for."""
        return await self._act(migration_id, "remove-kept")

    async def _act(self, migration_id: str, act: str, body: bytes = b"") -> Migration:
        return await self._post(f"{path_of('migration', migration_id)}/{act}", Migration, body)
