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
    watchdog_device: Path = Path("/dev/watchdog")
    """What ``godwit-fence`` pets while the host's policy wants its servers rescued."""
    watchdog_timeout_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The card resets the host so long after it was last petted; 0 takes a quarter of the lease.
    A device that cannot be asked needs it."""
    run_dir: Path = Path("/run/godwit")
    """On tmpfs: what the agent and ``godwit-fence`` tell each other."""
    libvirt_uri: str = "qemu:///system"
    qemu_tls_dir: Path = Path("/etc/pki/qemu")
    """QEMU's certificates: ``ca-cert.pem``, ``server-cert.pem``, ``server-key.pem``,
    ``client-cert.pem``, ``client-key.pem``. Disks of stopped servers travel under them."""
    nbd_ports: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,5}-[0-9]{1,5}$")] = "49300-49399"
    """Ports on which other hosts read the disks of stopped servers: first and last."""
    nvram_dir: Path = Path("/var/lib/libvirt/qemu/nvram")
    """Where libvirt keeps UEFI variables, the same on every host."""
    libvirt_log_dir: Path = Path("/var/log/libvirt/qemu")
    """Where libvirt writes one log for each domain."""
    tls: TlsFiles
    etcd: EtcdConfig

    @property
    def nbd_port_range(self) -> range:
        """The ports of :attr:`nbd_ports`."""
        first, last = self.nbd_ports.split("-")
        return range(int(first), int(last) + 1)

    @property
    def agent_url(self) -> str:
        """Where the backend finds this agent."""
        return f"https://{self.listen}"
