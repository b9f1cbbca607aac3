"""A lab at a glance, as a table."""

import re
from pathlib import Path

from rich.table import Table
from rich.text import Text

from lab import hypervisor, node
from lab.folders import LabFolders
from lab.processes import ProcessId
from lab.programs import AGENT_PORT, BACKEND_PORT, ETCD_PORT, LIBVIRT_TLS_PORT
from lab.state import CONTROLLER, LabState, LinkLimit, Node

_CONTROLLER_PROGRAMS = {"etcd": ETCD_PORT, "backend": BACKEND_PORT}
_HOST_PROGRAMS = {"libvirtd": LIBVIRT_TLS_PORT, "agent": AGENT_PORT}
_LISTENING = "0A"


def status_table(state: LabState, folders: LabFolders) -> Table:
    """One row for each node: whether it is on, where, and what runs on it by its own libvirt."""
    table = Table(box=None, pad_edge=False)
    columns = ("NODE", "STATE", "ADDRESS", "PID", "CPU", "MICROCODE", "LINK", "PROGRAMS", "GUESTS")
    for column in columns:
        table.add_column(column, overflow="fold")
    for each in state.nodes:
        table.add_row(*_row(state, folders, each))
    return table


def _row(state: LabState, folders: LabFolders, each: Node) -> list[Text]:
    init = node.init_process(each)
    model, microcode = "", ""
    if each.name != CONTROLLER:
        model, microcode = _cpu(folders.node(each.name) / "cpuinfo")
    facts = (
        state.address(each.number),
        str(init.pid) if init else "",
        model,
        microcode,
        link_words(each.limit),
        _programs(each, init) if init else "",
        ", ".join(hypervisor.running_names(init)) if init and each.name != CONTROLLER else "",
    )
    return [Text(each.name), _condition(each, init), *(Text(fact or "-") for fact in facts)]


def _condition(each: Node, init: ProcessId | None) -> Text:
    if init is None:
        return Text("✖ cut", style="red")
    if each.partitioned:
        return Text("◐ partitioned", style="yellow")
    return Text("● up", style="green")


def _cpu(cpuinfo: Path) -> tuple[str, str]:
    text = cpuinfo.read_text(encoding="utf-8")
    fields = dict(re.findall(r"^(model name|microcode)\s*: (.*)$", text, re.MULTILINE))
    return fields.get("model name", ""), fields.get("microcode", "")


def link_words(limit: LinkLimit) -> str:
    """A link's limit in words, such as ``400 Mbit/s, 5 ms``."""
    rate = f"{limit.rate_bits_per_s / 1e6:g} Mbit/s" if limit.rate_bits_per_s else ""
    delay = f"{limit.delay_ms:g} ms" if limit.delay_ms else ""
    return ", ".join(part for part in (rate, delay) if part) or "whole"


def _programs(each: Node, init: ProcessId) -> str:
    """The programs of a node that take connections; the others are named as down."""
    wanted = _CONTROLLER_PROGRAMS if each.name == CONTROLLER else _HOST_PROGRAMS
    ports = _listening_ports(init)
    return ", ".join(name if port in ports else f"{name} down" for name, port in wanted.items())


def _listening_ports(init: ProcessId) -> set[int]:
    """TCP ports that somebody listens on in a node's network namespace."""
    ports = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{init.pid}/net/{table}")
        for line in path.read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, connection_state, *_ = line.split()
            if connection_state == _LISTENING:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports
