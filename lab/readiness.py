"""Waiting until a lab can be used: libvirt, then the backend with all hosts and servers."""

import time
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from lab import hypervisor, node, programs
from lab.errors import LabError
from lab.folders import LabFolders
from lab.state import CONTROLLER, LabState
from wire.config import TlsFiles, read_secret
from wire.console import BackendStatus
from wire.errors import ErrorBody
from wire.fleet import HostStatus, HostView, ServerStatus, ServerView
from wire.tls import client_context

LIBVIRT_TIMEOUT_S = 30.0
BACKEND_TIMEOUT_S = 30.0

Answer = TypeVar("Answer")


def wait_for_libvirt(state: LabState, folders: LabFolders) -> None:
    """Wait until the libvirtd of every host that is on takes connections.

    Raises:
        LabError: one does not within half a minute; the sentence names its log.
    """
    deadline = time.monotonic() + LIBVIRT_TIMEOUT_S
    for host in state.hosts:
        init = node.init_process(host)
        while init is not None and not hypervisor.answers(init):
            if time.monotonic() > deadline:
                log = folders.log(host.name) / "libvirtd.log"
                raise LabError(f"libvirtd of {host.name} does not answer; see {log}")
            time.sleep(0.02)


def operator_client(state: LabState, folders: LabFolders) -> httpx.Client:
    """A connection to the lab's backend with the operator's certificate and token."""
    tls = TlsFiles(
        ca_file=folders.operator / "ca.pem",
        cert_file=folders.operator / "cert.pem",
        key_file=folders.operator / "key.pem",
    )
    token = read_secret(folders.operator / "operator.token")
    return httpx.Client(
        base_url=programs.backend_url(state),
        headers={"Authorization": f"Bearer {token}"},
        verify=client_context(tls),
        timeout=2.0,
        trust_env=False,
    )


def wait_for_fleet(state: LabState, folders: LabFolders) -> None:
    """Wait until the backend shows every host online, and running what libvirt runs there.

    Hosts that are off or partitioned are not waited for.

    Raises:
        LabError: it does not within half a minute; the sentence says what is missing and which
            log to read.
    """
    deadline = time.monotonic() + BACKEND_TIMEOUT_S
    with operator_client(state, folders) as client:
        while missing := _missing(state, folders, client):
            if time.monotonic() > deadline:
                raise LabError(f"after {BACKEND_TIMEOUT_S:.0f} s {missing}")
            time.sleep(0.1)


def _missing(state: LabState, folders: LabFolders, client: httpx.Client) -> str:
    """What is not ready yet, with the log to read; empty when all is."""
    log = folders.log(CONTROLLER) / "backend.log"
    try:
        status = _get(client, "/v1/status", BackendStatus)
        hosts = _get(client, "/v1/hosts", list[HostView])
        servers = _get(client, "/v1/servers", list[ServerView])
    except (httpx.HTTPError, msgspec.DecodeError, LabError) as error:
        return f"the backend does not answer at {client.base_url} ({error}); see {log}"
    if not status.etcd_ok:
        return f"etcd does not answer ({status.etcd_error}); see {folders.log(CONTROLLER)}/etcd.log"
    if not status.leading:  # the lease of the one before it, ended with its machine, still runs
        return f"the backend does not lead yet; see {log}"
    return _missing_host(state, folders, hosts) or _missing_server(state, servers, log)


def _get(client: httpx.Client, path: str, kind: type[Answer]) -> Answer:
    response = client.get(path)
    if response.is_error:
        raise LabError(msgspec.json.decode(response.content, type=ErrorBody).message)
    return msgspec.json.decode(response.content, type=kind)


def _missing_host(state: LabState, folders: LabFolders, shown: list[HostView]) -> str:
    views = {view.facts.name: view for view in shown}
    for host in state.hosts:
        if host.partitioned or node.init_process(host) is None:
            continue
        view = views.get(host.name)
        if view is None or view.status is not HostStatus.ONLINE:
            reason = f"{view.status}: {view.status_reason}" if view else "the backend never saw it"
            log = folders.log(host.name) / "hostagent.log"
            return f"{host.name} is not online ({reason}); see {log}"
    return ""


def _missing_server(state: LabState, shown: list[ServerView], log: Path) -> str:
    known = {view.name for view in shown if view.status is not ServerStatus.UNKNOWN}
    for host in state.hosts:
        init = node.init_process(host)
        if host.partitioned or init is None or hypervisor.kept_names(init) <= known:
            continue
        for name in hypervisor.running_names(init):
            if name not in known:
                return f"the backend does not show {name}, which runs on {host.name}; see {log}"
    return ""
