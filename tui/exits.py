"""Exit statuses of the command line, which scripts read, and the sentence that goes with each."""

from enum import IntEnum

from wire.errors import ErrorCode


class Exit(IntEnum):
    """What a verb's end means; ``godwit --help`` shows these texts."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    NO_ANSWER = 3
    NOT_ALLOWED = 4
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "it worked",
    Exit.FAILED: "it did not work: refused in this state, failed, or cancelled",
    Exit.BAD_INPUT: "unknown or ambiguous name, bad option, missing configuration",
    Exit.NO_ANSWER: "backend, etcd or agent does not answer, or its certificate is of another CA",
    Exit.NOT_ALLOWED: "token not accepted, or its role may not do this",
    Exit.INTERRUPTED: "interrupted; what was begun goes on",
}

_OF_CODE = {
    ErrorCode.BAD_REQUEST: Exit.BAD_INPUT,
    ErrorCode.NOT_FOUND: Exit.BAD_INPUT,
    ErrorCode.AMBIGUOUS: Exit.BAD_INPUT,
    ErrorCode.UNAUTHENTICATED: Exit.NOT_ALLOWED,
    ErrorCode.FORBIDDEN: Exit.NOT_ALLOWED,
    ErrorCode.NOT_LEADING: Exit.NO_ANSWER,
    ErrorCode.ETCD_UNREACHABLE: Exit.NO_ANSWER,
    ErrorCode.AGENT_UNREACHABLE: Exit.NO_ANSWER,
}


def exit_of(code: ErrorCode) -> Exit:
    """Tell the exit status of a refusal by the backend."""
    return _OF_CODE.get(code, Exit.FAILED)


class VerbError(Exception):
    """A verb ends with a status and one sentence of its own."""

    def __init__(self, status: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
