"""Which copy of a server may be ended on a host that does not own it."""

from hostagent.postcopy import HALF, HALF_BROKEN
from wire.agent import GuestTruth
from wire.errors import conflict
from wire.fleet import OwnerPhase, PowerState, ServerRecord


def check_removable(record: ServerRecord, truth: GuestTruth, *, host_id: str) -> None:
    """Refuse to end the copy of a server that may be the one that lives.

    A live migration changes the owner only after the guest has switched over: until then a guest
    that runs on its target may be the only one. Half of a guest is none.

    Args:
        record: the server's, as etcd has it now, naming another owner than this host.
        truth: what libvirt says of it here now.
        host_id: this host's.

    Raises:
        GodwitError: ``CONFLICT``.
    """
    half = truth.state_detail in {HALF, HALF_BROKEN}
    # half of a guest, or memory that never arrives whole, may keep its job for ever
    if truth.job_active and not (truth.incoming or half):
        raise conflict(
            f"the server {record.server_id} has a migration under way here: cancel that first",
        )
    if truth.state is PowerState.RUNNING and not half and not _is_owned_elsewhere(record, host_id):
        holder = record.owner.migration_id or "nobody"
        raise conflict(
            f"{record.name!r} runs on this host ({host_id}) and its record is {record.owner.phase},"
            f" held by {holder}: nothing proves that its place is elsewhere, so it stays",
        )


def _is_owned_elsewhere(record: ServerRecord, host_id: str) -> bool:
    """Whether a record that names another owner says so for good, and not until a move ends."""
    owner = record.owner
    if owner.phase is OwnerPhase.MIGRATING:
        return owner.target_host_id not in {"", host_id}
    return owner.phase is OwnerPhase.SETTLED
