"""A lab as one thing: brought up, changed and ended, by the command line and by the tests alike."""

import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from lab import cpuinfo, etc, guest, hypervisor, network, node, processes, programs, servers
from lab.certificates import KeyPair, issue, new_authority, write_key_pair, write_secret
from lab.errors import LabError
from lab.folders import LabFolders
from lab.processes import ProcessId
from lab.servers import ServerSpec
from lab.state import (
    CONTROLLER,
    LabState,
    LinkLimit,
    Node,
    ServerEntry,
    all_states,
    lab_folder,
    labs_root,
    locked,
    new_state,
    read_state,
    write_state,
)

LIBVIRT_TIMEOUT_S = 30.0
MOST_HOSTS = 32


class Lab:
    """One lab by its name. Every change holds the lab's folder against other commands."""

    def __init__(self, name: str, *, say: Callable[[str], None] = lambda _line: None) -> None:
        self.name = name
        self.folders = LabFolders.of(name)
        self._say = say

    @property
    def state(self) -> LabState:
        """What is recorded now.

        Raises:
            LabError: there is no such lab.
        """
        state = read_state(self.name)
        if state is None:
            known = ", ".join(other.name for other in all_states()) or "none"
            raise LabError(f"there is no lab {self.name!r} on this machine; labs here: {known}")
        return state

    # ------------------------------------------------------------------ up and down

    def up(self, *, host_count: int = 3, server_count: int = 5) -> None:
        """Bring up what is missing of a lab; a lab that runs already stays as it is.

        Raises:
            LabError: the machine does not allow it, or a part does not start.
        """
        if not 1 <= host_count <= MOST_HOSTS:
            raise LabError(f"{host_count} hosts cannot be made: give 1 to {MOST_HOSTS}")
        node.check_privileges()
        fresh = self._claim(host_count)
        with locked(self.folders.root):
            if fresh:
                self._say(f"network 10.77.{self.state.subnet}.0/24, certificates")
                self._prepare()
            state = self._forget_older_boot()
            if not network.bridge_exists(state):
                network.make_bridge(state)
            self._start_missing()
            self._wait_for_libvirt()
            wanted = servers.usual_servers([host.name for host in self.state.hosts], server_count)
            known = {entry.name for entry in self.state.servers}
            self._add_servers([spec for spec in wanted if fresh and spec.name not in known])

    def down(self) -> None:
        """End everything that is recorded of this lab, and remove its folder.

        Raises:
            LabError: there is no such lab.
        """
        with locked(labs_root()):
            root = self.folders.root
            if not root.exists():
                known = ", ".join(other.name for other in all_states()) or "none"
                self._remove_empty_root()
                raise LabError(f"there is no lab {self.name!r} on this machine; labs here: {known}")
            with locked(root):
                state = read_state(self.name)
                if state is not None:
                    if state.boot_id == processes.boot_id():
                        for each in state.nodes:
                            node.stop(each)
                    network.remove_links(state)
                shutil.rmtree(root)
            self._remove_empty_root()

    @staticmethod
    def _remove_empty_root() -> None:
        root = labs_root()
        if not any(root.iterdir()):
            root.rmdir()

    def _claim(self, host_count: int) -> bool:
        """Record a new lab with a subnet of its own; False when there is this lab already."""
        with locked(labs_root()):
            if read_state(self.name) is not None:
                return False
            taken = {state.subnet for state in all_states()}
            for subnet in range(1, 255):
                if subnet not in taken and network.subnet_is_free(subnet):
                    break
            else:
                raise LabError("every network 10.77.1.0/24 to 10.77.254.0/24 is in use here")
            lab_folder(self.name).mkdir(exist_ok=True)
            write_state(new_state(self.name, subnet=subnet, host_count=host_count))
            return True

    def _forget_older_boot(self) -> LabState:
        """After a reboot of the machine no node runs, whatever is recorded."""
        state = self.state
        if state.boot_id != processes.boot_id():
            nodes = tuple(msgspec.structs.replace(each, process=None) for each in state.nodes)
            state = msgspec.structs.replace(state, nodes=nodes, boot_id=processes.boot_id())
            write_state(state)
        return state

    def _prepare(self) -> None:
        """Write certificates, tokens and every node's files."""
        state = self.state
        for folder in (self.folders.shared, self.folders.consoles, self.folders.operator):
            folder.mkdir(exist_ok=True)
        guest.assemble(self.folders.root / "guest.bin")
        authority = new_authority(f"Godwit lab {self.name}")
        tokens = {role: programs.new_token() for role in programs.ROLES}
        agent_token = programs.new_token()
        self._prepare_operator(authority, tokens)
        machine_cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        for index, each in enumerate(state.nodes):
            own_etc = self.folders.etc(each.name)
            self.folders.log(each.name).mkdir(parents=True, exist_ok=True)
            pair = issue(authority, each.name, address=state.address(each.number))
            etc.write_program_certificates(own_etc, authority.certificate, pair)
            if each.name == CONTROLLER:
                programs.write_backend(own_etc, state, agent_token=agent_token, tokens=tokens)
                continue
            etc.write_libvirt_certificates(own_etc, authority.certificate, pair)
            hypervisor.write_configuration(own_etc, state, each)
            own_state = self.folders.node(each.name) / "godwit"
            programs.write_agent(own_etc, state, each, token=agent_token, state_dir=own_state)
            cpu = cpuinfo.cpu_of_host(index - 1, len(state.hosts))
            fabricated = cpuinfo.fabricate(machine_cpuinfo, cpu)
            (self.folders.node(each.name) / "cpuinfo").write_text(fabricated, encoding="utf-8")

    def _prepare_operator(self, authority: KeyPair, tokens: dict[str, str]) -> None:
        folder = self.folders.operator
        (folder / "ca.pem").write_bytes(authority.certificate)
        pair = issue(authority, "operator")
        write_key_pair(pair, cert_file=folder / "cert.pem", key_file=folder / "key.pem")
        for role, token in tokens.items():
            write_secret(folder / f"{role}.token", token.encode() + b"\n")

    # ------------------------------------------------------------------ nodes

    def _replace(self, changed: Node) -> None:
        state = self.state
        nodes = tuple(changed if each.name == changed.name else each for each in state.nodes)
        write_state(msgspec.structs.replace(state, nodes=nodes))

    def _start_missing(self) -> None:
        missing = [each for each in self.state.nodes if node.init_process(each) is None]
        for each in missing:
            self._start(each)
        if missing:
            self._say("started " + ", ".join(each.name for each in missing))

    def _start(self, each: Node) -> None:
        state = self.state
        folder = self.folders.node(each.name)
        is_host = each.name != CONTROLLER
        machine_etc = folder / "machine-etc"
        machine_etc.mkdir(exist_ok=True)
        etc.write_etc(self.folders.etc(each.name), machine_etc, state, each)
        boot_id = folder / "boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        binds = [
            ("/etc", str(machine_etc)),
            (str(self.folders.etc(each.name)), "/etc"),
            (str(boot_id), "/proc/sys/kernel/random/boot_id"),
        ]
        if is_host:
            binds += self._host_binds(folder)
        spec = node.NodeSpec(
            hostname=each.name,
            address=f"{state.address(each.number)}/24",
            binds=binds,
            programs=programs.host_programs()
            if is_host
            else programs.controller_programs(state, folder / "etcd"),
            logs=str(self.folders.log(each.name)),
        )
        node.start(state, each, spec, folder, self._replace)

    def _host_binds(self, folder: Path) -> list[tuple[str, str]]:
        libvirt = folder / "libvirt"
        for inner in ("images", "shared", "consoles"):
            (libvirt / inner).mkdir(parents=True, exist_ok=True)
        for outer in ("libvirt-log", "libvirt-cache", "godwit"):
            (folder / outer).mkdir(exist_ok=True)
        return [
            (str(libvirt), "/var/lib/libvirt"),
            (str(self.folders.shared), "/var/lib/libvirt/shared"),
            (str(self.folders.consoles), "/var/lib/libvirt/consoles"),
            (str(folder / "libvirt-log"), "/var/log/libvirt"),
            (str(folder / "libvirt-cache"), "/var/cache/libvirt"),
            (str(folder / "cpuinfo"), "/proc/cpuinfo"),
        ]

    def _wait_for_libvirt(self) -> None:
        deadline = time.monotonic() + LIBVIRT_TIMEOUT_S
        for host in self.state.hosts:
            init = node.require_init(self.state, host.name)
            while not hypervisor.answers(init):
                if time.monotonic() > deadline:
                    log = self.folders.log(host.name) / "libvirtd.log"
                    raise LabError(f"libvirtd of {host.name} does not answer; see {log}")
                time.sleep(0.02)

    # ------------------------------------------------------------------ servers

    def add_server(self, spec: ServerSpec) -> str:
        """Define a server on its host, start it unless it is to be stopped, and return its id.

        Raises:
            LabError: the host is unknown or off, the name is taken, or libvirt refuses.
        """
        with locked(self.folders.root):
            return self._add_servers([spec])[0]

    def _add_servers(self, specs: Iterable[ServerSpec]) -> list[str]:
        wanted = [(spec, uuid.uuid4()) for spec in specs]
        state = self.state
        taken = {entry.name for entry in state.servers}
        inits = {}
        for spec, _ in wanted:
            servers.check_spec(spec, taken)
            if spec.host == CONTROLLER:
                raise LabError("the controller runs no servers: name a host such as kvm-01")
            inits[spec.name] = node.require_init(state, spec.host)
        entries = (ServerEntry(name=spec.name, server_id=str(uid)) for spec, uid in wanted)
        write_state(msgspec.structs.replace(state, servers=(*state.servers, *entries)))

        def create(each: tuple[ServerSpec, uuid.UUID]) -> str:
            spec, server_id = each
            servers.create(spec, server_id, self.folders, inits[spec.name], "qemu")
            return str(server_id)

        with ThreadPoolExecutor(max_workers=4) as pool:
            made = list(pool.map(create, wanted))
        if made:
            self._say("servers " + ", ".join(f"{spec.name} on {spec.host}" for spec, _ in wanted))
        return made

    # ------------------------------------------------------------------ faults and links

    def power_cut(self, name: str) -> None:
        """Let everything of a host vanish at once."""
        with locked(self.folders.root):
            each = self.state.node(name)
            node.require_init(self.state, name)
            node.stop(each)
            self._replace(msgspec.structs.replace(each, process=None))

    def power_on(self, name: str) -> None:
        """Start a host that is off; its guests stay off, as libvirt's autostart is."""
        with locked(self.folders.root):
            each = self.state.node(name)
            if node.init_process(each) is not None:
                raise LabError(f"{name} is on already")
            self._start(each)

    def partition(self, name: str) -> None:
        """Drop every packet to and from a host; its own interface stays up."""
        self._set_partition(name, cut=True)

    def heal(self, name: str) -> None:
        """End a partition."""
        self._set_partition(name, cut=False)

    def _set_partition(self, name: str, *, cut: bool) -> None:
        with locked(self.folders.root):
            state = self.state
            each = state.node(name)
            if node.init_process(each) is not None:
                network.set_partition(state, each, cut=cut)
            self._replace(msgspec.structs.replace(each, partitioned=cut))

    def limit_link(self, name: str, limit: LinkLimit) -> None:
        """Slow a host's link, in both directions; an empty limit gives it the whole link back."""
        with locked(self.folders.root):
            state = self.state
            each = state.node(name)
            init = node.require_init(state, name)
            network.set_limit(state, each, init.pid, limit)
            self._replace(msgspec.structs.replace(each, limit=limit))

    # ------------------------------------------------------------------ inside a host

    def init(self, name: str) -> ProcessId:
        """PID 1 of a node that is on."""
        return node.require_init(self.state, name)

    def exec_argv(self, name: str, command: Sequence[str]) -> list[str]:
        """The command line that runs a command inside a host."""
        return node.enter_argv(self.init(name), command)

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
        """Run virsh commands on a host; raises LabError with virsh's words when one fails."""
        return hypervisor.virsh(self.init(name), *commands, timeout_s=timeout_s)
