"""The card over which this host's moves leave and arrive, and how fast it says that it is."""

import socket
import subprocess
from pathlib import Path

import msgspec

_CARDS = Path("/sys/class/net")
_LIST = ("ip", "-json", "address", "show")
_LIST_TIMEOUT_S = 5.0
_BYTES_IN_MBIT = 125_000


class _Address(msgspec.Struct, frozen=True):
    local: str = ""


class _Interface(msgspec.Struct, frozen=True):
    ifname: str
    addr_info: tuple[_Address, ...] = ()


def link_bytes_per_s(address: str) -> int:
    """What the card of the migration network says of itself; 0 if it does not. Blocks.

    Args:
        address: where other hosts send migrations to: an IP address or a name of this host.
    """
    name = interface_of(address)
    return 0 if name is None else card_bytes_per_s(_read(_CARDS / name / "speed"))


def interface_of(address: str) -> str | None:
    """The interface that has an address of this host; None if none has or nobody can tell."""
    try:
        listed = subprocess.run(_LIST, capture_output=True, check=True, timeout=_LIST_TIMEOUT_S)
        interfaces = msgspec.json.decode(listed.stdout, type=tuple[_Interface, ...])
        wanted = {str(info[4][0]) for info in socket.getaddrinfo(address, None)}
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return None
    names = (one.ifname for one in interfaces if wanted & {each.local for each in one.addr_info})
    return next(names, None)


def card_bytes_per_s(speed: str) -> int:
    """The text of ``/sys/class/net/<interface>/speed``, Mbit/s, in bytes per second.

    The kernel says -1, or refuses to say, for a card that does not know or has no cable.
    """
    try:
        return max(0, int(speed)) * _BYTES_IN_MBIT
    except ValueError:
        return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
