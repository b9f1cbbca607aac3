"""One node's life: namespaces with our PID 1 in them, started, entered, and ended at once."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from lab import card, network, processes
from lab.errors import LabError
from lab.init import ENVIRONMENT, PID_FOLDER
from lab.processes import ProcessId
from lab.state import LabState, Node

_SHUTDOWN_S = 15.0
_NAMESPACES = ("--net", "--mount", "--uts", "--ipc", "--pid")


class ProgramSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A program that PID 1 starts, and starts again."""

    argv: list[str]
    environment: dict[str, str] = {}
    """Beside that of PID 1."""
    restart_s: float = 0.5
    """How soon after its end it is started again, if it had lived for a while."""


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What :mod:`lab.init` makes of fresh namespaces."""

    hostname: str
    address: str
    """With its prefix length."""
    binds: list[tuple[str, str]]
    """Source and target of each bind mount, in their order."""
    disks: list[tuple[str, str, str]]
    """Image, mount point and folder over which its content is bound, in turn after the binds."""
    programs: dict[str, ProgramSpec]
    logs: str
    watchdog: str = ""
    """Pipe of the host's card, to be found at /dev/watchdog; empty where there is no card."""


def check_privileges() -> None:
    """See whether this machine lets us make namespaces.

    Raises:
        LabError: it does not; the sentence says how to get there.
    """
    if os.geteuid() != 0:
        raise LabError("hosts are namespaces with a network of their own, and need root: use sudo")
    try:
        processes.run(["unshare", *_NAMESPACES, "--fork", "--mount-proc", "true"])
    except LabError as error:
        raise LabError(
            f"this machine does not let root make namespaces ({error}): "
            "run on the machine itself, or in a container started with --privileged"
        ) from None


def init_process(node: Node) -> ProcessId | None:
    """The node's PID 1 as this machine sees it; None when the node is off."""
    return processes.child_of(node.process) if node.process else None


def require_init(state: LabState, name: str) -> ProcessId:
    """PID 1 of a node that is on.

    Raises:
        LabError: there is no such node, or it is off.
    """
    init = init_process(state.node(name))
    if init is None:
        raise LabError(f"{name} is off: godwit-lab power-on {name} --name {state.name}")
    return init


def start(
    state: LabState, node: Node, spec: NodeSpec, folder: Path, record: Callable[[Node], None]
) -> None:
    """Start a node that is off; ``record`` is called before the node does anything."""
    spec_file = folder / "node.json"
    spec_file.write_text(json.dumps(msgspec.to_builtins(spec), indent=2), encoding="utf-8")
    argv = ["env", "--chdir=/", "unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    argv += [sys.executable, "-m", "lab.init", str(spec_file)]
    output = folder / "log" / "init.log"
    theirs, ours = os.pipe()
    with os.fdopen(theirs, "rb") as waiting, os.fdopen(ours, "wb", buffering=0) as go:
        pid = processes.spawn(argv, stdin=waiting.fileno(), output=output, environment=ENVIRONMENT)
        own = processes.identify(pid)
        node = msgspec.structs.replace(node, process=own, card=None, begun=False)
        record(node)
        if spec.watchdog:
            timeout_s = state.watchdog_timeout_s
            watching = card.start(own, folder, timeout_s, environment=ENVIRONMENT)
            node = msgspec.structs.replace(node, card=watching)
            record(node)
        init = _wait_for_init(node, output)
        network.connect(state, node, init.pid)
        go.write(b"go\n")
    node = msgspec.structs.replace(node, begun=True)
    record(node)
    if node.limit.rate_bits_per_s or node.limit.delay_ms:
        network.set_limit(state, node, init.pid, node.limit)
    if node.partitioned:
        network.set_partition(state, node, cut=True)


def _wait_for_init(node: Node, output: Path) -> ProcessId:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        init = init_process(node)
        if init is not None:
            return init
        if node.process is not None and not processes.is_alive(node.process):
            break
        time.sleep(0.002)
    raise LabError(f"{node.name} did not start; see {output}")


def stop(node: Node) -> None:
    """Cut a node's power: PID 1 and everything under it vanish at once."""
    if node.process is None:
        return
    init = init_process(node)
    processes.kill(node.process)
    if init is not None:
        # PID 1 is gone only when the kernel has ended everything in its namespace
        processes.wait_gone(init)
    if node.card is not None:
        processes.kill(node.card)


def shut_down(node: Node) -> None:
    """Let PID 1 end its programs in order, and then the node."""
    init = init_process(node)
    if init is not None:
        os.kill(init.pid, signal.SIGTERM)
        with suppress(LabError):  # what does not end is ended below
            processes.wait_gone(init, timeout_s=_SHUTDOWN_S)
    stop(node)


def signal_program(init: ProcessId, name: str, number: signal.Signals) -> None:
    """Send a signal to one program of a node; PID 1 starts it again when it ends.

    Raises:
        LabError: the node has no such program, or it does not run now.
    """
    path = inside(init, PID_FOLDER / name)
    try:
        pid = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise LabError(f"{name} does not run there now") from None
    processes.run(enter_argv(init, ["kill", f"-{number.value}", pid]))


def inside(init: ProcessId, path: Path) -> Path:
    """A path of a node that is on, as this machine reaches it."""
    return Path(f"/proc/{init.pid}/root") / path.relative_to("/")


def enter_argv(init: ProcessId, argv: Sequence[str], *, folder: str = "/") -> list[str]:
    """The command line that runs ``argv`` inside a node, in a folder of the node."""
    namespaces = ["--net", "--mount", "--uts", "--ipc", "--pid"]
    return ["nsenter", f"--target={init.pid}", *namespaces, f"--wdns={folder}", "--", *argv]
