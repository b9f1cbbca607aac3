"""A host that is shut down in order, as its init system would do it."""

import time
from contextlib import suppress

from lab import hypervisor, node, processes, programs
from lab.errors import LabError
from lab.folders import LabFolders
from lab.processes import ProcessId
from lab.state import Node

LEAVING_S = 60
"""The longest that guests are given to be moved away, unless told otherwise."""
_ANSWER_S = 30.0
_GUESTS_S = 5.0


def shut_down(host: Node, folders: LabFolders, *, within_s: int) -> None:
    """Tell the agent and wait until it has done what it does then, end the guests, end the host.

    Raises:
        LabError: the host is off, or the agent says that it cannot; then nothing has been ended.
    """
    init = node.init_process(host)
    if init is None:
        raise LabError(f"{host.name} is off already")
    argv = node.enter_argv(init, programs.shutdown_argv(within_s))
    try:
        said = processes.run(argv, timeout_s=within_s + _ANSWER_S)
    except LabError as error:
        raise LabError(f"{host.name} does not shut down: {error}") from None
    (folders.log(host.name) / "shutdown.log").write_text(said, encoding="utf-8")
    _end_guests(init)
    node.shut_down(host)


def _end_guests(init: ProcessId) -> None:
    """Press each guest's power button, and after a while cut the power of those that run on."""
    for name in hypervisor.running_names(init):
        with suppress(LabError):  # libvirt lets nobody press it while the guest moves away
            hypervisor.virsh(init, f"shutdown {name}", timeout_s=_GUESTS_S)
    deadline = time.monotonic() + _GUESTS_S
    while (left := hypervisor.running_names(init)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for name in left:
        try:
            hypervisor.virsh(init, f"destroy {name}")
        except LabError:  # it may have ended by itself since it was listed
            if name in hypervisor.running_names(init):
                raise
