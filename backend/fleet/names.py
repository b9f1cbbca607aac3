"""Finding a host, a server or a migration by what a person typed."""

from collections.abc import Mapping
from typing import TypeVar

from backend.fleet.known import Fleet
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostFacts, ServerRecord

FoundT = TypeVar("FoundT")


def find_server(fleet: Fleet, name_or_id: str) -> ServerRecord:
    """Find a server by id or exact name.

    Raises:
        GodwitError: NOT_FOUND, AMBIGUOUS when several servers have this name, or
            ETCD_UNREACHABLE when none is known and etcd does not answer.
    """
    if name_or_id in fleet.records:
        return fleet.records[name_or_id]
    named = [one for one in fleet.records.values() if one.name == name_or_id]
    return _only(fleet, "server", name_or_id, {one.server_id: one for one in named})


def find_host(fleet: Fleet, name_or_id: str) -> HostFacts:
    """Find a host by id or exact name.

    Raises:
        GodwitError: NOT_FOUND, AMBIGUOUS or ETCD_UNREACHABLE, as for servers.
    """
    if name_or_id in fleet.facts:
        return fleet.facts[name_or_id]
    named = [one for one in fleet.facts.values() if one.name == name_or_id]
    return _only(fleet, "host", name_or_id, {one.host_id: one for one in named})


def _only(fleet: Fleet, kind: str, wanted: str, found: Mapping[str, FoundT]) -> FoundT:
    if not found and fleet.etcd_error:
        raise GodwitError(
            ErrorCode.ETCD_UNREACHABLE, f"{fleet.etcd_error}; no {kind} {wanted!r} is known so far"
        )
    if not found:
        raise GodwitError(ErrorCode.NOT_FOUND, f"no {kind} is called {wanted!r}")
    if len(found) > 1:
        ids = " and ".join(sorted(found))
        raise GodwitError(
            ErrorCode.AMBIGUOUS, f"{len(found)} {kind}s are called {wanted!r}; use an id: {ids}"
        )
    return next(iter(found.values()))
