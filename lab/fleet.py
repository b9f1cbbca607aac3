"""A lab as one thing: brought up, changed and ended, by the command line and by the tests alike."""

import shutil
import signal
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

from msgspec.structs import replace

from lab import (
    acceleration,
    clock,
    localpool,
    network,
    node,
    processes,
    programs,
    readiness,
    servers,
    shutdown,
)
from lab.errors import LabError
from lab.preparation import boot_spec, prepare
from lab.registry import (
    claim,
    labs_root,
    locked,
    read_resources,
    unknown_lab,
    write_state,
)
from lab.server import ServerSpec, check_spec
from lab.state import (
    CONTROLLER,
    FIRST_HOST_NUMBER,
    LEASE_TTL_S,
    LabShape,
    LabState,
    LinkLimit,
    Node,
    ServerEntry,
    check_shape,
)
from lab.view import LabView


class Lab(LabView):
    """One lab by its name. Every change holds the lab's folder against other commands."""

    def __init__(self, name: str, *, say: Callable[[str], None] = lambda _line: None) -> None:
        super().__init__(name)
        self._say = say

    def _locked(self) -> AbstractContextManager[None]:
        if not self.folders.root.exists():
            raise unknown_lab(self.name)
        return locked(self.folders.root)

    # ------------------------------------------------------------------ up and down

    def up(
        self,
        *,
        host_count: int = 3,
        server_count: int = 5,
        lease_ttl_s: int = LEASE_TTL_S,
        etcd_members: Literal[1, 3] = 1,
        stepped_clocks: bool = False,
    ) -> None:
        """Bring up what is missing of a lab; what runs already stays as it is.

        The arguments (:class:`lab.state.LabShape`) matter when the lab is new.

        Raises:
            LabError: the machine does not allow it, or a part does not start.
        """
        shape = LabShape(
            host_count=host_count,
            server_count=server_count,
            lease_ttl_s=lease_ttl_s,
            etcd_members=etcd_members,
            stepped_clocks=stepped_clocks,
        )
        check_shape(shape)
        node.check_privileges()
        claim(self.name, shape)
        with self._locked():
            state = self._forget_older_boot()
            if not state.prepared:
                prepare(state, self.folders)
                self._write(prepared=True)
            if not network.bridge_exists(state):
                network.make_bridge(state)
                self._say(f"network   10.77.{state.subnet}.0/24 on bridge {state.bridge}")
            self._start_missing()
            readiness.wait_for_libvirt(self.state, self.folders)
            self._choose_virt_type()
            self._make_missing_servers()

    def wait_until_ready(self) -> None:
        """Wait until libvirt answers and the backend shows hosts online and servers that run.

        Raises:
            LabError: it does not within half a minute; the sentence names the log to read.
        """
        readiness.wait_for_libvirt(self.state, self.folders)
        readiness.wait_for_fleet(self.state, self.folders)

    def down(self) -> None:
        """End everything that is recorded of this lab, and remove its folder.

        Raises:
            LabError: there is no such lab.
        """
        if not self.folders.root.exists():
            raise unknown_lab(self.name)
        with locked(labs_root(), make=True):
            with self._locked():
                made = read_resources(self.name)
                if made is not None:
                    if made.boot_id == processes.boot_id():
                        for each in made.nodes:
                            node.stop(each)
                    network.remove_links(made)
                shutil.rmtree(self.folders.root)
            if not any(labs_root().iterdir()):
                labs_root().rmdir()

    def _forget_older_boot(self) -> LabState:
        """After a reboot of the machine no node runs, whatever is recorded."""
        state = self.state
        if state.boot_id != processes.boot_id():
            off = tuple(replace(each, process=None, card=None, begun=False) for each in state.nodes)
            self._write(nodes=off, boot_id=processes.boot_id())
        return self.state

    def _write(self, **changes: object) -> None:
        write_state(replace(self.state, **changes))

    # ------------------------------------------------------------------ nodes

    def _replace_node(self, changed: Node) -> None:
        nodes = self.state.nodes
        self._write(nodes=tuple(changed if n.name == changed.name else n for n in nodes))

    def _start_missing(self) -> None:
        nodes = self.state.nodes
        missing = [each for each in nodes if not each.begun or node.init_process(each) is None]
        for each in missing:
            node.stop(each)
            self._start(each)
        if missing:
            self._say("started   " + ", ".join(each.name for each in missing))

    def _start(self, each: Node) -> None:
        spec = boot_spec(self.state, self.folders, each)
        node.start(self.state, each, spec, self.folders.node(each.name), self._replace_node)

    # ------------------------------------------------------------------ servers

    def _choose_virt_type(self) -> None:
        if not self.state.virt_type:
            usable = acceleration.probe_kvm(self.folders, self.init(self.state.hosts[0].name))
            self._write(virt_type="kvm" if usable else "qemu")
            self._say("guests    " + ("KVM" if usable else "software emulation"))

    def add_server(self, spec: ServerSpec) -> str:
        """Define a server on its host, start it unless it is to be stopped, and return its id.

        Raises:
            LabError: the host is unknown or off, the name is taken, or libvirt refuses.
        """
        check_spec(spec)
        with self._locked():
            state = self.state
            if state.node(spec.host).number < FIRST_HOST_NUMBER:
                raise LabError(f"{spec.host} runs no servers: name a host such as kvm-01")
            self.init(spec.host)
            if any(entry.spec.name == spec.name for entry in state.servers):
                raise LabError(f"there is a server {spec.name!r} already: choose another name")
            entry = ServerEntry(spec=spec, server_id=str(uuid.uuid4()))
            self._write(servers=(*state.servers, entry))
            try:
                self._make_missing_servers()
            except LabError:
                self._write(servers=state.servers)
                raise
            return entry.server_id

    def _make_missing_servers(self) -> None:
        missing = servers.make_missing(self.state, self.folders)
        self._write(servers=tuple(replace(entry, made=True) for entry in self.state.servers))
        if missing:
            placed = (f"{entry.spec.name} on {entry.spec.host}" for entry in missing)
            self._say("servers   " + ", ".join(placed))

    def remove_server(self, name: str) -> None:
        """End a server wherever it runs, and remove its domain, its files and its console's log.

        Raises:
            LabError: the lab has no such server, or libvirt refuses.
        """
        with self._locked():
            state = self.state
            write_state(servers.remove(state, self.folders, servers.find(state, name)))

    # ------------------------------------------------------------------ faults and links

    def power_cut(self, name: str) -> None:
        """Let everything of a host vanish at once."""
        with self._locked():
            self.init(name)
            each = self.state.node(name)
            node.stop(each)
            off = replace(each, process=None, card=None, begun=False, backend_lacks=())
            self._replace_node(off)

    def shut_down(self, name: str, *, within_s: int = shutdown.LEAVING_S) -> None:
        """End a host in order: its agent is told, its guests are shut down, then its programs.

        Guests that its policy moves away have ``within_s`` to leave.
        """
        with self._locked():
            self.init(name)
            each = self.state.node(name)
            shutdown.shut_down(each, self.folders, within_s=within_s)
            self._replace_node(replace(each, process=None, card=None, begun=False))

    def power_on(self, name: str) -> None:
        """Start a host that is off; its agent starts guests that are its own still and were on."""
        with self._locked():
            each = self.state.node(name)
            if node.init_process(each) is not None:
                raise LabError(f"{name} is on already")
            node.stop(each)  # what is left of one that its card has reset
            self._start(each)

    def partition(self, name: str) -> None:
        """Drop every packet to and from a host; its own interface stays up."""
        self._set_partition(name, cut=True)

    def heal(self, name: str) -> None:
        """End a partition."""
        self._set_partition(name, cut=False)

    def _set_partition(self, name: str, *, cut: bool) -> None:
        with self._locked():
            each = self.state.node(name)
            if node.init_process(each) is not None:
                network.set_partition(self.state, each, cut=cut)
            self._replace_node(replace(each, partitioned=cut))

    def cut_off_backend(self, *, from_etcd: bool = True) -> None:
        """Drop every packet between the backend and agents, and between it and etcd too.

        Consoles still reach it. ``from_etcd`` False leaves it etcd.
        """
        etcd = (programs.ETCD_PORT,) if from_etcd else ()
        self._cut_backend_off((*etcd, programs.AGENT_PORT))

    def heal_backend(self) -> None:
        """Let the backend reach etcd and agents again."""
        self._cut_backend_off(())

    def _cut_backend_off(self, ports: tuple[int, ...]) -> None:
        with self._locked():
            each = self.state.node(CONTROLLER)
            before = set(each.backend_lacks)
            pid = self.init(CONTROLLER).pid
            network.cut_off_backend(pid, sorted(before - set(ports)), cut=False)
            network.cut_off_backend(pid, sorted(set(ports) - before), cut=True)
            self._replace_node(replace(each, backend_lacks=ports))

    def step_clock(self, name: str, seconds: float) -> None:
        """Set the wall clock that Godwit's programs on a node see, forward or (negative) back.

        Raises:
            LabError: the lab was not made with clocks that can be set.
        """
        if not self.state.stepped_clocks:
            raise LabError(f"the clocks of lab {self.name} are the machine's: make one anew")
        clock.step(self.folders.clock(self.state.node(name).name), seconds)

    def limit_link(self, name: str, limit: LinkLimit) -> None:
        """Slow a host's link in both directions; an empty limit gives the whole link back."""
        with self._locked():
            each = self.state.node(name)
            network.set_limit(self.state, each, self.init(name).pid, limit)
            self._replace_node(replace(each, limit=limit))

    def limit_pool(self, name: str, free_mb: int | None) -> None:
        """Leave only so much free space in a host's local pool; None gives all of it back.

        Raises:
            LabError: the host is off, its pool holds images that would be hidden, or the figure
                cannot be.
        """
        with self._locked():
            init = self.init(name)
            if free_mb is None:
                localpool.clear(init, self.folders, name)
            else:
                localpool.limit(init, self.folders, name, free_mb)

    def signal_program(self, name: str, program: str, number: signal.Signals) -> None:
        """Send a signal to a program: etcd or backend (controller), libvirtd or hostagent (hosts).

        Raises:
            LabError: the node is off, or the program does not run now.
        """
        node.signal_program(self.init(name), program, number)
