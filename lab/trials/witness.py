"""Whether a lab's guests and everything that is said of them agree: what is really so, and told.

Really so: the QEMU processes of each host, its libvirt, and the guests' own traces on their disks.
Told: the records in etcd, the API's listing, and the reports of lost hosts.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from lab import hypervisor, node
from lab.disks import volumes
from lab.fleet import Lab
from lab.programs import ETCD_PORT
from lab.readiness import operator_client
from lab.trace import DiskWatch
from wire.config import EtcdConfig, TlsFiles
from wire.etcd import Etcd
from wire.fleet import HostStatus, HostView, OwnerPhase, ServerRecord, ServerStatus, ServerView
from wire.keys import SERVERS
from wire.migration import Migration
from wire.rescue import Incident, RescueState

_GUEST = re.compile(rb"\0guest=([^,\0]+),")


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be seen of a lab at about one moment. Hosts and servers by name."""

    processes: dict[str, list[str]]
    """Server to the host of each QEMU process of it."""
    running: dict[str, list[str]]
    """Server to the hosts whose libvirt says that it runs."""
    defined: dict[str, list[str]]
    records: dict[str, ServerRecord]
    hosts: dict[str, HostView]
    servers: dict[str, ServerView]
    incidents: tuple[Incident, ...]
    """Newest first."""

    def host_name(self, host_id: str) -> str:
        """A host's name by its id; the id if the API does not show it."""
        names = (name for name, view in self.hosts.items() if view.facts.host_id == host_id)
        return next(names, host_id)

    def owner(self, server: str) -> str:
        """The host that owns a server by its record; empty if it has no record."""
        record = self.records.get(server)
        return self.host_name(record.owner.host_id) if record else ""


class Witness:
    """Looks at a lab from every side."""

    def __init__(self, lab: Lab, client: httpx.Client, etcd: Etcd) -> None:
        self.lab = lab
        self.client = client
        self._etcd = etcd

    @classmethod
    @contextmanager
    def of(cls, lab: Lab) -> Iterator["Witness"]:
        """With connections of its own, as the operator."""
        state = lab.state
        folder = lab.folders.operator
        files = {f"{kind}_file": folder / f"{kind}.pem" for kind in ("ca", "cert", "key")}
        endpoints = tuple(
            f"{state.address(each.number)}:{ETCD_PORT}" for each in state.etcd_members
        )
        etcd = Etcd(EtcdConfig(endpoints=endpoints, tls=TlsFiles(**files)))
        try:
            with operator_client(state, lab.folders) as client:
                yield cls(lab, client, etcd)
        finally:
            etcd.close()

    # ------------------------------------------------------------------ asking

    def get(self, path: str, kind: type[msgspec.Struct]) -> msgspec.Struct:
        """One answer of the API.

        Raises:
            httpx.HTTPError: there is none, or it is a refusal.
        """
        # a connection that is kept may be closed by the backend just when it is used again
        answer = self.client.get(path, headers={"Connection": "close"}, timeout=10)
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=kind)

    def post(self, path: str, **body: object) -> httpx.Response:
        """Ask the API to do something."""
        return self.client.post(path, json=body, headers={"Connection": "close"}, timeout=20)

    def incidents(self) -> list[Incident]:
        """Every report of a lost host, newest first."""
        return self.get("/v1/incidents", list[Incident])  # type: ignore[arg-type,return-value]

    def migrations(self) -> list[Migration]:
        """Every migration, newest first."""
        return self.get("/v1/migrations", list[Migration])  # type: ignore[arg-type,return-value]

    def hosts(self) -> dict[str, HostView]:
        """Every host by its name."""
        views = self.get("/v1/hosts", list[HostView])  # type: ignore[arg-type]
        return {view.facts.name: view for view in views}  # type: ignore[attr-defined]

    def servers(self) -> dict[str, ServerView]:
        """Every server by its name."""
        views = self.get("/v1/servers", list[ServerView])  # type: ignore[arg-type]
        return {view.name: view for view in views}  # type: ignore[attr-defined]

    def records(self) -> dict[str, ServerRecord]:
        """Every server's record in etcd, by the server's name.

        Raises:
            EtcdUnreachable: no member answers.
        """
        items = self._etcd.list(SERVERS).items
        found = (msgspec.json.decode(item.value, type=ServerRecord) for item in items)
        return {record.name: record for record in found}

    def has_key(self, key: str) -> bool:
        """Whether etcd has a key now.

        Raises:
            EtcdUnreachable: no member answers.
        """
        return self._etcd.get(key) is not None

    def look(self) -> Sight:
        """See everything; hosts that are off show nothing.

        Raises:
            LabError: a libvirtd does not answer.
            httpx.HTTPError: the backend does not.
            EtcdUnreachable: etcd does not.
        """
        running: dict[str, list[str]] = {}
        defined: dict[str, list[str]] = {}
        for host in self.lab.state.hosts:
            init = node.init_process(host)
            if init is None:
                continue
            for name in hypervisor.virsh(init, "list --name --state-running").split():
                running.setdefault(name, []).append(host.name)
            for name in hypervisor.defined_names(init):
                defined.setdefault(name, []).append(host.name)
        return Sight(
            processes=guest_processes(self.lab),
            running=running,
            defined=defined,
            records=self.records(),
            hosts=self.hosts(),
            servers=self.servers(),
            incidents=tuple(self.incidents()),
        )

    def watch(self, names: list[str]) -> DiskWatch:
        """Watches the disks of guests that leave traces."""
        specs = {entry.spec.name: entry.spec for entry in self.lab.state.servers}
        images = {name: volumes(specs[name], self.lab.folders)[0][1] for name in names}
        return DiskWatch(images)


def guest_processes(lab: Lab) -> dict[str, list[str]]:
    """Server to the host of each QEMU process of it, by the kernel's account alone."""
    namespaces = {}
    for host in lab.state.hosts:
        init = node.init_process(host)
        if init is not None:
            namespaces[_pid_namespace(Path(f"/proc/{init.pid}"))] = host.name
    found: dict[str, list[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            named = _GUEST.search((process / "cmdline").read_bytes())
            host_name = namespaces.get(_pid_namespace(process)) if named else None
        except OSError:
            continue  # it has just ended
        if named and host_name:
            found.setdefault(named[1].decode(), []).append(host_name)
    return found


def _pid_namespace(process: Path) -> str:
    return str((process / "ns" / "pid").readlink())


def contradictions(sight: Sight, wanted: list[str], stopped: list[str]) -> list[str]:
    """What is not as it must be once nothing is broken any more: one sentence each.

    Every guest that is ``wanted`` runs exactly once, on the host that its record, the API and that
    host's libvirt name alike, and no other host knows of it. One that is ``stopped`` runs nowhere,
    and is defined on its owner alone.
    """
    found = [
        f"{name} is {view.status}: {view.status_reason}"
        for name, view in sight.hosts.items()
        if view.status is not HostStatus.ONLINE or view.late or view.dead
    ]
    for name in wanted:
        found += _of_server(sight, name)
    for name in stopped:
        found += _of_stopped(sight, name)
    found += [
        f"the report of {each.host_name} is still {each.state}, and the host is back"
        for each in sight.incidents
        if each.open
    ]
    return found


def _of_server(sight: Sight, name: str) -> list[str]:
    processes = sorted(sight.processes.get(name, []))
    if len(processes) != 1:
        where = ", ".join(processes) or "no host"
        return [f"{name} has {len(processes)} QEMU processes: on {where}"]
    record, view = sight.records.get(name), sight.servers.get(name)
    told = {
        "libvirt says that it runs on": sight.running.get(name, []),
        "it is defined on": sight.defined.get(name, []),
        "its record names": [sight.owner(name)],
        "the API says": [view.host_name] if view else [],
    }
    found = [
        f"{name} runs on {processes[0]}, and {what} {', '.join(hosts) or 'no host'}"
        for what, hosts in told.items()
        if hosts != processes
    ]
    if view and view.status is not ServerStatus.RUNNING:
        found.append(f"{name} runs, and the API says {view.status} {view.status_reason}".rstrip())
    if record and record.owner.phase is not OwnerPhase.SETTLED:
        found.append(f"{name} runs, and its record says {record.owner.phase}")
    if record and not record.wanted_on:
        found.append(f"{name} runs, and its record says that it should not")
    return found


def _of_stopped(sight: Sight, name: str) -> list[str]:
    view, owner, defined = sight.servers.get(name), sight.owner(name), sight.defined.get(name, [])
    found = [f"{name} is stopped, and runs on {each}" for each in sight.processes.get(name, [])]
    if defined != [owner]:
        where = ", ".join(defined) or "no host"
        found.append(f"{name} belongs to {owner or 'no host'}, and is defined on {where}")
    if view is None or view.host_name != owner or view.status is not ServerStatus.READY:
        told = f"{view.status} on {view.host_name} {view.status_reason}" if view else "nothing"
        found.append(f"{name} belongs to {owner or 'no host'}, and the API says {told}".rstrip())
    return found


def lies(
    incident: Incident, before: Sight, after: Sight, watch: DiskWatch, *, moved: set[str]
) -> list[str]:
    """What the report of a host says that is not so: one sentence each.

    ``before`` was seen before the host was lost, ``after`` when it was back; ``moved`` are servers
    that were being migrated meanwhile.
    """
    owned = {name for name in before.records if before.owner(name) == incident.host_name} - moved
    there = {name for name in after.records if after.owner(name) == incident.host_name}
    told = {each.server_name for each in incident.servers}
    found = [f"the report of {incident.host_name} leaves out {name}" for name in owned - told]
    for each in incident.servers:
        name = f"the report of {incident.host_name} says of {each.server_name} {each.state}"
        # the guest's own disk tells of a boot after the loss
        began = [boot.first_unix_ms for boot in watch.boots(each.server_name)]
        booted = any(ms > incident.lost_at_ms for ms in began)
        match each.state:
            case RescueState.RESCUED if not booted:
                found.append(f"{name}, and it has not been started since")
            case RescueState.RESCUED if not each.running_at_ms or not each.target_host_name:
                found.append(f"{name}, and not when or where")
            case RescueState.RETURNED if each.server_name not in moved | there:
                found.append(f"{name}, and it belongs to {after.owner(each.server_name)}")
            case RescueState.WAITING | RescueState.STARTING:
                found.append(f"{name}, and the report has ended")
            case RescueState.SKIPPED | RescueState.FAILED if not each.reason:
                found.append(f"{name}, and not why")
            case _:
                pass
    return found
