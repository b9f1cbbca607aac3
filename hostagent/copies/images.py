"""What QEMU says of disk images: format, size, and the images below."""

import json
import subprocess
from typing import Any

import msgspec

from wire.errors import ErrorCode, GodwitError

_TIMEOUT_S = 10.0


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a chain."""

    path: str
    format: str
    virtual_bytes: int


class ImageUnread(GodwitError):
    """qemu-img cannot tell what an image is; the message ends with its own text."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(ErrorCode.CONFLICT, f"{path} cannot be read as an image: {reason}")


def image_chain(path: str, image_format: str) -> tuple[Image, ...]:
    """An image and those below it, the nearest first (``qemu-img info --backing-chain``). Blocks.

    Args:
        path: of the topmost image.
        image_format: as the domain's XML has it; never guessed, since a guest could write a
            header into a raw disk that names any file of the host.

    Raises:
        ImageUnread: missing, broken, or no answer in time.
    """
    command = ["info", "--backing-chain", "-U", "--output=json", "-f", image_format, path]
    described = _qemu_img(path, command)
    chain = []
    wanted = path
    for one in json.loads(described):
        chain.append(_image(one, wanted))
        wanted = one.get("full-backing-filename") or one.get("backing-filename") or ""
    return tuple(chain)


def _image(described: dict[str, Any], path: str) -> Image:
    return Image(
        path=path,
        format=str(described["format"]),
        virtual_bytes=int(described["virtual-size"]),
    )


def make_image(path: str, image_format: str, virtual_bytes: int) -> None:
    """Make an empty image that the guest sees at this size. Blocks.

    Raises:
        ImageUnread: qemu-img refused or gave no answer in time; the message says which.
    """
    _qemu_img(path, ["create", "-q", "-f", image_format, path, str(virtual_bytes)])


def _qemu_img(path: str, arguments: list[str]) -> str:
    try:
        done = subprocess.run(
            ["qemu-img", *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ImageUnread(path, f"qemu-img did not answer within {_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise ImageUnread(path, f"qemu-img cannot be started: {error.strerror}") from None
    if done.returncode:
        raise ImageUnread(path, done.stderr.strip().removeprefix("qemu-img: "))
    return done.stdout
