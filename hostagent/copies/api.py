"""Routes about servers' files; the table is in :mod:`wire.agent`."""

from litestar import get, post
from litestar.handlers import HTTPRouteHandler

from hostagent.agent import Agent
from wire.agent import GuestTruth, Job, ServerCommand
from wire.storage import (
    DefineCommand,
    DiscardCommand,
    Discarded,
    Export,
    ExportCommand,
    Incoming,
    Leftovers,
    PrepareCommand,
    PullCommand,
    ReleaseCommand,
    ServerStorage,
)


@get("/servers/{server_id:str}/storage")
async def storage(agent: Agent, server_id: str) -> ServerStorage:
    """Definition, snapshots and files of a server."""
    return await agent.copies.source.storage(server_id)


@post("/servers/{server_id:str}/start", status_code=200)
async def start(agent: Agent, server_id: str, data: ServerCommand) -> GuestTruth:
    """Start a stopped server."""
    return await agent.copies.start(server_id, data)


@post("/servers/{server_id:str}/release", status_code=200)
async def release(agent: Agent, server_id: str, data: ReleaseCommand) -> GuestTruth:
    """Give up a server that has moved away."""
    return await agent.copies.source.release(server_id, data)


@post("/servers/{server_id:str}/remove", status_code=200)
async def remove(agent: Agent, server_id: str, data: ServerCommand) -> GuestTruth:
    """End and undefine a copy that another host owns."""
    return await agent.copies.remove(server_id, data)


@post("/pulls", status_code=202)
async def pull(agent: Agent, data: PullCommand) -> Job:
    """Copy a stopped server's files, or go on with that."""
    return await agent.copies.target.pull(data)


@post("/incoming", status_code=200)
async def prepare(agent: Agent, data: PrepareCommand) -> Incoming:
    """Make room for a server."""
    return await agent.copies.target.prepare(data)


@post("/incoming/{migration_id:str}/define", status_code=200)
async def define(agent: Agent, migration_id: str, data: DefineCommand) -> GuestTruth:
    """Define the server with the files that have come."""
    return await agent.copies.target.define(migration_id, data)


@post("/incoming/{migration_id:str}/complete", status_code=204)
async def complete(agent: Agent, migration_id: str) -> None:
    """The files belong to the server now."""
    await agent.copies.target.complete(migration_id)


@post("/incoming/{migration_id:str}/discard", status_code=200)
async def discard(agent: Agent, migration_id: str, data: DiscardCommand) -> Discarded:
    """Remove or keep aside what was made here."""
    return await agent.copies.clearing.discard(migration_id, data)


@post("/incoming/{migration_id:str}/remove-kept", status_code=204)
async def remove_kept(agent: Agent, migration_id: str) -> None:
    """Remove what was kept."""
    await agent.copies.clearing.remove_kept(migration_id)


@post("/exports", status_code=200)
async def export(agent: Agent, data: ExportCommand) -> Export:
    """Open a stopped server's files."""
    return await agent.copies.source.export(data)


@get("/exports/{migration_id:str}")
async def exported(agent: Agent, migration_id: str) -> Export:
    """An export, with the digests that are known."""
    return await agent.copies.source.exported(migration_id)


@post("/exports/{migration_id:str}/close", status_code=200)
async def close(agent: Agent, migration_id: str) -> Export:
    """Close the files."""
    return await agent.copies.source.close(migration_id)


@get("/leftovers/{migration_id:str}")
async def leftovers(agent: Agent, migration_id: str) -> Leftovers:
    """Whether anything is still to be cleared up here after a migration."""
    return await agent.copies.leftovers(migration_id)


COPY_ROUTES: tuple[HTTPRouteHandler, ...] = (
    storage,
    start,
    release,
    remove,
    pull,
    prepare,
    define,
    complete,
    discard,
    remove_kept,
    export,
    exported,
    close,
    leftovers,
)
"""What :mod:`hostagent.api` adds to its own."""
