"""What this host is: read from ``/proc`` and from libvirt's capabilities."""

import hashlib
import importlib.metadata
import os
import re
import socket
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from hostagent.config import AgentConfig
from hostagent.link import link_bytes_per_s
from hostagent.pools import read_pools
from wire.fleet import HostFacts, StoragePool

_CPUINFO = Path("/proc/cpuinfo")
_KERNEL_RELEASE = Path("/proc/sys/kernel/osrelease")
_USERFAULTFD = Path("/proc/sys/vm/unprivileged_userfaultfd")
_QEMU_CONF = Path("/etc/libvirt/qemu.conf")
_QEMU_USER = re.compile(r"""^\s*user\s*=\s*["']?(?P<name>[^"'\s]+)["']?\s*$""", re.MULTILINE)
_NOTABLE_SPACE_SHARE = 0.01


def read_facts(handle: libvirt.virConnect, config: AgentConfig) -> HostFacts:
    """Everything that places a guest or forbids it. Blocks."""
    capabilities = ET.fromstring(handle.getCapabilities())  # noqa: S314 - libvirtd's own
    node = handle.getInfo()
    cpu_model_name, microcode = parse_cpuinfo(_CPUINFO.read_text(encoding="utf-8"))
    architecture = capabilities.findtext("host/cpu/arch", node[0])
    return HostFacts(
        host_id=capabilities.findtext("host/uuid", ""),
        name=socket.gethostname(),
        address=config.address,
        agent_url=config.agent_url,
        cpu_architecture=architecture,
        cpu_model_name=cpu_model_name,
        microcode=microcode,
        kernel=_KERNEL_RELEASE.read_text(encoding="utf-8").strip(),
        cpu_count=node[2],
        page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
        memory_total_bytes=handle.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]
        * 1024,
        libvirt_cpu_model=capabilities.findtext("host/cpu/model", ""),
        cpu_features=tuple(
            sorted(feature.get("name", "") for feature in capabilities.iterfind("host/cpu/feature"))
        ),
        machine_types=_machine_types(capabilities, architecture),
        virt_types=_virt_types(capabilities, architecture),
        guest_cpus=tuple(
            f"{virt_type}:{_guest_cpu(handle, architecture, virt_type)}"
            for virt_type in _virt_types(capabilities, architecture)
        ),
        qemu_version=dotted_version(handle.getVersion()),
        libvirt_version=dotted_version(handle.getLibVersion()),
        agent_version=importlib.metadata.version("godwit"),
        pools=read_pools(handle, declared_shared=config.shared_pools),
        postcopy=may_use_userfaultfd(_read(_USERFAULTFD), _read(_QEMU_CONF)),
        link_bytes_per_s=link_bytes_per_s(config.address),
    )


def _read(path: Path) -> str:
    """A file's text; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def may_use_userfaultfd(sysctl: str, qemu_conf: str) -> bool:
    """Whether QEMU on this host may catch page faults, which post-copy needs on the target.

    The kernel lets every process do so, or only those with ``CAP_SYS_PTRACE``, which QEMU keeps
    when libvirt runs it as root.

    Args:
        sysctl: ``vm.unprivileged_userfaultfd``; empty where the kernel has no userfaultfd.
        qemu_conf: libvirt's ``qemu.conf``; without ``user`` QEMU runs as a user of its own.
    """
    if not sysctl.strip():
        return False
    user = _QEMU_USER.search(qemu_conf)
    return sysctl.strip() == "1" or (user is not None and user["name"] in {"root", "0", "+0"})


def parse_cpuinfo(text: str) -> tuple[str, str]:
    """``model name`` and ``microcode`` of the first CPU in ``/proc/cpuinfo``; empty if absent."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found.get("model name", ""), found.get("microcode", "")


def dotted_version(number: int) -> str:
    """Write libvirt's ``major * 1,000,000 + minor * 1,000 + release`` as ``9.0.0``."""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def notably_different(before: HostFacts, now: HostFacts) -> bool:
    """Whether new facts are worth a write to etcd.

    Free space moves all the time; it counts once it moved by 1 % of a pool's capacity.
    """
    if _without_space(before) != _without_space(now):
        return True
    return any(
        abs(new.available_bytes - old.available_bytes) > _NOTABLE_SPACE_SHARE * new.capacity_bytes
        for old, new in zip(before.pools, now.pools, strict=True)
    )


def _without_space(facts: HostFacts) -> tuple[object, ...]:
    def fixed(pool: StoragePool) -> tuple[object, ...]:
        return (pool.pool_id, pool.name, pool.shared, pool.path, pool.capacity_bytes)

    return (
        *(getattr(facts, field) for field in facts.__struct_fields__ if field != "pools"),
        tuple(fixed(pool) for pool in facts.pools),
    )


def _machine_types(capabilities: ET.Element, architecture: str) -> tuple[str, ...]:
    names = {
        name
        for machine in capabilities.iterfind(f"guest/arch[@name='{architecture}']//machine")
        for name in (machine.text, machine.get("canonical"))
        if name
    }
    return tuple(sorted(names))


def _virt_types(capabilities: ET.Element, architecture: str) -> tuple[str, ...]:
    return tuple(
        sorted(
            {
                domain.get("type", "")
                for domain in capabilities.iterfind(f"guest/arch[@name='{architecture}']/domain")
            }
        )
    )


def _guest_cpu(handle: libvirt.virConnect, architecture: str, virt_type: str) -> str:
    """Digest of the best CPU that a guest gets here (``virConnectGetDomainCapabilities``)."""
    try:
        xml = handle.getDomainCapabilities(None, architecture, None, virt_type)
    except libvirt.libvirtError:
        return "none"  # offered, but libvirt cannot run it here
    mode = ET.fromstring(xml).find("cpu/mode[@name='host-model']")  # noqa: S314 - libvirtd's own
    return "none" if mode is None else hashlib.sha256(ET.tostring(mode)).hexdigest()[:16]
