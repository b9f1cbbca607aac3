"""The labs of this machine: where each is recorded, and who may change it now."""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from lab import network
from lab.errors import LabError
from lab.state import LabShape, LabState, Resources, new_state

LOCK_TIMEOUT_S = 60.0

RecordT = TypeVar("RecordT", bound=Resources)


def labs_root() -> Path:
    """The folder that holds every lab's folder."""
    return Path(os.environ.get("GODWIT_LAB_ROOT", "/var/lib/godwit-lab")).absolute()


def lab_folder(name: str) -> Path:
    """The folder that holds everything of one lab.

    Raises:
        LabError: the name is not fit to be a folder's.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise LabError(
            f"{name!r} cannot name a lab: use up to 31 of a-z, 0-9 and '-', and no '-' at first"
        )
    return labs_root() / name


def read_state(name: str) -> LabState | None:
    """What is recorded of a lab; None when there is no such lab."""
    return _read(lab_folder(name), LabState)


def read_resources(name: str) -> Resources | None:
    """What has to be ended with a lab; None when there is no such lab."""
    return _read(lab_folder(name), Resources)


def all_resources() -> list[Resources]:
    """Every lab that is recorded on this machine; one that cannot be read concerns only itself."""
    found = []
    for path in sorted(labs_root().glob("*/state.json")):
        with suppress(LabError):
            found.append(_read(path.parent, Resources))
    return [resources for resources in found if resources is not None]


def _read(folder: Path, kind: type[RecordT]) -> RecordT | None:
    path = folder / "state.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LabError(f"{path} cannot be read: {error}") from None


def write_state(state: LabState) -> None:
    """Record a lab, whole or not at all."""
    path = lab_folder(state.name) / "state.json"
    fresh = path.with_name("state.json.new")
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def locked(folder: Path, *, make: bool = False) -> Iterator[None]:
    """Hold a folder against every other godwit-lab command; with ``make``, make it if missing.

    Raises:
        LabError: another command holds it for longer than a minute, or it is gone.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if make:
                continue
            raise LabError(f"{folder} is gone: another command has just ended this lab") from None
        try:
            # `down` may have removed the folder that was opened here
            if _lock(handle) and os.fstat(handle).st_nlink > 0:
                yield
                return
        finally:
            os.close(handle)
        if time.monotonic() > deadline:
            raise LabError(f"another godwit-lab command holds {folder} for {LOCK_TIMEOUT_S:.0f} s")
        time.sleep(0.05)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def claim(name: str, shape: LabShape) -> None:
    """Record a new lab with a network of its own, unless there is this lab already.

    Raises:
        LabError: no network is free.
    """
    with locked(labs_root(), make=True):
        if read_state(name) is not None:
            return
        taken = {other.subnet for other in all_resources()}
        for subnet in range(1, 255):
            if subnet not in taken and network.subnet_is_free(subnet):
                break
        else:
            raise LabError("every network 10.77.1.0/24 to 10.77.254.0/24 is in use here")
        lab_folder(name).mkdir(exist_ok=True)
        write_state(new_state(name, subnet=subnet, shape=shape))


def unknown_lab(name: str) -> LabError:
    """The sentence for a name that no lab has."""
    known = ", ".join(other.name for other in all_resources()) or "none"
    return LabError(f"there is no lab {name!r} on this machine; labs here: {known}")
