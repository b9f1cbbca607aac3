"""Routes that begin, show and cancel migrations."""

from litestar import get, post
from litestar.params import FromPath, JSONBody

from backend.api.access import CallerRequest, operators_only
from backend.api.context import Injected
from backend.fleet.names import find_server
from wire.errors import ErrorCode, GodwitError
from wire.migration import Migration, MigrationDetail, MigrationOptions


@post("/servers/{server:str}/live-migrate", status_code=202, guards=[operators_only])
async def live_migrate(
    server: FromPath[str],
    request: CallerRequest,
    context: Injected,
    data: JSONBody[MigrationOptions | None] = None,
) -> Migration:
    """Begin a live migration, without a body by the default options; it needs no one to wait."""
    context.desk.check_acting()
    record = find_server(context.fleet, server)
    options = data or MigrationOptions()
    return await context.desk.live_migrate(record, options, requested_by=request.user.name)


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
    return MigrationDetail(migration=found, samples=context.jobs.samples(migration))


@post("/migrations/{migration:str}/cancel", status_code=202, guards=[operators_only])
async def cancel(migration: FromPath[str], request: CallerRequest, context: Injected) -> Migration:
    """Ask for a migration's end; the guest stays where it is."""
    return await context.desk.cancel(migration, requested_by=request.user.name)


ROUTES = [live_migrate, migrations, migration, cancel]
