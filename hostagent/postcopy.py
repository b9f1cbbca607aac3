"""Post-copy: when it may be asked for, and what libvirt's state of the source says about it."""

from collections.abc import Sequence
from itertools import takewhile

from hostagent.domain import State
from wire.fleet import PowerState
from wire.migration import Note, PostcopyState

HALF = "post-copy"
HALF_BROKEN = "post-copy failed"
"""libvirt's reasons for the state of either half of a guest in post-copy."""


BROKE_OFF = "post-copy broke off"
NOT_RECOVERED = "post-copy not recovered"
"""How notes begin that tell of it."""


def is_news(notes: Sequence[Note], text: str) -> bool:
    """Whether a text was not noted since post-copy last broke off."""
    since = takewhile(lambda note: not note.text.startswith(BROKE_OFF), reversed(notes))
    return text not in {note.text for note in since}


def is_half(state: State) -> bool:
    """Whether a domain is one of the two halves of a guest in post-copy.

    Its migration is not over then, whatever job libvirt shows on it.
    """
    return state.detail in {HALF, HALF_BROKEN}


def observed_postcopy(before: PostcopyState, source: State) -> PostcopyState:
    """Where post-copy stands by the state of the domain on the source."""
    if source.power is PowerState.PAUSED and source.detail == HALF_BROKEN:
        return PostcopyState.PAUSED
    if source.power is PowerState.PAUSED and source.detail == HALF:
        return PostcopyState.ACTIVE
    return before


def why_never(*, both_hosts: bool, paused: bool) -> str:
    """Why this migration cannot be switched to post-copy, as a clause; empty if it can.

    libvirt wants to know before a migration begins: it makes both QEMUs ready for post-copy.

    Args:
        both_hosts: whether QEMU may use userfaultfd on either host.
        paused: the guest did not run when its migration began, which libvirt refuses.
    """
    if not both_hosts:
        return "QEMU may not use userfaultfd on both hosts"
    if paused:
        return "the server was paused when its migration began"
    return ""
