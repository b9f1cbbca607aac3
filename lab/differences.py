"""In what the later hosts of a large lab differ, beside their /proc/cpuinfo."""

from pathlib import Path

OTHER_KERNEL = "5.10.0-28-amd64"
"""The release of another Debian's kernel, which no machine that a lab runs on has."""
MISSING_FEATURE = "aes"
"""What one host's CPUs lack: servers are sold with it, and firmware can switch it off."""
EMULATOR = Path("/usr/bin/qemu-system-x86_64")

# libvirt asks the emulator what its CPUs have, and starts guests with the option -cpu, whose last
# word on a feature counts; what is given by -global holds for every CPU without that option
_WRAPPER = """\
#!/bin/sh
option=
for argument in "$@"; do
    shift
    [ "$option" != -cpu ] || argument="$argument,{feature}=off"
    set -- "$@" "$argument"
    option=$argument
done
exec {emulator} -global x86_64-cpu.{feature}=off "$@"
"""


def kernel_of_host(index: int, host_count: int) -> str:
    """Kernel release that the host at ``index`` (0 is the first) shows; empty for the machine's.

    Among five or more hosts it is the fifth that differs in its kernel alone.
    """
    return OTHER_KERNEL if index == 4 and host_count >= 5 else ""


def missing_feature_of_host(index: int, host_count: int) -> str:
    """CPU feature, by QEMU's name, that guests of the host at ``index`` cannot have; or empty.

    Among six or more hosts it is the sixth, alike the first in all that /proc shows.
    """
    return MISSING_FEATURE if index == 5 and host_count >= 6 else ""


def write_emulator(folder: Path, feature: str) -> None:
    """Make in ``folder`` an emulator that runs the machine's as if no CPU here had ``feature``."""
    real = _real(folder)
    real.parent.mkdir(parents=True, exist_ok=True)
    real.touch()
    # QEMU looks for its modules and firmware beside the folder that it lies in
    for name in ("lib", "share"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(EMULATOR.parent.parent / name)
    wrapper = folder / "wrapper"
    wrapper.write_text(_WRAPPER.format(emulator=real, feature=feature), encoding="ascii")
    wrapper.chmod(0o755)


def emulator_binds(folder: Path) -> list[tuple[Path, Path]]:
    """Source and target of the mounts by which a host has the emulator of ``folder``, if any."""
    wrapper = folder / "wrapper"
    return [(EMULATOR, _real(folder)), (wrapper, EMULATOR)] if wrapper.exists() else []


def _real(folder: Path) -> Path:
    """Where the machine's emulator is mounted, under its own name for the sake of ``ps``."""
    return folder / "bin" / EMULATOR.name
