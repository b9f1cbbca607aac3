"""How a migration ended, by what both hypervisors say: an error text alone never decides.

:func:`judge` is one table over the pair (source, target). The target is to be asked before the
source: a guest seen running on the target has by then stopped on the source for good.
"""

from enum import StrEnum

import msgspec

from wire.agent import GuestTruth
from wire.fleet import PowerState


class Side(StrEnum):
    """What one host says of a guest, in the words that decide."""

    RUNNING = "running"
    HALTED = "halted"
    """Paused by the migration itself, which has to let it run again."""
    SUSPENDED = "suspended"
    """Paused for another reason: by a person, or by an I/O error."""
    INCOMING = "incoming"
    """Paused as the receiving side of a migration."""
    POSTCOPY = "post-copy"
    """One half of a guest whose memory is still on two hosts; the other half is needed."""
    POSTCOPY_FAILED = "post-copy failed"
    """The same, standing still because the link between the halves broke."""
    SHUT_OFF = "shut_off"
    ABSENT = "absent"
    GONE = "gone"
    """The host does not answer and holds no health key: it may run the guest all the same."""
    DEAD = "dead"
    """The host is gone, and proven or declared to run nothing that could start elsewhere."""
    SILENT = "silent"
    """The host does not answer, yet its health key is there."""


class Verdict(StrEnum):
    """What the pair means."""

    WAIT = "wait"
    """Not decided yet: ask again."""
    MOVED = "moved"
    """The guest is on the target, which owns it from now on."""
    STAYED = "stayed"
    """The guest is on the source, as if nothing had been tried."""
    RESUME = "resume"
    """The guest is paused on the source by the failed migration and must run again there."""
    LOST = "lost"
    """Neither host has the guest, or half of it is gone with the other host."""
    DOUBLE = "double"
    """Both hosts run the guest."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict, and what may be left behind on the other host."""

    verdict: Verdict
    leftover: bool = False
    """The side that lost the guest still holds a paused copy."""


_HERE = {Side.HALTED, Side.SUSPENDED}
_AWAY = {Side.SHUT_OFF, Side.ABSENT, Side.GONE, Side.DEAD}
_COPY = {Side.INCOMING, Side.HALTED, Side.SUSPENDED}

HALVES = {Side.POSTCOPY, Side.POSTCOPY_FAILED}

_UNFINISHED = {Side.HALTED, Side.INCOMING, *HALVES}

_POSTCOPY = "post-copy"
_BY_MIGRATION = ("migrat", "unknown", "starting")
"""How libvirt words a pause that a migration caused (``virDomainPausedReason``)."""


def side_of(truth: GuestTruth) -> Side:
    """Sort what a hypervisor says into one of the sides."""
    detail = truth.state_detail.lower()
    if truth.state in {PowerState.RUNNING, PowerState.PAUSED} and detail.startswith(_POSTCOPY):
        return Side.POSTCOPY_FAILED if "fail" in detail else Side.POSTCOPY
    match truth.state:
        case PowerState.RUNNING:
            return Side.RUNNING
        case PowerState.SHUT_OFF:
            return Side.SHUT_OFF
        case PowerState.ABSENT:
            return Side.ABSENT
    if truth.incoming:
        return Side.INCOMING
    by_migration = not detail or detail.startswith(_BY_MIGRATION)
    return Side.HALTED if by_migration else Side.SUSPENDED


def judge(
    source: Side,
    target: Side,
    *,
    job_active: bool,
    receiving: bool = False,
    patient: bool = True,
) -> Judgement:
    """Decide what the pair means.

    Args:
        source: what the source says.
        target: what the target said just before.
        job_active: libvirt still shows a migration job on the source.
        receiving: libvirt on the target still shows the migration that brings the guest.
        patient: whether to go on waiting for a leftover on the target to vanish by itself.
    """
    # libvirt shows a job on half of a guest for ever once the other half is gone, or needs it not
    alone = source in HALVES and has_no_half(target, receiving=receiving)
    if (job_active and not alone) or Side.SILENT in {source, target}:
        return Judgement(verdict=Verdict.WAIT)
    decided = _beside_a_lost_host(source, target)
    if decided is not None or source in HALVES or target in HALVES:
        return decided or _in_postcopy(source, target, receiving=receiving, patient=patient)
    if target is Side.RUNNING:
        double = source is Side.RUNNING
        verdict = Verdict.DOUBLE if double else Verdict.MOVED
        return Judgement(verdict=verdict, leftover=double or source in _COPY)
    if source in {Side.RUNNING, Side.SUSPENDED}:
        return _stayed(target, patient=patient)
    if source in {Side.HALTED, Side.INCOMING}:
        # a guest that an I/O error or a person paused has run
        verdict = Verdict.MOVED if target is Side.SUSPENDED else Verdict.RESUME
        return Judgement(verdict=verdict, leftover=target in _COPY)
    return _source_without_guest(source, target, patient=patient)


def _beside_a_lost_host(source: Side, target: Side) -> Judgement | None:
    """What a host that cannot be asked leaves to decide; None if it is as good as any other.

    One that is merely gone decides nothing as long as it may run the guest. What never became whole
    on the target of a dead source is worth nothing: the server is the dead host's again.
    """
    if source is Side.GONE and target is not Side.RUNNING:
        return Judgement(verdict=Verdict.WAIT)
    if target is Side.GONE and source not in {Side.RUNNING, Side.SUSPENDED, Side.ABSENT}:
        return Judgement(verdict=Verdict.WAIT)
    if source is Side.DEAD and target in _UNFINISHED:
        return Judgement(verdict=Verdict.STAYED, leftover=True)
    if source in HALVES and target is Side.DEAD:
        return Judgement(verdict=Verdict.LOST, leftover=True)
    return None


def has_no_half(target: Side, *, receiving: bool) -> bool:
    """Whether the other half of a guest, on the source, waits for this target in vain.

    The target has nothing of the guest, went away with it, or has fetched all of it: libvirt shows
    a target as a half as long as memory is missing, and its migration too, even if another pause
    (an I/O error's) takes the place of the half's state.
    """
    if target in _AWAY:
        return True
    return target in {Side.RUNNING, Side.SUSPENDED} and not receiving


def _in_postcopy(source: Side, target: Side, *, receiving: bool, patient: bool) -> Judgement:
    """At least one host holds half of a guest, which is nothing without the other half.

    Two halves can still become one, so they are waited for without end. A host that is dead took
    its half with it. A target that runs, and is neither a half nor received any more, has fetched
    all of it.
    """
    if (source in HALVES and target in HALVES) or patient:
        return Judgement(verdict=Verdict.WAIT)
    if target in {Side.RUNNING, Side.SUSPENDED}:
        whole = Judgement(verdict=Verdict.MOVED, leftover=True)
        return Judgement(verdict=Verdict.WAIT) if receiving else whole
    if source in _HERE | {Side.RUNNING, Side.INCOMING}:
        return Judgement(verdict=Verdict.WAIT)
    if source is Side.ABSENT and target is Side.POSTCOPY:
        return Judgement(verdict=Verdict.MOVED)
    if source in HALVES and target in _COPY:
        return Judgement(verdict=Verdict.WAIT)
    return Judgement(verdict=Verdict.LOST, leftover=True)


def _stayed(target: Side, *, patient: bool) -> Judgement:
    if target in _COPY and patient:
        return Judgement(verdict=Verdict.WAIT)
    return Judgement(verdict=Verdict.STAYED, leftover=target in _COPY)


def _source_without_guest(source: Side, target: Side, *, patient: bool) -> Judgement:
    """The source is shut off, absent or gone, and the target does not run the guest."""
    if target in _HERE:
        return Judgement(verdict=Verdict.MOVED)
    if target is Side.INCOMING and patient:
        return Judgement(verdict=Verdict.WAIT)
    if source is Side.ABSENT:
        lost = target in {Side.ABSENT, Side.INCOMING}
        return Judgement(verdict=Verdict.LOST if lost else Verdict.MOVED)
    return Judgement(verdict=Verdict.STAYED, leftover=target in _COPY)
