"""What an operator does after a post-copy whose half is gone: settle the server, and start it."""

import re
import signal
import time
from contextlib import suppress

import httpx

from lab.errors import LabError
from lab.trials.witness import Witness
from wire.errors import GodwitError
from wire.fleet import OwnerPhase, ServerRecord

_WITHIN_S = 120.0
_START_S = 20.0
_LOOK_S = 0.5


def bring_back(witness: Witness, name: str, migration_id: str) -> None:
    """Have a server run again once its migration has ended, as that advises if it has lost it.

    Raises:
        LabError: it cannot be brought back within two minutes; the sentence tells the last reason.
    """
    deadline = time.monotonic() + _WITHIN_S
    while True:
        reason = _step(witness, name, migration_id)
        if not reason:
            return
        if time.monotonic() > deadline:
            raise LabError(f"{name} was not brought back: {reason}")
        time.sleep(_LOOK_S)


def _step(witness: Witness, name: str, migration_id: str) -> str:
    """Do the next thing; why it is not over yet, empty if it is."""
    try:
        known = {each.migration_id: each for each in witness.migrations()}
        migration, record = known[migration_id], witness.records()[name]
        if not migration.state.ended:
            return f"its migration is {migration.state}: {migration.stalled_reason}"
        settled = any(each.text.startswith("settled") for each in migration.notes)
        # an agent that still has half of the guest takes the server for found again
        if "is lost" in migration.outcome and not settled:
            keep = re.search(r"--keep-host (\S+)", migration.advice)
            if keep is None:
                return f"no host to keep it is advised: {migration.advice}"
            answer = witness.post(f"/v1/servers/{name}/settle", keep_host=keep[1])
            return "it was only just settled" if answer.is_success else answer.text
        if record.wanted_on or record.owner.phase is not OwnerPhase.SETTLED:
            return ""
        return _start(witness, record)
    except (LabError, GodwitError, httpx.HTTPError, KeyError) as error:
        return f"{type(error).__name__}: {error}"


def _start(witness: Witness, record: ServerRecord) -> str:
    """Start it by hand, which its agent sees; a libvirtd that still holds its lock is ended."""
    hosts = {view.facts.host_id: host for host, view in witness.hosts().items()}
    host = hosts[record.owner.host_id]
    try:
        witness.lab.virsh(host, f"start {record.name}", timeout_s=_START_S)
    except LabError as error:
        with suppress(LabError):
            witness.lab.signal_program(host, "libvirtd", signal.SIGKILL)
        return str(error)
    return "it was only just started"
