"""A node's own /etc: the machine's, entry by entry, with some entries of the node's own."""

from pathlib import Path

from lab.certificates import KeyPair, write_key_pair
from lab.state import LabState, Node

_OWN = {"hosts", "hostname", "resolv.conf", "machine-id", "libvirt", "pki", "godwit"}


def write_etc(etc: Path, machine_etc: Path, state: LabState, node: Node) -> None:
    """Fill ``etc``, which is bound over /etc; ``machine_etc`` is where the machine's is bound."""
    etc.mkdir(parents=True, exist_ok=True)
    for entry in Path("/etc").iterdir():
        own = etc / entry.name
        if entry.name in _OWN or own.is_symlink():
            continue
        # a relative link such as os-release leads to the same place from here
        own.symlink_to(entry.readlink() if entry.is_symlink() else machine_etc / entry.name)
    lines = ["127.0.0.1 localhost", *(f"{state.address(n.number)} {n.name}" for n in state.nodes)]
    (etc / "hosts").write_text("\n".join(lines) + "\n", encoding="ascii")
    (etc / "hostname").write_text(f"{node.name}\n", encoding="ascii")
    # no name server: a lookup that /etc/hosts does not answer fails at once
    (etc / "resolv.conf").write_text("", encoding="ascii")
    machine_id = state.derived_uuid(f"machine-id {node.name}").hex
    (etc / "machine-id").write_text(f"{machine_id}\n", encoding="ascii")


def write_program_certificates(etc: Path, ca_certificate: bytes, pair: KeyPair) -> None:
    """Certificates of etcd, backend and agent, in /etc/godwit."""
    folder = etc / "godwit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_bytes(ca_certificate)
    write_key_pair(pair, cert_file=folder / "cert.pem", key_file=folder / "key.pem")


def write_libvirt_certificates(etc: Path, ca_certificate: bytes, pair: KeyPair) -> None:
    """Certificates where libvirt and QEMU look for them: /etc/pki."""
    pki = etc / "pki"
    for folder in ("CA", "libvirt/private", "qemu"):
        (pki / folder).mkdir(parents=True, exist_ok=True)
    (pki / "CA" / "cacert.pem").write_bytes(ca_certificate)
    (pki / "qemu" / "ca-cert.pem").write_bytes(ca_certificate)
    for side in ("server", "client"):
        write_key_pair(
            pair,
            cert_file=pki / "libvirt" / f"{side}cert.pem",
            key_file=pki / "libvirt" / "private" / f"{side}key.pem",
        )
        write_key_pair(
            pair,
            cert_file=pki / "qemu" / f"{side}-cert.pem",
            key_file=pki / "qemu" / f"{side}-key.pem",
        )
