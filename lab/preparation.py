"""Everything that a lab's nodes find on their disks, written before any of them starts."""

import uuid
from pathlib import Path

from lab import clock, cpuinfo, differences, etc, guest, hypervisor, localpool, programs
from lab.certificates import KeyPair, issue, new_authority, write_key_pair, write_secret
from lab.folders import LabFolders
from lab.node import NodeSpec
from lab.state import CONTROLLER, FIRST_HOST_NUMBER, LabState, Node


def prepare(state: LabState, folders: LabFolders) -> None:
    """Write the guest's program, certificates, tokens and configurations of a new lab."""
    for folder in (folders.shared, folders.consoles, folders.operator):
        folder.mkdir(exist_ok=True)
    guest.assemble(folders.root / "guest.bin")
    if state.stepped_clocks:
        clock.build(folders.clock_library)
    authority = new_authority(f"Godwit lab {state.name}")
    tokens = {role: programs.new_token() for role in programs.ROLES}
    agent_token = programs.new_token()
    _prepare_operator(folders.operator, authority, tokens)
    for node in state.nodes:
        own_etc = folders.etc(node.name)
        folders.log(node.name).mkdir(parents=True, exist_ok=True)
        pair = issue(authority, node.name, address=state.address(node.number))
        etc.write_program_certificates(own_etc, authority.certificate, pair)
        if state.stepped_clocks:
            clock.make(folders.clock(node.name))
        if node.name == CONTROLLER:
            programs.write_backend(own_etc, state, agent_token=agent_token, tokens=tokens)
        elif node in state.hosts:
            etc.write_libvirt_certificates(own_etc, authority.certificate, pair)
            _prepare_host(state, folders, node, agent_token)


def _prepare_operator(folder: Path, authority: KeyPair, tokens: dict[str, str]) -> None:
    (folder / "ca.pem").write_bytes(authority.certificate)
    pair = issue(authority, "operator")
    write_key_pair(pair, cert_file=folder / "cert.pem", key_file=folder / "key.pem")
    for role, token in tokens.items():
        write_secret(folder / f"{role}.token", token.encode() + b"\n")


def _prepare_host(state: LabState, folders: LabFolders, node: Node, agent_token: str) -> None:
    folder = folders.node(node.name)
    hypervisor.write_configuration(folders.etc(node.name), state, node)
    programs.write_agent(
        folders.etc(node.name), state, node, token=agent_token, state_dir=folder / "godwit"
    )
    place = (state.hosts.index(node), len(state.hosts))
    cpu = cpuinfo.cpu_of_host(*place)
    machine = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    (folder / "cpuinfo").write_text(cpuinfo.fabricate(machine, cpu), encoding="utf-8")
    if kernel := differences.kernel_of_host(*place):
        (folder / "osrelease").write_text(f"{kernel}\n", encoding="ascii")
    if feature := differences.missing_feature_of_host(*place):
        differences.write_emulator(folder / "emulator", feature)
    # mount points have to be there before /var/lib/libvirt is bound over the machine's
    for inner in ("images", "shared", "consoles"):
        (folder / "libvirt" / inner).mkdir(parents=True, exist_ok=True)
    for outer in ("libvirt-log", "libvirt-cache", "godwit"):
        (folder / outer).mkdir(exist_ok=True)


def boot_spec(state: LabState, folders: LabFolders, node: Node) -> NodeSpec:
    """What PID 1 of a node is to do at this boot; the boot gets an id of its own."""
    folder = folders.node(node.name)
    machine_etc = folder / "machine-etc"
    machine_etc.mkdir(exist_ok=True)
    etc.write_etc(folders.etc(node.name), machine_etc, state, node)
    boot_id = folder / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
    binds = [
        (Path("/etc"), machine_etc),
        (folders.etc(node.name), Path("/etc")),
        (boot_id, Path("/proc/sys/kernel/random/boot_id")),
    ]
    disks: list[tuple[Path, Path, Path]] = []
    environment = _clock_environment(state, folders, node)
    if node.name == CONTROLLER:
        started = programs.controller_programs(state, node, folder / "etcd", environment)
    elif node.number < FIRST_HOST_NUMBER:
        started = programs.etcd_programs(state, node, folder / "etcd")
    else:
        started = programs.host_programs(environment)
        disks = localpool.disks(folders, node.name)
        binds += _host_binds(folders, folder)
    return NodeSpec(
        hostname=node.name,
        address=f"{state.address(node.number)}/24",
        binds=[(str(source), str(target)) for source, target in binds],
        disks=[(str(image), str(disk), str(folder)) for image, disk, folder in disks],
        programs=started,
        logs=str(folders.log(node.name)),
        watchdog=str(folder / "watchdog") if node.number >= FIRST_HOST_NUMBER else "",
    )


def _clock_environment(state: LabState, folders: LabFolders, node: Node) -> dict[str, str]:
    if not state.stepped_clocks:
        return {}
    return clock.environment(folders.clock_library, folders.clock(node.name))


def _host_binds(folders: LabFolders, folder: Path) -> list[tuple[Path, Path]]:
    libvirt = Path("/var/lib/libvirt")
    binds = [
        (folder / "libvirt", libvirt),
        (folders.shared, libvirt / "shared"),
        (folders.consoles, libvirt / "consoles"),
        (folder / "libvirt-log", Path("/var/log/libvirt")),
        (folder / "libvirt-cache", Path("/var/cache/libvirt")),
        (folder / "cpuinfo", Path("/proc/cpuinfo")),
    ]
    osrelease = folder / "osrelease"
    if osrelease.exists():
        binds.append((osrelease, Path("/proc/sys/kernel/osrelease")))
    return binds + differences.emulator_binds(folder / "emulator")
