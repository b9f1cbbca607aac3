"""A lab as it is: what is recorded of it, what its hosts show, and commands run inside them."""

import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from lab import card, disks, hypervisor, network, node, programs, report, servers
from lab.capture import capture
from lab.card import CardState
from lab.folders import LabFolders
from lab.network import LinkBytes
from lab.processes import ProcessId
from lab.registry import read_state, unknown_lab
from lab.report import GuestReport
from lab.state import LabState


class LabView:
    """One lab by its name; nothing here changes what is recorded of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folders = LabFolders.of(name)

    @property
    def state(self) -> LabState:
        """What is recorded now.

        Raises:
            LabError: there is no such lab.
        """
        state = read_state(self.name)
        if state is None:
            raise unknown_lab(self.name)
        return state

    def init(self, name: str) -> ProcessId:
        """PID 1 of a node that is on.

        Raises:
            LabError: there is no such node, or it is off.
        """
        return node.require_init(self.state, name)

    def card(self, name: str) -> CardState:
        """What a host's watchdog card does, or did last.

        Raises:
            LabError: there is no such node.
        """
        return card.read_state(self.folders.node(self.state.node(name).name))

    # ------------------------------------------------------------------ guests and links

    def guest_report(self, host: str, server: str) -> GuestReport:
        """What a guest on this host says of itself, read from its memory."""
        return report.read_guest_report(self.init(host), server)

    def memory_losses(self, host: str, server: str) -> list[str]:
        """Compare every byte of a live or paused guest's working set; empty when it is whole."""
        return report.check_memory(self.init(host), self.folders, host, server)

    def data_losses(self, host: str, server: str) -> list[str]:
        """Compare a server's local disk on a host with its seeded data; empty when it is whole.

        Raises:
            LabError: there is no such server, or the host has no readable image of it.
        """
        return disks.data_losses(servers.find(self.state, server).spec, self.init(host))

    def link_bytes(self, name: str) -> LinkBytes:
        """What a host has received and sent since it was started.

        Raises:
            LabError: the host is off.
        """
        self.init(name)
        return network.link_bytes(self.state, self.state.node(name))

    def capture(self, name: str, path: Path) -> AbstractContextManager[None]:
        """Record every packet to and from a host in a file (pcap) while this lasts.

        Raises:
            LabError: the host is off, or (at the end) not every packet could be recorded.
        """
        self.init(name)
        return capture(self.state.port(self.state.node(name).number), path)

    # ------------------------------------------------------------------ inside a host

    def path(self, name: str, path: str) -> Path:
        """A path of a host that is on, as this machine reaches it."""
        return node.inside(self.init(name), Path(path))

    def environment(self, role: str = "operator") -> dict[str, str]:
        """Environment variables with which ``godwit`` finds this lab, as operator or viewer."""
        return programs.console_environment(self.state, self.folders, role)

    def exec_argv(self, name: str, command: Sequence[str], *, folder: str = "/") -> list[str]:
        """The command line that runs a command inside a host, in a folder of the host."""
        return node.enter_argv(self.init(name), command, folder=folder)

    def execute(
        self, name: str, *command: str, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside a host and return its status and output."""
        return subprocess.run(
            self.exec_argv(name, command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def virsh(self, name: str, *commands: str, timeout_s: float = 60.0) -> str:
        """Run virsh commands on a host and return their output.

        Raises:
            LabError: one failed, with virsh's words.
        """
        return hypervisor.virsh(self.init(name), *commands, timeout_s=timeout_s)
