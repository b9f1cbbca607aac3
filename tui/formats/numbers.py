"""Numbers that people type, for the command line and the console alike."""

from tui.formats.units import MEBIBYTE

MOST_MIB_PER_S = 1_000_000
"""No link is quicker, and libvirt takes no more than 64 bits of bytes."""
MOST_DOWNTIME_MS = 2_000_000
"""QEMU's own bound (``MAX_MIGRATE_DOWNTIME``)."""


class NumberError(ValueError):
    """A number that cannot be meant; the message is one sentence that begins with what it is."""


def bandwidth_bytes_per_s(text: str, what: str) -> int:
    """Read a bandwidth in MiB/s, which climc calls MB.

    Raises:
        NumberError: it is no whole number, or out of range.
    """
    return _whole(text, what, unit="MiB/s", most=MOST_MIB_PER_S) * MEBIBYTE


def downtime_ms(text: str, what: str) -> int:
    """Read a downtime in ms.

    Raises:
        NumberError: it is no whole number, or out of range.
    """
    return _whole(text, what, unit="ms", most=MOST_DOWNTIME_MS)


def _whole(text: str, what: str, *, unit: str, most: int) -> int:
    digits = text.strip()
    # int() would take 1_000, digits of other scripts, and minutes for a million digits
    if digits.isascii() and digits.isdigit() and len(digits) <= 12 and 1 <= int(digits) <= most:
        return int(digits)
    shown = text if len(text) <= 24 else f"{text[:24]}…"
    raise NumberError(f"{what} is {shown!r}, and should be a whole number of {unit}, 1 to {most}")
