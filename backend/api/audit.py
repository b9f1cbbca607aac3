"""What people did: each route that acts enters it by :func:`audited`, and one shows all of it."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, cast

import msgspec
from litestar import get

from backend.api.access import CallerRequest
from backend.api.context import Context, Injected
from backend.fleet.known import Fleet
from backend.fleet.names import find_host, find_server
from backend.moments import now_ms
from wire.audit import AuditEntry, AuditObject, Parameter
from wire.errors import ErrorCode, GodwitError
from wire.keys import AUDIT

ArgsT = ParamSpec("ArgsT")
AnswerT = TypeVar("AnswerT")

_TOLD_ELSEWHERE = {"hosts", "confirmed", "host_name"}
"""Fields of bodies that name, or type once more, what the entry's objects are."""
_FREE_TEXT = "reason"
"""The only field of bodies that may say anything, at any length; others name what there is."""
_LONGEST = 1_000
"""Letters of it."""


def audited(
    verb: str,
) -> Callable[[Callable[ArgsT, Awaitable[AnswerT]]], Callable[ArgsT, Awaitable[AnswerT]]]:
    """Have each call of a route that changes something be entered in the audit.

    The route has ``request`` and ``context``; what it is about follows from the parameter of its
    path, what was given besides from its body.

    Args:
        verb: as the command line calls it.
    """

    def of_route(
        route: Callable[ArgsT, Awaitable[AnswerT]],
    ) -> Callable[ArgsT, Awaitable[AnswerT]]:
        @wraps(route)
        async def entered(*args: ArgsT.args, **kwargs: ArgsT.kwargs) -> AnswerT:
            context = cast("Context", kwargs["context"])
            with context.audit.entered(_entry(verb, context.fleet, kwargs)):
                return await route(*args, **kwargs)

        return entered

    return of_route


@get("/audit")
async def audit(context: Injected) -> tuple[AuditEntry, ...]:
    """List what people did, as far back as it is kept, newest first."""
    if reason := context.fleet.etcd_errors.get(AUDIT):
        raise GodwitError(ErrorCode.ETCD_UNREACHABLE, f"the audit is not known now: {reason}")
    return context.publisher.newest_audit()


def _entry(verb: str, fleet: Fleet, given: Mapping[str, Any]) -> AuditEntry:
    request: CallerRequest = given["request"]
    ids = {name: given[name] for name in ("migration", "evacuation") if name in given}
    return AuditEntry(
        entry_id=secrets.token_hex(6),
        at_ms=now_ms(),
        user=request.user.name,
        role=request.user.role,
        verb=verb,
        objects=_objects(fleet, given),
        parameters=_parameters(given.get("data")) | ids,
    )


def _objects(fleet: Fleet, given: Mapping[str, Any]) -> tuple[AuditObject, ...]:
    """What an act is about; what nothing is called is refused by the act itself."""
    if (migration := fleet.migrations.get(given.get("migration", ""))) is not None:
        return (_object("server", migration.server_id, migration.server_name),)
    if (evacuation := fleet.evacuations.get(given.get("evacuation", ""))) is not None:
        return (_object("host", evacuation.host_id, evacuation.host_name),)
    try:
        if "server" in given:
            server = find_server(fleet, given["server"])
            return (_object("server", server.server_id, server.name),)
        names = (given["host"],) if "host" in given else getattr(given.get("data"), "hosts", ())
        hosts = [find_host(fleet, name) for name in names]
    except GodwitError:
        return ()
    return tuple(_object("host", one.host_id, one.name) for one in hosts)


def _object(kind: Literal["host", "server"], object_id: str, name: str) -> AuditObject:
    return AuditObject(kind=kind, object_id=object_id, name=name)


def _parameters(body: msgspec.Struct | None) -> dict[str, Parameter]:
    """What was given in a body, options of a move as if they stood in it by themselves."""
    told: dict[str, Parameter] = {}
    for name, value in _given(body).items():
        if isinstance(value, msgspec.Struct):
            told |= _parameters(value)
        elif name not in _TOLD_ELSEWHERE:
            told[name] = value if isinstance(value, bool | int) else _words(value)
    if _FREE_TEXT in told:
        told[_FREE_TEXT] = _cut(str(told[_FREE_TEXT]))
    return told


def _given(body: msgspec.Struct | None) -> dict[str, Any]:
    """The fields of a body that are not left to their defaults."""
    if body is None:
        return {}
    return {
        field.name: value
        for field in msgspec.structs.fields(body)
        if (value := getattr(body, field.name)) != field.default
    }


def _words(value: object) -> str:
    """One parameter: ``db-1, web-2``, or of edits ``server db-1, target kvm-03; server web-2``."""
    if isinstance(value, msgspec.Struct):
        return ", ".join(f"{name} {_words(one)}" for name, one in _given(value).items())
    if isinstance(value, tuple):
        of_structs = any(isinstance(one, msgspec.Struct) for one in value)
        return ("; " if of_structs else ", ").join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


ROUTES = [audit]
