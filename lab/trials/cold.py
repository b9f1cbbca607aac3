"""A host that dies while the disk of a stopped server is copied from it or to it."""

import time
from collections.abc import Sequence

import httpx

from lab import hypervisor, node
from lab.errors import LabError
from lab.fleet import Lab
from lab.server import ServerSpec
from lab.trials.faults import Fault, switch_on
from lab.trials.moving import begin_move, cut_now, limit_links, migration_of, until_state
from lab.trials.witness import Witness
from wire.errors import GodwitError
from wire.fleet import OwnerPhase, ServerStatus
from wire.migration import MigrationState

NAME = "cold-1"
_DATA_MB = 16
_SLOW_BITS_PER_S = 30_000_000
"""So that the copy lasts some seconds."""
_WITHIN_S = 120.0
_LOOK_S = 0.25


def cold_server(host: str) -> ServerSpec:
    """The server that is moved: stopped, with known data on a local disk."""
    return ServerSpec(
        name=NAME,
        host=host,
        memory_mb=32,
        storage="local",
        disk_mb=_DATA_MB + 16,
        data_mb=_DATA_MB,
        stopped=True,
    )


def cold_move_cut(witness: Witness, *, cut_source: bool, after_s: float) -> Fault:
    """The power of a cold move's source or target is cut some time after its copy has begun.

    The host that is chosen for it is the owner of :func:`cold_server`. When it is back the move
    goes on or is given up; either way one host has the server, whole, and no other has any of it.
    """
    asked: list[str] = []

    def begin(lab: Lab, hosts: Sequence[str]) -> str:
        (source,) = hosts
        limit_links(lab, _SLOW_BITS_PER_S)
        asked.append(begin_move(witness, "migrate", NAME))
        until_state(witness, asked[-1], MigrationState.COPYING_DISKS)
        time.sleep(after_s)
        return cut_now(witness, asked[-1], source if cut_source else "")

    def end(lab: Lab, _hosts: Sequence[str]) -> None:
        switch_on(lab)
        limit_links(lab, 0)
        _until_whole(witness, asked)

    return Fault(f"{'source' if cut_source else 'target'} cut in a cold move", begin, end)


def _until_whole(witness: Witness, asked: Sequence[str]) -> None:
    """Wait until the move is over, and the server on one host alone.

    Raises:
        LabError: it is not within two minutes; the sentence says what is wrong.
    """
    deadline = time.monotonic() + _WITHIN_S
    while True:
        try:
            wrong = _wrong(witness, asked)
        except (LabError, GodwitError, httpx.HTTPError, OSError) as error:
            wrong = f"{type(error).__name__}: {error}"
        if not wrong:
            return
        if time.monotonic() > deadline:
            raise LabError(wrong)
        time.sleep(_LOOK_S)


def _wrong(witness: Witness, asked: Sequence[str]) -> str:
    for migration_id in asked:
        migration = migration_of(witness, migration_id)
        if not migration.state.ended:
            return f"the move of {NAME} is {migration.state}: {migration.stalled_reason}"
    lab, record = witness.lab, witness.records().get(NAME)
    if record is None:
        return f"{NAME} has no record any more"
    view = witness.servers()[NAME]
    if record.owner.phase is not OwnerPhase.SETTLED or view.status is not ServerStatus.READY:
        return f"{NAME} is {record.owner.phase} and {view.status}: {view.status_reason}"
    home = view.host_name
    holders = [
        each.name
        for each in lab.state.hosts
        if (init := node.init_process(each)) is not None and NAME in hypervisor.defined_names(init)
    ]
    if holders != [home]:
        return f"{NAME} belongs to {home}, and is defined on {', '.join(holders) or 'no host'}"
    files = [each.name for each in lab.state.hosts if _files(lab, each.name)]
    if files != [home]:
        return f"{NAME} belongs to {home}, and files of it lie on {', '.join(files) or 'no host'}"
    losses = lab.data_losses(home, NAME)
    return f"{NAME} on {home}: {losses[0]}" if losses else ""


def _files(lab: Lab, host: str) -> list[str]:
    return [each.name for each in lab.folders.local(host).glob(f"*{NAME}*")]
