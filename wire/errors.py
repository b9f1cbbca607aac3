"""Errors that cross a wire: one sentence for a person, a code for a program."""

from enum import StrEnum

import msgspec

from wire.candidates import Candidate


class ErrorCode(StrEnum):
    """What went wrong, for programs. The HTTP status is in :data:`HTTP_STATUS`."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    AMBIGUOUS = "ambiguous"
    CONFLICT = "conflict"
    """The thing is in a state that does not allow this."""
    NO_TARGET = "no_target"
    """No host, or not the wanted one, passes every filter: ``candidates`` says why."""
    STALE_GENERATION = "stale_generation"
    NOT_LEADING = "not_leading"
    NOT_READY = "not_ready"
    """A host that has come back still ends what it lost; it answers soon."""
    NOT_PROVEN_DEAD = "not_proven_dead"
    """A host that is down may still run its guests: nobody has proven or declared it to be off."""
    ETCD_UNREACHABLE = "etcd_unreachable"
    AGENT_UNREACHABLE = "agent_unreachable"
    LIBVIRT = "libvirt"
    """libvirt refused or does not answer; the message is its own text."""
    INTERNAL = "internal"


HTTP_STATUS: dict[ErrorCode, int] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.AMBIGUOUS: 400,
    ErrorCode.CONFLICT: 409,
    ErrorCode.NO_TARGET: 409,
    ErrorCode.STALE_GENERATION: 409,
    ErrorCode.NOT_LEADING: 503,
    ErrorCode.NOT_READY: 503,
    ErrorCode.NOT_PROVEN_DEAD: 409,
    ErrorCode.ETCD_UNREACHABLE: 503,
    ErrorCode.AGENT_UNREACHABLE: 502,
    ErrorCode.LIBVIRT: 502,
    ErrorCode.INTERNAL: 500,
}


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of every answer that is not a success."""

    code: ErrorCode
    message: str
    """One sentence with the offending value and what would be right."""
    candidates: tuple[Candidate, ...] = ()


class GodwitError(Exception):
    """An error with a sentence for the person who asked; becomes an :class:`ErrorBody`."""

    def __init__(
        self, code: ErrorCode, message: str, *, candidates: tuple[Candidate, ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.candidates = candidates

    @property
    def body(self) -> ErrorBody:
        """The same as a message."""
        return ErrorBody(code=self.code, message=self.message, candidates=self.candidates)


def bad_request(sentence: str) -> GodwitError:
    """What was asked for makes no sense; the sentence has the offending value."""
    return GodwitError(ErrorCode.BAD_REQUEST, sentence)


def conflict(sentence: str) -> GodwitError:
    """The thing is in a state that does not allow what was asked for."""
    return GodwitError(ErrorCode.CONFLICT, sentence)
