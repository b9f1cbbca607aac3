"""One range of a file, copied by ``qemu-img convert``."""

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable

from hostagent.copies.daemon import QemuRefused

_PROGRESS = re.compile(rb"\(([0-9.]+)/100%\)")


class SourceBroke(QemuRefused):
    """The source, or the way to it; the copy may go on later."""


class TargetRefused(QemuRefused):
    """The disk here: it is full or broken."""


async def copy_range(
    *,
    socket_path: str,
    name: str,
    path: str,
    offset: int,
    size: int,
    requests: int = 8,
    on_progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Copy a range of an export to the same place of a file; zeros stay holes.

    Args:
        socket_path: of the daemon that reads the source.
        name: its export.
        path: a file that has its full length, and nothing but the source's data or holes.
        offset: multiple of 512.
        size: multiple of 512.
        requests: how many of 2 MiB are under way at once; QEMU tells of each when it begins.
        on_progress: told the share that is done, 0 to 1.

    Raises:
        SourceBroke: with QEMU's own text.
        TargetRefused: with QEMU's own text.
    """
    window = f"driver=raw,offset={offset},size={size}"
    source = (
        f"{window},file.driver=nbd,file.server.type=unix,"
        f"file.server.path={_quoted(socket_path)},file.export={name}"
    )
    target = f"{window},file.driver=file,file.locking=off,file.filename={_quoted(path)}"
    process = await asyncio.create_subprocess_exec(
        *("qemu-img", "convert", "-p", "-n", "-W", "-m", str(requests), "--target-is-zero"),
        *("--image-opts", "--target-image-opts", source, target),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    if process.stdout is None or process.stderr is None:
        raise TypeError("both are pipes")
    try:
        reading = asyncio.create_task(process.stderr.read())
        while text := await process.stdout.read(4096):
            shares = _PROGRESS.findall(text)
            if shares:
                on_progress(float(shares[-1]) / 100)
        words = (await reading).decode(errors="replace").strip().removeprefix("qemu-img: ")
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status == 0:
        return
    if not words:
        raise SourceBroke(f"qemu-img ended with status {status}")
    if "error while writing" in words or path in words:
        raise TargetRefused(words)
    raise SourceBroke(words)


def _quoted(path: str) -> str:
    """A comma would end the option's value."""
    return path.replace(",", ",,")
