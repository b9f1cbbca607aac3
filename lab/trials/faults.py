"""What can go wrong with a host or with what watches it: begun, and ended again."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lab import node
from lab.errors import LabError
from lab.fleet import Lab
from lab.state import CONTROLLER

CLOCK_STEP_S = 3600.0


class Fault(NamedTuple):
    """One kind of fault. Both functions are given the hosts that were chosen for it."""

    name: str
    begin: Callable[[Lab, Sequence[str]], str | None]
    """What it says is what the fault has hit: the state of a move, for example."""
    end: Callable[[Lab, Sequence[str]], None]
    host_count: int = 1


def _nothing(_lab: Lab, _hosts: Sequence[str]) -> None:
    """It passes by itself."""


def _signal(program: str, number: signal.Signals) -> Callable[[Lab, Sequence[str]], None]:
    """For a program of each chosen host; one that does not run now is left alone."""

    def send(lab: Lab, hosts: Sequence[str]) -> None:
        for host in hosts:
            with suppress(LabError):
                lab.signal_program(host, program, number)

    return send


def _on_controller(
    act: Callable[[Lab, Sequence[str]], None],
) -> Callable[[Lab, Sequence[str]], None]:
    return lambda lab, _hosts: act(lab, [CONTROLLER])


def _on_members(
    act: Callable[[Lab, Sequence[str]], None],
) -> Callable[[Lab, Sequence[str]], None]:
    return lambda lab, _hosts: act(lab, [each.name for each in lab.state.etcd_members])


def _cut(lab: Lab, hosts: Sequence[str]) -> None:
    for host in hosts:
        lab.power_cut(host)


def _partition(lab: Lab, hosts: Sequence[str]) -> None:
    for host in hosts:
        lab.partition(host)


def _heal(lab: Lab, hosts: Sequence[str]) -> None:
    for host in hosts:
        lab.heal(host)


def _step_clocks(lab: Lab, hosts: Sequence[str]) -> None:
    # the host's forward and the backend's back, so that they disagree as well
    for host in hosts:
        lab.step_clock(host, CLOCK_STEP_S)
    lab.step_clock(CONTROLLER, -CLOCK_STEP_S)


def _step_clocks_back(lab: Lab, hosts: Sequence[str]) -> None:
    for host in hosts:
        lab.step_clock(host, -CLOCK_STEP_S)
    lab.step_clock(CONTROLLER, CLOCK_STEP_S)


def _freeze(lab: Lab, hosts: Sequence[str]) -> None:
    """Stop everything of a host, its guests too; its card goes on, as hardware does."""
    for host in hosts:
        init = lab.init(host).pid
        namespace = Path(f"/proc/{init}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "ns" / "pid").readlink() == namespace:
                    os.kill(int(process.name), signal.SIGSTOP)


def switch_on(lab: Lab) -> None:
    """Switch on every node that is off, by a fault or by its card."""
    for each in lab.state.nodes:
        if node.init_process(each) is None:
            lab.power_on(each.name)


def restore(lab: Lab) -> None:
    """Switch on, connect and let run whatever a fault has left otherwise."""
    lab.heal_backend()
    switch_on(lab)
    for each in lab.state.nodes:
        init = node.init_process(each)
        if init is None:
            continue
        namespace = Path(f"/proc/{init.pid}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "ns" / "pid").readlink() == namespace:
                    os.kill(int(process.name), signal.SIGCONT)
        if each.partitioned:
            lab.heal(each.name)


def _shut_down(lab: Lab, hosts: Sequence[str]) -> None:
    for host in hosts:
        lab.shut_down(host)


def _cut_beside_a_blind_backend(lab: Lab, hosts: Sequence[str]) -> None:
    lab.cut_off_backend(from_etcd=False)
    _cut(lab, hosts)


def cut_beside_a_lost_member(member: str) -> Fault:
    """A host's power is cut while one of three members of etcd is away.

    The controller's is stopped, which nobody notices at once; another one's node is cut.
    """
    frozen = member == CONTROLLER

    def begin(lab: Lab, hosts: Sequence[str]) -> None:
        if frozen:
            _signal("etcd", _STOP)(lab, [member])
        else:
            lab.power_cut(member)
        _cut(lab, hosts)

    def end(lab: Lab, _hosts: Sequence[str]) -> None:
        if frozen:
            _signal("etcd", _CONT)(lab, [member])

    return Fault(f"power cut, one member of etcd {'stopped' if frozen else 'cut'}", begin, end)


_KILL, _STOP, _CONT = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT


def _stopped(name: str, program: str) -> Fault:
    return Fault(name, _signal(program, _STOP), _signal(program, _CONT))


def _killed(name: str, program: str) -> Fault:
    return Fault(name, _signal(program, _KILL), _nothing)


POWER_CUT = Fault("power cut", _cut, _nothing)
PARTITION = Fault("partition", _partition, _heal)
FROZEN = Fault("whole host frozen", _freeze, _nothing)
AGENT_STOPPED = _stopped("agent stopped", "hostagent")
AGENT_KILLED = _killed("agent killed", "hostagent")
FENCE_STOPPED = _stopped("fence stopped", "fence")
FENCE_KILLED = _killed("fence killed", "fence")
LIBVIRTD_STOPPED = _stopped("libvirtd stopped", "libvirtd")
LIBVIRTD_KILLED = _killed("libvirtd killed", "libvirtd")
SHUT_DOWN = Fault("shut down in order", _shut_down, _nothing)
CLOCKS_STEPPED = Fault("clocks stepped", _step_clocks, _step_clocks_back)
BACKEND_CUT_OFF = Fault(
    "backend cut off",
    lambda lab, _hosts: lab.cut_off_backend(),
    lambda lab, _hosts: lab.heal_backend(),
)
BACKEND_STOPPED = Fault(
    "backend stopped",
    _on_controller(_signal("backend", _STOP)),
    _on_controller(_signal("backend", _CONT)),
)
BACKEND_KILLED = Fault("backend killed", _on_controller(_signal("backend", _KILL)), _nothing)
ETCD_STOPPED = Fault(
    "etcd stopped",
    _on_members(_signal("etcd", _STOP)),
    _on_members(_signal("etcd", _CONT)),
)
ETCD_KILLED = Fault("etcd killed", _on_members(_signal("etcd", _KILL)), _nothing)
CUT_BESIDE_A_BLIND_BACKEND = Fault(
    "power cut, backend cut off from agents",
    _cut_beside_a_blind_backend,
    lambda lab, _hosts: lab.heal_backend(),
)
TWO_CUT = Fault("two hosts cut", _cut, _nothing, host_count=2)
TWO_PARTITIONED = Fault("two hosts partitioned", _partition, _heal, host_count=2)
