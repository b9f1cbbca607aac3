"""A host that dies while a server is being moved from it or to it."""

import time
from collections.abc import Sequence

import msgspec

from lab import node
from lab.errors import LabError
from lab.fleet import Lab
from lab.state import LinkLimit
from lab.trials.faults import Fault
from lab.trials.witness import Witness
from wire.migration import Migration

_SLOW_BITS_PER_S = 50_000_000
"""So that a move lasts some seconds."""


def migration_cut(witness: Witness, *, cut_source: bool, after_s: float) -> Fault:
    """The power of a live migration's source or target is cut some time after it was asked for.

    The host that is chosen for it is the source, and has to run a server.
    """

    def begin(lab: Lab, hosts: Sequence[str]) -> None:
        (source,) = hosts
        for each in lab.state.hosts:
            lab.limit_link(each.name, LinkLimit(rate_bits_per_s=_SLOW_BITS_PER_S))
        name = next(n for n, view in witness.servers().items() if view.host_name == source)
        options = {"skip_cpu_check": True, "skip_kernel_check": True}
        answer = witness.post(f"/v1/servers/{name}/live-migrate", **options)
        if answer.is_error:
            raise LabError(f"{name} cannot be moved: {answer.text}")
        migration_id = msgspec.json.decode(answer.content, type=Migration).migration_id
        time.sleep(after_s)
        lab.power_cut(source if cut_source else _target(witness, migration_id))

    def end(lab: Lab, _hosts: Sequence[str]) -> None:
        for each in lab.state.hosts:
            if node.init_process(each) is None:
                lab.power_on(each.name)
            lab.limit_link(each.name, LinkLimit())

    return Fault(f"{'source' if cut_source else 'target'} cut in a migration", begin, end)


def _target(witness: Witness, migration_id: str) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        known = {each.migration_id: each for each in witness.migrations()}
        if name := known[migration_id].target_host_name:
            return name
        time.sleep(0.05)
    raise LabError(f"{migration_id} has no target")
