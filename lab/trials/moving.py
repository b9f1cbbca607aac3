"""A host that dies while a server is being moved from it or to it, alive or as a rescue."""

import time
from collections.abc import Sequence
from contextlib import suppress

import httpx
import msgspec

from lab.errors import LabError
from lab.fleet import Lab
from lab.state import LinkLimit
from lab.trials import faults
from lab.trials.faults import Fault
from lab.trials.recovering import bring_back
from lab.trials.witness import Witness
from wire.migration import Migration, MigrationState, PostcopyState

_SLOW_BITS_PER_S = 50_000_000
"""So that a move lasts some seconds."""
_SLOWER_BITS_PER_S = 16_000_000
"""So that the little that such a guest has left in post-copy lasts as long."""
_BEGINS_WITHIN_S = 40.0
_LOOK_S = 0.02


def migration_cut(
    witness: Witness,
    *,
    cut_source: bool,
    state: MigrationState,
    after_s: float = 0.0,
    name: str = "",
) -> Fault:
    """The power of a live migration's source or target is cut some time after it came to a state.

    The host that is chosen for it is the source, and has to run a server: ``name``, or any.
    """

    def begin(lab: Lab, hosts: Sequence[str]) -> str:
        (source,) = hosts
        limit_links(lab, _SLOW_BITS_PER_S)
        moved = name or server_on(witness, source)
        migration_id = begin_move(witness, "live-migrate", moved)
        until_state(witness, migration_id, state)
        time.sleep(after_s)
        return cut_now(witness, migration_id, source if cut_source else "")

    return Fault(f"{_side(cut_source)} cut in a migration", begin, _whole_links)


def postcopy_cut(witness: Witness, *, cut_source: bool, after_s: float) -> Fault:
    """The same some time after the guest runs on its target by post-copy: that loses it.

    Afterwards somebody settles the server and starts it, as its record advises.
    """
    moved: list[tuple[str, str]] = []

    def begin(lab: Lab, hosts: Sequence[str]) -> str:
        (source,) = hosts
        limit_links(lab, _SLOWER_BITS_PER_S)
        name = server_on(witness, source)
        migration_id = begin_move(witness, "live-migrate", name)
        moved.append((name, migration_id))
        until_state(witness, migration_id, MigrationState.COPYING_MEMORY)
        with suppress(httpx.HTTPError):  # without it the guest may just move, or die with a host
            witness.post(f"/v1/migrations/{migration_id}/postcopy")
        deadline = time.monotonic() + _BEGINS_WITHIN_S
        while time.monotonic() < deadline:
            known = migration_of(witness, migration_id)
            if known.state.ended or known.postcopy is PostcopyState.ACTIVE:
                break
            time.sleep(_LOOK_S)
        time.sleep(after_s)
        return cut_now(witness, migration_id, source if cut_source else "")

    def end(lab: Lab, hosts: Sequence[str]) -> None:
        _whole_links(lab, hosts)
        for name, migration_id in moved:
            bring_back(witness, name, migration_id)

    return Fault(f"{_side(cut_source)} cut in post-copy", begin, end)


def rescue_target_cut(witness: Witness) -> Fault:
    """A host dies, and the first host that a server of it is being started on dies as well."""

    def begin(lab: Lab, hosts: Sequence[str]) -> None:
        known = {each.migration_id for each in witness.migrations()}
        for host in hosts:
            lab.power_cut(host)
        deadline = time.monotonic() + _BEGINS_WITHIN_S
        while time.monotonic() < deadline:
            tries = [
                each
                for each in _migrations(witness)
                if each.kind == "rescue" and each.migration_id not in known
            ]
            if tries:
                lab.power_cut(tries[-1].target_host_name)
                return
            time.sleep(_LOOK_S)
        # no rescue begins where hosts that are merely late made it look like a storm

    return Fault("target of a rescue cut", begin, lambda _lab, _hosts: None)


# ---------------------------------------------------------------------- moves


def cut_now(witness: Witness, migration_id: str, source: str) -> str:
    """Cut the power of a migration's source, or of its target if none is named.

    Returns:
        The migration's state as it was told last before.
    """
    host = source or target_of(witness, migration_id)
    state = migration_of(witness, migration_id).state
    witness.lab.power_cut(host)
    return state


def limit_links(lab: Lab, rate_bits_per_s: int) -> None:
    """Slow every host's link."""
    for each in lab.state.hosts:
        lab.limit_link(each.name, LinkLimit(rate_bits_per_s=rate_bits_per_s))


def server_on(witness: Witness, host: str) -> str:
    """The name of a server that runs on a host.

    Raises:
        LabError: none does.
    """
    for name, view in witness.servers().items():
        if view.host_name == host and view.status == "running":
            return name
    raise LabError(f"no server runs on {host}")


def begin_move(witness: Witness, verb: str, name: str) -> str:
    """Ask for a move to any host, again if it is refused at first; the migration's id.

    Raises:
        LabError: it is still refused after 40 s.
    """
    live = verb == "live-migrate"
    options = {"skip_cpu_check": True, "skip_kernel_check": True} if live else {}
    deadline, reason = time.monotonic() + _BEGINS_WITHIN_S, ""
    while time.monotonic() < deadline:
        try:
            answer = witness.post(f"/v1/servers/{name}/{verb}", **options)
        except httpx.HTTPError as error:
            raise LabError(f"nobody knows whether {name} moves: {error}") from None
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=Migration).migration_id
        reason = answer.text
        time.sleep(_LOOK_S)
    raise LabError(f"{name} cannot be moved: {reason}")


def migration_of(witness: Witness, migration_id: str) -> Migration:
    """A migration as it is told now.

    Raises:
        LabError: it is not told of.
    """
    for each in _migrations(witness):
        if each.migration_id == migration_id:
            return each
    raise LabError(f"nobody tells of the migration {migration_id}")


def until_state(witness: Witness, migration_id: str, state: MigrationState) -> None:
    """Wait until a migration has come to a state, or is past it.

    Raises:
        LabError: it has not within 40 s.
    """
    deadline = time.monotonic() + _BEGINS_WITHIN_S
    while migration_of(witness, migration_id).state.rank < state.rank:
        if time.monotonic() > deadline:
            raise LabError(f"{migration_id} does not come to {state}")
        time.sleep(_LOOK_S)


def target_of(witness: Witness, migration_id: str) -> str:
    """The name of the host that a migration goes to, once it has one.

    Raises:
        LabError: it has none within 40 s.
    """
    deadline = time.monotonic() + _BEGINS_WITHIN_S
    while time.monotonic() < deadline:
        if name := migration_of(witness, migration_id).target_host_name:
            return name
        time.sleep(_LOOK_S)
    raise LabError(f"{migration_id} has no target")


def _migrations(witness: Witness) -> list[Migration]:
    """Every migration, newest first; asked again where the backend does not answer at once."""
    for _ in range(3):
        try:
            return witness.migrations()
        except httpx.HTTPError:
            time.sleep(_LOOK_S)
    raise LabError("the backend does not tell of migrations")


def _whole_links(lab: Lab, _hosts: Sequence[str]) -> None:
    faults.switch_on(lab)
    limit_links(lab, 0)


def _side(cut_source: bool) -> str:  # noqa: FBT001 - the one thing it is asked
    return "source" if cut_source else "target"
