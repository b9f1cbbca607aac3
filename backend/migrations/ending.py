"""The final record: outcome, error and advice in sentences; figures from whoever has them."""

import msgspec

from backend.migrations.advice import advice_for
from backend.migrations.notes import noted
from backend.migrations.outcome import HALVES, Judgement, Side, Verdict, has_no_half
from backend.moments import now_ms
from wire.agent import GuestTruth, Job
from wire.fleet import Owner, OwnerPhase, PowerState
from wire.migration import Migration, MigrationState, PostcopyState, Sample, Statistics

_REST = {
    Side.RUNNING: "runs on",
    Side.HALTED: "is paused on",
    Side.SUSPENDED: "is paused on",
    Side.INCOMING: "is paused on",
    Side.SHUT_OFF: "is stopped on",
}
_AWAY = {Side.GONE, Side.DEAD}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What both hosts said last, and what it means."""

    source: Side
    target: Side
    judgement: Judgement
    source_truth: GuestTruth | None = None
    target_truth: GuestTruth | None = None

    @property
    def receiving(self) -> bool:
        """Whether libvirt on the target shows the migration that brings the guest."""
        return self.target_truth is not None and self.target_truth.job_active

    @property
    def alone(self) -> bool:
        """Whether the source holds half of a guest, and the target needs or has no other half."""
        return self.source in HALVES and has_no_half(self.target, receiving=self.receiving)

    @property
    def job_active(self) -> bool:
        """Whether libvirt on the source still shows a job."""
        return self.source_truth is not None and self.source_truth.job_active


def not_begun(migration: Migration, error: str, advice: str = "") -> Migration:
    """The final record of a migration that touched no guest."""
    cancelled = bool(migration.cancel_requested_by) and not error
    return msgspec.structs.replace(
        migration,
        state=MigrationState.CANCELLED if cancelled else MigrationState.FAILED,
        finished_at_ms=now_ms(),
        error=error,
        advice=advice or advice_for(error),
        outcome=f"{migration.server_name} stays on {migration.source_host_name}",
    )


def arrived(migration: Migration) -> Migration:
    """The record of a guest that turned out to be whole on its target, also after a break."""
    if migration.postcopy is not PostcopyState.PAUSED:
        return migration
    asked = bool(migration.recovery_requested_by)
    text = "post-copy went on" if asked else "post-copy went on without a recovery"
    gone_on = msgspec.structs.replace(
        migration, postcopy=PostcopyState.ACTIVE, recovery_requested_by=""
    )
    return noted(gone_on, text)


def ended(
    migration: Migration,
    finding: Finding,
    job: Job | None,
    samples: tuple[Sample, ...],
) -> Migration:
    """The final record of a migration that ran.

    Args:
        migration: the record as it is.
        finding: what both hosts said.
        job: what the source's agent last said of its job.
        samples: the curve, for figures that nobody else has.
    """
    state = _state(migration, finding)
    finished_at_ms = now_ms()
    figures = statistics(job, finding, samples)
    if not figures.total_ms and migration.started_at_ms:
        took_ms = max(0, finished_at_ms - migration.started_at_ms)
        figures = msgspec.structs.replace(figures, total_ms=took_ms)
    final = msgspec.structs.replace(
        migration,
        state=state,
        finished_at_ms=finished_at_ms,
        passes=job.passes if job else (),
        statistics=figures,
        outcome=outcome_sentence(migration, finding),
    )
    if state is MigrationState.SUCCEEDED:
        left = finding.judgement.leftover
        return msgspec.structs.replace(
            final, advice=_advice(migration, finding, state, "") if left else ""
        )
    text = (job.error if job else "") or _unexplained(migration, finding)
    return msgspec.structs.replace(
        final,
        error="" if state is MigrationState.CANCELLED else text,
        advice=_advice(migration, finding, state, text),
    )


def owner_after(owner: Owner, migration: Migration, judgement: Judgement, epoch: int) -> Owner:
    """Whose the server is now; a new owner gets the next generation.

    Args:
        owner: the owner during the migration.
        migration: the migration.
        judgement: what both hosts said.
        epoch: the target's present epoch.
    """
    settled = unlocked(owner)
    if judgement.verdict is Verdict.LOST:
        return msgspec.structs.replace(settled, phase=OwnerPhase.LOST)
    if judgement.verdict is not Verdict.MOVED:
        return settled
    return msgspec.structs.replace(
        settled,
        host_id=migration.target_host_id,
        epoch=epoch,
        generation=migration.generation + 1,
    )


def outcome_sentence(migration: Migration, finding: Finding) -> str:
    """Say where the guest is now."""
    name, source, target = (
        migration.server_name,
        migration.source_host_name,
        migration.target_host_name,
    )
    match finding.judgement.verdict:
        case Verdict.DOUBLE:
            return f"{name} runs on both {source} and {target}"
        case Verdict.LOST if finding.source in HALVES or finding.target in HALVES:
            return (
                f"{name} is lost: it ran in post-copy with half of its memory on each of {source} "
                f"and {target}, and one half is gone"
            )
        case Verdict.LOST:
            return f"neither {source} nor {target} knows {name}"
        case Verdict.MOVED:
            where, side, other = target, finding.target, source
        case _:
            where, side, other = source, finding.source, target
    told = _REST.get(side)
    sentence = f"{name} {told} {where}" if told else f"{where} went offline with {name} on it"
    if migration.kind == "live" and where == source and _crashed(finding.source_truth):
        sentence = f"{name} fell on {source}, where its QEMU ended, and is started there again"
    if finding.judgement.leftover:
        sentence += f"; {other} still holds a paused copy"
    return sentence


def _crashed(truth: GuestTruth | None) -> bool:
    return (
        truth is not None and truth.state is PowerState.SHUT_OFF and truth.state_detail == "crashed"
    )


def at_rest(name: str, side: Side, host_name: str) -> str:
    """Say where a server is that does not move any more, by what that host says."""
    told = _REST.get(side)
    if told:
        return f"{name} {told} {host_name}"
    if side in _AWAY:
        return f"{name} stays on {host_name}, which is offline"
    if side is Side.ABSENT:
        return f"{host_name} no longer has {name}"
    return f"{name} stays on {host_name}, which does not say how it is"


def unlocked(owner: Owner) -> Owner:
    """The same owner, no longer migrating."""
    return msgspec.structs.replace(
        owner, phase=OwnerPhase.SETTLED, target_host_id="", migration_id=""
    )


def settle_command(migration: Migration, host_name: str = "HOST") -> str:
    """The command that leaves exactly one copy of a migration's server."""
    return f"godwit server-settle --keep-host {host_name} {migration.server_name}"


def statistics(job: Job | None, finding: Finding, samples: tuple[Sample, ...]) -> Statistics:
    """Join the figures: the job's, then what either hypervisor still has, then the curve."""
    accounts = [
        account
        for account in (
            job.statistics if job else None,
            finding.target_truth.completed if finding.target_truth else None,
            finding.source_truth.completed if finding.source_truth else None,
        )
        if account is not None
    ]
    best = accounts[0] if accounts else Statistics()
    downtimes = [one.downtime_ms for one in accounts if one.downtime_ms is not None]
    passes = job.passes if job else ()
    throttles = [
        *(one.throttle_percent for one in passes),
        *(one.throttle_percent for one in samples),
    ]
    counts = [
        best.pass_count,
        *(one.number for one in passes),
        *(one.pass_number for one in samples),
    ]
    last = samples[-1] if samples else None
    return msgspec.structs.replace(
        best,
        memory_total_bytes=best.memory_total_bytes or (last.memory_total_bytes if last else 0),
        memory_transferred_bytes=best.memory_transferred_bytes
        or (last.memory_processed_bytes if last else 0),
        downtime_ms=downtimes[0] if downtimes else None,
        pass_count=max(counts),
        throttle_max_percent=max([best.throttle_max_percent, *throttles]),
    )


def _state(migration: Migration, finding: Finding) -> MigrationState:
    if finding.judgement.verdict is Verdict.MOVED:
        return MigrationState.SUCCEEDED
    as_it_was = Side.SUSPENDED if migration.paused else Side.RUNNING
    clean = finding.judgement.verdict is Verdict.STAYED and finding.source is as_it_was
    if migration.cancel_requested_by and clean:
        return MigrationState.CANCELLED
    return MigrationState.FAILED


def _unexplained(migration: Migration, finding: Finding) -> str:
    if finding.source in _AWAY:
        return f"{migration.source_host_name} went offline during the migration"
    if finding.target in _AWAY:
        return f"{migration.target_host_name} went offline during the migration"
    return (
        f"the migration's job on {migration.source_host_name} ended without an error text, "
        f"and {migration.server_name} is not on {migration.target_host_name}"
    )


def _advice(migration: Migration, finding: Finding, state: MigrationState, error: str) -> str:
    name, source, target = (
        migration.server_name,
        migration.source_host_name,
        migration.target_host_name,
    )
    judgement = finding.judgement
    if judgement.verdict is Verdict.DOUBLE:
        return (
            f"End one of the two at once: {settle_command(migration)} keeps the copy on HOST; then "
            "check the guest's disks."
        )
    if judgement.verdict is Verdict.LOST:
        return _advice_on_a_loss(migration, finding)
    if judgement.leftover:
        winner, loser = (target, source) if judgement.verdict is Verdict.MOVED else (source, target)
        return f"{settle_command(migration, winner)} ends the paused copy on {loser}."
    if finding.source is Side.HALTED:
        return (
            f"Once {target} answers again, {settle_command(migration, source)} lets {name} run on "
            f"if {target} does not run it."
        )
    if state is MigrationState.CANCELLED:
        return ""
    return advice_for(error)


def _advice_on_a_loss(migration: Migration, finding: Finding) -> str:
    name, source, target = (
        migration.server_name,
        migration.source_host_name,
        migration.target_host_name,
    )
    if HALVES & {finding.source, finding.target}:
        keeper = target if finding.target is Side.SHUT_OFF else source
        # seen with libvirt 9.0: the call in which QEMU died never ends, and holds the domain's lock
        return (
            f"{settle_command(migration, keeper)} ends the half that is left and keeps {name} "
            f"stopped on {keeper}; if it cannot be started then, restart libvirtd on {source}, "
            "which may hold its lock."
        )
    return (
        f"Look at libvirt's logs on {source} and {target}; {settle_command(migration)} defines "
        f"{name} again on HOST, stopped, from the definition that is kept."
    )
