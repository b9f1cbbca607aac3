"""Routes that begin and show migrations, and those that act on one under way."""

from litestar import get, post
from litestar.params import FromPath, JSONBody

from backend.api.access import CallerRequest, operators_only
from backend.api.audit import audited
from backend.api.context import Context, Injected
from wire.errors import ErrorCode, GodwitError
from wire.migration import (
    Migration,
    MigrationDetail,
    MigrationOptions,
    MigrationParameters,
    Sample,
)


@post("/servers/{server:str}/live-migrate", status_code=202, guards=[operators_only])
@audited("server-live-migrate")
async def live_migrate(
    server: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[MigrationOptions | None] = None,
) -> Migration:
    """Begin a live migration, without a body by the default options; it needs no one to wait."""
    options = data or MigrationOptions()
    return await context.desk.migrate("live", server, options, requested_by=request.user.name)


@post("/servers/{server:str}/migrate", status_code=202, guards=[operators_only])
@audited("server-migrate")
async def migrate(
    server: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[MigrationOptions | None] = None,
) -> Migration:
    """Begin a cold migration, without a body by the default options; it needs no one to wait."""
    options = data or MigrationOptions()
    return await context.desk.migrate("cold", server, options, requested_by=request.user.name)


@get("/migrations")
async def migrations(context: Injected) -> tuple[Migration, ...]:
    """List migrations under way and the latest ended ones, newest first."""
    context.publisher.flush()
    return context.publisher.newest_migrations()


@get("/migrations/{migration:str}")
async def migration(migration: FromPath[str], context: Injected) -> MigrationDetail:
    """Show one migration with its curve."""
    context.publisher.flush()
    found = context.publisher.migrations.get(migration)
    if found is None:
        raise GodwitError(ErrorCode.NOT_FOUND, f"no migration has the id {migration!r}")
    samples = context.jobs.samples(migration) or await _remembered(context, found)
    return MigrationDetail(migration=found, samples=samples)


@post("/migrations/{migration:str}/cancel", status_code=202, guards=[operators_only])
@audited("server-cancel-live-migrate")
async def cancel(migration: FromPath[str], request: CallerRequest, context: Injected) -> Migration:
    """Ask for a migration's end; the guest stays where it is."""
    changed = await context.acts.cancel(migration, requested_by=request.user.name)
    return context.publisher.migration_view(changed)


@post("/migrations/{migration:str}/parameters", status_code=202, guards=[operators_only])
@audited("server-set-live-migrate-params")
async def parameters(
    migration: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[MigrationParameters],
) -> Migration:
    """Change the bandwidth cap or the downtime limit of a migration under way."""
    changed = await context.acts.set_parameters(migration, data, requested_by=request.user.name)
    return context.publisher.migration_view(changed)


@post("/migrations/{migration:str}/postcopy", status_code=202, guards=[operators_only])
@audited("server-switch-to-postcopy")
async def postcopy(
    migration: FromPath[str], request: CallerRequest, context: Injected
) -> Migration:
    """Switch a live migration to post-copy."""
    changed = await context.acts.postcopy(migration, requested_by=request.user.name)
    return context.publisher.migration_view(changed)


@post("/migrations/{migration:str}/recover", status_code=202, guards=[operators_only])
@audited("server-recover-postcopy")
async def recover(migration: FromPath[str], request: CallerRequest, context: Injected) -> Migration:
    """Have a paused post-copy go on."""
    changed = await context.acts.recover(migration, requested_by=request.user.name)
    return context.publisher.migration_view(changed)


@post("/migrations/{migration:str}/remove-kept", status_code=202, guards=[operators_only])
@audited("migration-remove-kept")
async def remove_kept(
    migration: FromPath[str], request: CallerRequest, context: Injected
) -> Migration:
    """Remove what a failed migration left on its target on request."""
    changed = await context.acts.remove_kept(migration, requested_by=request.user.name)
    return context.publisher.migration_view(changed)


async def _remembered(context: Context, migration: Migration) -> tuple[Sample, ...]:
    """The curve as the job's agent remembers it; empty if it does not, or does not answer."""
    cold = migration.kind == "cold"
    host_id = migration.target_host_id if cold else migration.source_host_id
    try:
        agent = context.agents.of(
            host_id, migration.target_host_name if cold else migration.source_host_name
        )
        return (await agent.job(migration.migration_id)).samples
    except GodwitError:
        return ()


ROUTES = [
    live_migrate,
    migrate,
    migrations,
    migration,
    cancel,
    parameters,
    postcopy,
    recover,
    remove_kept,
]
