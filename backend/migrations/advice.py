"""What to do about a failed migration, by the words of libvirt's or QEMU's error."""

_BY_WORDS: tuple[tuple[str, str], ...] = (
    (
        "libvirtd on ",
        "Look at that host's libvirtd and its log, and try again when it answers.",
    ),
    (
        "certificate",
        "Check that both hosts' libvirt certificates are of one CA and name the host and address.",
    ),
    (
        "unable to connect to server",
        "Check that the target's libvirtd runs and that its TLS port can be reached.",
    ),
    (
        "end of file while reading data",
        "libvirtd on one of the two hosts went away; look at its log, then try again.",
    ),
    (
        "client socket is closed",
        "The other host or the link to it went away; try again when both are online.",
    ),
    (
        "keepalive",
        "The link between the hosts was down; try again when they reach each other.",
    ),
    ("guest cpu", "The target's CPU lacks a feature that the guest was started with."),
    ("cannot access storage", "Check that the disk's pool is active and mounted on the target."),
    ("could not open", "Check that the target can open the disk's image with write access."),
    ('failed to get "write" lock', "Another process holds the disk's image open on the target."),
    ("unsafe", "Declare the disk's pool as shared in the agents' configuration if it is."),
    ("cannot allocate memory", "Free memory on the target or choose another one."),
    (
        "operation timed out",
        "The target's libvirt took too long; look at its log, then try again.",
    ),
    ("monitor socket", "QEMU on the target ended early; its log on the target says why."),
    ("unexpectedly closed the monitor", "QEMU ended early; its log on that host says why."),
)


def advice_for(error: str) -> str:
    """Give one sentence of advice; empty when the error's words are not known."""
    lowered = error.lower()
    return next((advice for words, advice in _BY_WORDS if words in lowered), "")
