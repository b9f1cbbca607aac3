"""Guests of a host that is shut down; virsh is played: none ends between two calls at will."""

from pathlib import Path

import pytest

from lab import hypervisor, node, processes, shutdown
from lab.errors import LabError
from lab.folders import LabFolders
from lab.processes import ProcessId
from lab.state import LabShape, new_state


class PlayedHost:
    """A host with one guest that takes no notice of its power button."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, ends_itself: bool
    ) -> None:
        self.ends_itself, self.running, self.is_down = ends_itself, ["web-1"], False
        state = new_state("x", subnet=1, shape=LabShape(host_count=1, server_count=0))
        self.node, self.folders = state.hosts[0], LabFolders(root=tmp_path)
        self.folders.log(self.node.name).mkdir(parents=True)
        monkeypatch.setattr(shutdown, "_GUESTS_S", 0.0)
        monkeypatch.setattr(node, "init_process", lambda _: ProcessId(pid=1, started_ticks=1))
        monkeypatch.setattr(node, "shut_down", self.shut_down)
        monkeypatch.setattr(processes, "run", lambda *_, **__: "all has left")
        monkeypatch.setattr(hypervisor, "running_names", lambda _: list(self.running))
        monkeypatch.setattr(hypervisor, "virsh", self.virsh)

    def shut_down(self, _: object) -> None:
        self.is_down = True

    def virsh(self, _: object, command: str, **__: object) -> str:
        if command == "destroy web-1":
            if self.ends_itself:
                self.running.clear()
            raise LabError("error: Failed to destroy domain 'web-1'")
        return ""


def test_a_guest_that_ends_a_moment_before_its_power_is_cut_stops_nothing(monkeypatch, tmp_path):
    host = PlayedHost(monkeypatch, tmp_path, ends_itself=True)
    shutdown.shut_down(host.node, host.folders, within_s=1)
    assert host.is_down


def test_a_guest_that_cannot_be_ended_is_told_and_the_host_stays(monkeypatch, tmp_path):
    host = PlayedHost(monkeypatch, tmp_path, ends_itself=False)
    with pytest.raises(LabError, match="Failed to destroy domain 'web-1'"):
        shutdown.shut_down(host.node, host.folders, within_s=1)
    assert not host.is_down
