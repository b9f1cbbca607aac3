"""The agent's configuration file."""

from pathlib import Path
from typing import Annotated

import msgspec

from wire.config import EtcdConfig, TlsFiles


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Contents of the TOML file given with ``--config``."""

    listen: Annotated[str, msgspec.Meta(pattern="^.+:[0-9]+$")]
    """``address:port``; with ``https://`` before it the agent's URL."""
    address: str
    """Where other hosts send migrations to."""
    shared_pools: tuple[str, ...] = ()
    """Names of libvirt pools that hold the same files on every host."""
    token_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]
    """Digest of the token that callers send as ``Bearer``."""
    state_dir: Path = Path("/var/lib/godwit")
    """Holds one small file for each migration, so that a restarted agent re-attaches."""
    lease_ttl_s: Annotated[int, msgspec.Meta(ge=2)] = 10
    libvirt_uri: str = "qemu:///system"
    tls: TlsFiles
    etcd: EtcdConfig

    @property
    def agent_url(self) -> str:
        """Where the backend finds this agent."""
        return f"https://{self.listen}"
