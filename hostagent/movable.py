"""What a guest has to be, and its disks, before it may leave; every refusal says why."""

from hostagent.guest import Guest
from wire.agent import MigrateCommand
from wire.errors import conflict
from wire.fleet import Disk, PowerState


def require_movable(guest: Guest) -> None:
    """Refuse a guest that cannot be moved live from here.

    Raises:
        GodwitError: ``CONFLICT`` with the state that it is in.
    """
    name, state = guest.definition.name, guest.state
    if guest.incoming:
        why = "is only just being received by this host"
    elif guest.job_active:
        why = "has a migration job of libvirt already"
    elif state.power not in {PowerState.RUNNING, PowerState.PAUSED}:
        why = f"is {state.power.replace('_', ' ')}, and only a running server can be moved live"
    else:
        return
    raise conflict(f"{name!r} {why}")


def require_disks(guest: Guest, command: MigrateCommand) -> None:
    """Refuse to copy disks that are not (any more) as the target was told.

    Raises:
        GodwitError: ``CONFLICT``.
    """
    sources = {one.disk.target: one.disk.source for one in guest.definition.disks}
    for disk in command.disks:
        source = sources.get(disk.disk_target, "")
        if source != disk.source_path:
            raise conflict(
                f"the disk {disk.disk_target!r} of {guest.definition.name!r} is {source!r} by now, "
                f"and the target made room for {disk.source_path!r}",
            )


def require_all_copied(guest: Guest, disks: tuple[Disk, ...], command: MigrateCommand) -> None:
    """Refuse to leave a local disk behind: the target may have another file under its path.

    Raises:
        GodwitError: ``CONFLICT``.
    """
    copied = {disk.disk_target for disk in command.disks}
    for disk in disks:
        stays = disk.shared or not disk.source or disk.device in {"cdrom", "floppy"}
        if not stays and disk.target not in copied:
            raise conflict(
                f"the disk {disk.target!r} ({disk.source}) of {guest.definition.name!r} is in no "
                f"shared pool, and {command.target_host_name} made no room for it",
            )
