"""A lab at a glance, as a table."""

import re
from pathlib import Path

from rich.table import Table
from rich.text import Text

from lab import hypervisor, node
from lab.card import CardCondition, read_state
from lab.folders import LabFolders
from lab.processes import ProcessId
from lab.programs import AGENT_PORT, BACKEND_PORT, ETCD_PORT, LIBVIRT_TLS_PORT
from lab.state import CONTROLLER, FIRST_HOST_NUMBER, LabState, LinkLimit, Node

_ETCD_PROGRAMS = {"etcd": ETCD_PORT}
_CONTROLLER_PROGRAMS = {**_ETCD_PROGRAMS, "backend": BACKEND_PORT}
_HOST_PROGRAMS = {"libvirtd": LIBVIRT_TLS_PORT, "agent": AGENT_PORT}
_LISTENING = "0A"


def status_table(state: LabState, folders: LabFolders) -> Table:
    """One row for each node: whether it is on, where, and what runs on it by its own libvirt."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("NODE", "STATE", "ADDRESS", "CPU", "UCODE", "CARD", "LINK", "GUESTS"):
        table.add_column(column, overflow="fold", no_wrap=column not in {"STATE", "GUESTS"})
    for each in state.nodes:
        table.add_row(*_row(state, folders, each))
    return table


def _row(state: LabState, folders: LabFolders, each: Node) -> list[Text]:
    init = node.init_process(each)
    model, microcode, guests = "", "", ""
    is_host = each in state.hosts
    card = read_state(folders.node(each.name)).condition if is_host else CardCondition.DISARMED
    if is_host:
        model, microcode = _cpu(folders.node(each.name) / "cpuinfo")
        guests = ", ".join(hypervisor.running_names(init)) if init else ""
    facts = (
        state.address(each.number),
        model,
        microcode,
        "" if card is CardCondition.DISARMED else card,
        link_words(each.limit),
        guests,
    )
    return [Text(each.name), _condition(each, init), *(Text(fact or "-") for fact in facts)]


def _condition(each: Node, init: ProcessId | None) -> Text:
    if init is None:
        return Text("✖ cut", style="red")
    if each.backend_lacks:
        return Text("◐ backend cut off", style="yellow")
    if each.partitioned:
        return Text("◐ partitioned", style="yellow")
    down = _programs_down(each, init)
    return (
        Text(f"▲ no {', no '.join(down)}", style="yellow") if down else Text("● up", style="green")
    )


def _cpu(cpuinfo: Path) -> tuple[str, str]:
    # an `up` that was broken off may not have written it yet
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    fields = dict(re.findall(r"^(model name|microcode)\s*: (.*)$", text, re.MULTILINE))
    # the table has no room for what every server CPU's name says
    model = re.sub(r"Intel\(R\) |\(R\)|CPU | @.*", "", fields.get("model name", ""))
    return model, fields.get("microcode", "")


def link_words(limit: LinkLimit) -> str:
    """A link's limit in words, such as ``400 Mbit/s, 5 ms``."""
    rate = f"{limit.rate_bits_per_s / 1e6:g} Mbit/s" if limit.rate_bits_per_s else ""
    delay = f"{limit.delay_ms:g} ms" if limit.delay_ms else ""
    return ", ".join(part for part in (rate, delay) if part) or "whole"


def _programs_down(each: Node, init: ProcessId) -> list[str]:
    """The programs of a node that do not take connections now."""
    if each.number >= FIRST_HOST_NUMBER:
        wanted = _HOST_PROGRAMS
    else:
        wanted = _CONTROLLER_PROGRAMS if each.name == CONTROLLER else _ETCD_PROGRAMS
    ports = _listening_ports(init)
    return [name for name, port in wanted.items() if port not in ports]


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
