"""Who may act: only the leading backend, and only while etcd answers."""

from backend.fleet.known import Fleet
from backend.leader import Leadership
from wire.errors import ErrorCode, GodwitError


def check_acting(fleet: Fleet, leadership: Leadership) -> None:
    """Refuse to act where another backend does, or where nobody can.

    Raises:
        GodwitError: NOT_LEADING or ETCD_UNREACHABLE.
    """
    if fleet.etcd_error:
        raise GodwitError(ErrorCode.ETCD_UNREACHABLE, fleet.etcd_error)
    if leadership.leading:
        return
    leader = fleet.leader_name
    if leader and leader != leadership.name:
        sentence = f"{leadership.name} does not lead; ask {leader}, which does"
    else:
        sentence = f"{leadership.name} does not lead yet; try again in a few seconds"
    raise GodwitError(ErrorCode.NOT_LEADING, sentence)
