"""Configuration and command lines of etcd, the backend and the agents."""

import hashlib
import secrets
import sys
from pathlib import Path

from lab.certificates import write_secret
from lab.folders import LabFolders
from lab.node import ProgramSpec
from lab.state import CONTROLLER_NUMBER, LabState, Node

ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
BACKEND_PORT = 8700
AGENT_PORT = 8600
LIBVIRT_TLS_PORT = 16514
ROLES = ("operator", "viewer")
AGENT_CONFIG = "/etc/godwit/hostagent.toml"

_TLS = """\
ca_file = "/etc/godwit/ca.pem"
cert_file = "/etc/godwit/cert.pem"
key_file = "/etc/godwit/key.pem"
"""

_CONNECTIONS = """
[tls]
{tls}
[etcd]
endpoints = [{endpoints}]

[etcd.tls]
{tls}"""

_AGENT = """\
listen = "{address}:{port}"
address = "{address}"
shared_pools = ["shared"]
token_sha256 = "{token_sha256}"
state_dir = "{state_dir}"
lease_ttl_s = {lease_ttl_s}
watchdog_timeout_s = {watchdog_timeout_s}
libvirt_uri = "qemu:///system"
"""

_BACKEND = """\
listen = "{address}:{port}"
name = "backend-1"
agent_token_file = "/etc/godwit/agent.token"
tokens_file = "/etc/godwit/tokens.toml"
"""


def sha256(token: str) -> str:
    """How a token is stored where it is only compared."""
    return hashlib.sha256(token.encode()).hexdigest()


def _connections(state: LabState) -> str:
    endpoints = (f'"{state.address(each.number)}:{ETCD_PORT}"' for each in state.etcd_members)
    return _CONNECTIONS.format(tls=_TLS, endpoints=", ".join(endpoints))


def write_agent(etc: Path, state: LabState, node: Node, *, token: str, state_dir: Path) -> None:
    """Write /etc/godwit/hostagent.toml."""
    text = _AGENT.format(
        address=state.address(node.number),
        port=AGENT_PORT,
        token_sha256=sha256(token),
        state_dir=state_dir,
        lease_ttl_s=state.lease_ttl_s,
        watchdog_timeout_s=state.watchdog_timeout_s,
    )
    write_secret(etc / "godwit" / "hostagent.toml", (text + _connections(state)).encode())


def write_backend(etc: Path, state: LabState, *, agent_token: str, tokens: dict[str, str]) -> None:
    """Write /etc/godwit/backend.toml and its secrets; ``tokens`` is role to token."""
    folder = etc / "godwit"
    text = _BACKEND.format(address=state.address(CONTROLLER_NUMBER), port=BACKEND_PORT)
    (folder / "backend.toml").write_text(text + _connections(state), encoding="ascii")
    write_secret(folder / "agent.token", agent_token.encode() + b"\n")
    entries = (
        f'[[token]]\nname = "{role}"\nrole = "{role}"\nsha256 = "{sha256(token)}"\n'
        for role, token in tokens.items()
    )
    write_secret(folder / "tokens.toml", "\n".join(entries).encode())


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


def backend_url(state: LabState) -> str:
    """Where the lab's backend listens."""
    return f"https://{state.address(CONTROLLER_NUMBER)}:{BACKEND_PORT}"


def console_environment(state: LabState, folders: LabFolders, role: str) -> dict[str, str]:
    """Environment variables with which ``godwit`` finds this lab, as one of ROLES."""
    return {
        "GODWIT_BACKEND": backend_url(state),
        "GODWIT_TOKEN_FILE": str(folders.operator / f"{role}.token"),
        "GODWIT_CA_FILE": str(folders.operator / "ca.pem"),
        "GODWIT_CERT_FILE": str(folders.operator / "cert.pem"),
        "GODWIT_KEY_FILE": str(folders.operator / "key.pem"),
    }


def host_programs(environment: dict[str, str]) -> dict[str, ProgramSpec]:
    """What a host runs; libvirtd reads its settings from /etc/libvirt.

    ``environment`` is given to Godwit's own programs.
    """
    config = ["--config", AGENT_CONFIG]
    fence = [sys.executable, "-m", "hostagent.fence.daemon", *config]
    agent = [sys.executable, "-m", "hostagent.main", *config]
    return {
        "libvirtd": ProgramSpec(argv=["libvirtd", "--listen"]),
        # while it is away nobody pets the card
        "fence": ProgramSpec(argv=fence, environment=environment, restart_s=0.1),
        "hostagent": ProgramSpec(argv=agent, environment=environment),
    }


def shutdown_argv(within_s: int) -> list[str]:
    """What a host runs before its guests are shut down with it; they have so long to leave."""
    agent = [sys.executable, "-m", "hostagent.main", "--config", AGENT_CONFIG]
    return [*agent, "--host-shuts-down", "--within", str(within_s)]


def controller_programs(
    state: LabState, node: Node, data: Path, environment: dict[str, str]
) -> dict[str, ProgramSpec]:
    """What the controller runs; etcd keeps its data in ``data``."""
    backend = [sys.executable, "-m", "backend.main", "--config", "/etc/godwit/backend.toml"]
    return {
        **etcd_programs(state, node, data),
        "backend": ProgramSpec(argv=backend, environment=environment),
    }


def etcd_programs(state: LabState, node: Node, data: Path) -> dict[str, ProgramSpec]:
    """The node's member of etcd, which keeps its data in ``data``."""
    peers = {
        each.name: f"https://{state.address(each.number)}:{ETCD_PEER_PORT}"
        for each in state.etcd_members
    }
    url = f"https://{state.address(node.number)}:{ETCD_PORT}"
    etcd = ["etcd", "--name", node.name, "--data-dir", str(data), "--logger", "zap"]
    etcd += ["--listen-client-urls", url, "--advertise-client-urls", url]
    etcd += ["--listen-peer-urls", peers[node.name]]
    etcd += ["--initial-advertise-peer-urls", peers[node.name]]
    etcd += ["--initial-cluster", ",".join(f"{name}={peer}" for name, peer in peers.items())]
    for prefix in ("", "peer-"):
        etcd += [f"--{prefix}cert-file", "/etc/godwit/cert.pem"]
        etcd += [f"--{prefix}key-file", "/etc/godwit/key.pem", f"--{prefix}client-cert-auth"]
        etcd += [f"--{prefix}trusted-ca-file", "/etc/godwit/ca.pem"]
    return {"etcd": ProgramSpec(argv=etcd)}
