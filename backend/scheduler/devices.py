"""What is tied to its host, or what libvirt does not take along: devices, media, snapshots."""

from backend.scheduler.move import HostState, Move


class Passthrough:
    """The guest holds no device of its host."""

    name = "devices"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        if not move.server.passthrough:
            return ""
        return (
            f"{move.server.name} holds {', '.join(move.server.passthrough)} of "
            f"{move.source.name}, which cannot move; detach it first"
        )

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        return "none", ", ".join(move.server.passthrough) or "none"


class Media:
    """No CD-ROM or floppy image lies where only the source reaches it; a cold move takes it."""

    name = "media"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        media = _local_media(move)
        if not media:
            return ""
        return (
            f"{move.server.name} has {', '.join(media)} inserted, which only "
            f"{move.source.name} reaches; eject it first"
        )

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        return "none", ", ".join(_local_media(move)) or "none"


class Snapshots:
    """A guest with snapshots does not move live: libvirt refuses it. A cold move takes them."""

    name = "snapshots"

    def refusal(self, move: Move, host: HostState) -> str:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        names = move.server.snapshot_names
        if not names:
            return ""
        return (
            f"{move.server.name} has snapshots ({', '.join(names)}), with which libvirt moves no "
            "guest that is on; delete them, or stop it and use server-migrate"
        )

    def values(self, move: Move, host: HostState) -> tuple[str, str]:
        """See :class:`backend.scheduler.move.Filter`."""
        del host
        return "none", ", ".join(move.server.snapshot_names) or "none"


def _local_media(move: Move) -> list[str]:
    return [
        f"{disk.target} ({disk.source})"
        for disk in move.server.disks
        if disk.source and disk.device in {"cdrom", "floppy"} and not disk.shared
    ]
