"""libvirt on a host: its configuration, its storage pools, and virsh."""

from pathlib import Path

from lab import processes
from lab.errors import LabError
from lab.folders import IMAGE_CACHE_PATH, LOCAL_PATH, SHARED_PATH
from lab.node import enter_argv, inside
from lab.processes import ProcessId
from lab.state import LabState, Node

_SOCKET = Path("/run/libvirt/libvirt-sock")
_DOMAIN_FOLDERS = (Path("/etc/libvirt/qemu"), Path("/run/libvirt/qemu"))

_LIBVIRTD_CONF = """\
listen_tls = 1
listen_tcp = 0
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{host_uuid}"
"""

# Guests run as root without a sandbox: the namespaces of the host are their sandbox here.
_QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
seccomp_sandbox = 0
remember_owner = 0
stdio_handler = "file"
migration_host = "{address}"
"""

_POOL_XML = """\
<pool type='dir'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <target>
    <path>{path}</path>
  </target>
</pool>
"""

_IMAGE_CACHE = "image-cache"


def host_id(state: LabState, node: Node) -> str:
    """Libvirt's UUID of a host."""
    return str(state.derived_uuid(f"host {node.name}"))


def write_configuration(etc: Path, state: LabState, node: Node) -> None:
    """Write libvirtd.conf, qemu.conf and the two storage pools into /etc/libvirt."""
    folder = etc / "libvirt"
    (folder / "qemu").mkdir(parents=True, exist_ok=True)
    libvirtd = _LIBVIRTD_CONF.format(host_uuid=host_id(state, node))
    (folder / "libvirtd.conf").write_text(libvirtd, encoding="ascii")
    qemu = _QEMU_CONF.format(address=state.address(node.number))
    (folder / "qemu.conf").write_text(qemu, encoding="ascii")
    (folder / "libvirt.conf").write_text('uri_default = "qemu:///system"\n', encoding="ascii")
    pools = (
        ("shared", state.derived_uuid("pool shared"), SHARED_PATH),
        ("local", state.derived_uuid(f"pool local {node.name}"), LOCAL_PATH),
    )
    storage = folder / "storage"
    (storage / "autostart").mkdir(parents=True, exist_ok=True)
    for name, uuid, path in pools:
        xml = _POOL_XML.format(name=name, uuid=uuid, path=path)
        (storage / f"{name}.xml").write_text(xml, encoding="ascii")
        link = storage / "autostart" / f"{name}.xml"
        if not link.is_symlink():
            link.symlink_to(f"/etc/libvirt/storage/{name}.xml")


def answers(init: ProcessId) -> bool:
    """Whether the libvirtd of this host takes connections."""
    return inside(init, _SOCKET).exists()


def virsh(init: ProcessId, *commands: str, timeout_s: float = 30.0) -> str:
    """Run virsh commands on a host, in one go.

    Raises:
        LabError: one of them failed, with virsh's words.
    """
    argv = enter_argv(init, ["virsh", "--quiet", "--connect", "qemu:///system", ";".join(commands)])
    return processes.run(argv, timeout_s=timeout_s)


def add_image_cache(init: ProcessId) -> None:
    """Give a host the pool ``image-cache`` unless it has it."""
    if _IMAGE_CACHE in virsh(init, "pool-list --all --name").split():
        return
    define = f"pool-define-as {_IMAGE_CACHE} dir --target {IMAGE_CACHE_PATH}"
    actions = (f"pool-{action} {_IMAGE_CACHE}" for action in ("build", "start", "autostart"))
    virsh(init, define, *actions)


def remove_image_cache(init: ProcessId) -> None:
    """Take the pool ``image-cache`` from a host that has it."""
    if _IMAGE_CACHE in virsh(init, "pool-list --name").split():
        virsh(init, f"pool-destroy {_IMAGE_CACHE}")
    if _IMAGE_CACHE in virsh(init, "pool-list --all --name").split():
        virsh(init, f"pool-undefine {_IMAGE_CACHE}")


def kept_names(init: ProcessId) -> set[str]:
    """Names of the domains, defined or running, of which a host's libvirtd keeps a file.

    For what is asked often: to start virsh takes a twentieth of a second of CPU. A domain that
    has just begun or ended may be missing or stay.
    """
    folders = (inside(init, folder) for folder in _DOMAIN_FOLDERS)
    return {file.stem for folder in folders for file in folder.glob("*.xml")}


def defined_names(init: ProcessId) -> set[str]:
    """Names of all domains that a host's libvirt knows."""
    return set(virsh(init, "list --all --name").split())


def running_names(init: ProcessId) -> list[str]:
    """Names of the domains that run on a host; empty while its libvirtd does not answer."""
    try:
        return sorted(virsh(init, "list --name", timeout_s=5.0).split())
    except LabError:
        return []
