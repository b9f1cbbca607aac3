"""Routes that begin, show and cancel migrations."""

from litestar import get, post
from litestar.params import FromPath, JSONBody

from backend.api.access import CallerRequest, operators_only
from backend.api.context import Context, Injected
from wire.errors import ErrorCode, GodwitError
from wire.migration import Migration, MigrationDetail, MigrationOptions, Sample


@post("/servers/{server:str}/live-migrate", status_code=202, guards=[operators_only])
async def live_migrate(
    server: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[MigrationOptions | None] = None,
) -> Migration:
    """Begin a live migration, without a body by the default options; it needs no one to wait."""
    options = data or MigrationOptions()
    return await context.desk.live_migrate(server, options, requested_by=request.user.name)


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
async def cancel(migration: FromPath[str], request: CallerRequest, context: Injected) -> Migration:
    """Ask for a migration's end; the guest stays where it is."""
    cancelled = await context.desk.cancel(migration, requested_by=request.user.name)
    return context.publisher.migration_view(cancelled)


async def _remembered(context: Context, migration: Migration) -> tuple[Sample, ...]:
    """The curve as the source's agent remembers it; empty if it does not, or does not answer."""
    try:
        agent = context.agents.of(migration.source_host_id, migration.source_host_name)
        return (await agent.job(migration.migration_id)).samples
    except GodwitError:
        return ()


ROUTES = [live_migrate, migrations, migration, cancel]
