"""The program ``godwit-fence``."""

import argparse
import ctypes
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple, NoReturn

from hostagent.fence.card import Card
from hostagent.fence.deadline import boot_clock_s
from hostagent.fence.guests import cached_disk, find_guests, find_libvirt, is_gone, kill
from hostagent.fence.rounds import Fence, Host
from hostagent.fence.word import (
    STATUS,
    Word,
    boot_id,
    read_status,
    read_word,
    remove_mark,
    set_mark,
    was_fenced,
    write,
)

_ROUND_S = 0.2
_LOCK_ALL = 1 | 2
"""``MCL_CURRENT | MCL_FUTURE``."""
_PRIORITY = 20


class FenceConfig(NamedTuple):
    """What the fence reads of the agent's configuration file."""

    device: Path
    watchdog_timeout_s: int
    """0 derives it from the lease."""
    folder: Path
    state_folder: Path
    etcd_timeout_s: float


def main() -> None:
    """Run the fence for ever."""
    parser = argparse.ArgumentParser(
        prog="godwit-fence", description="Kills a host's guests before others may start them."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    config = _read_config(parser.parse_args().config)
    _stay_awake()
    # an end that is asked for is like any other: an armed card goes on counting
    fence = Fence(
        _host(config),
        pid=os.getpid(),
        etcd_timeout_s=config.etcd_timeout_s,
        earlier=read_status(config.folder),
    )
    _say(f"runs with {config.device}")
    _run(fence, config.folder)


def _run(fence: Fence, folder: Path) -> NoReturn:
    told = ""
    while True:
        status = fence.round()
        try:
            write(folder / STATUS, status)
            told = ""
        except OSError as error:  # the card comes first
            if str(error) != told:
                told = str(error)
                _say(f"status not written: {error}")
        time.sleep(_ROUND_S)


def _host(config: FenceConfig) -> Host:
    def open_card(wished_s: int) -> Card:
        timeout_s = config.watchdog_timeout_s
        return Card(config.device, timeout_s=timeout_s or wished_s, configured=timeout_s > 0)

    this_boot = boot_id()

    def word_of_this_boot() -> Word | None:
        word = read_word(config.folder)
        return word if word is not None and word.boot_id == this_boot else None

    return Host(
        clock=boot_clock_s,
        read_word=word_of_this_boot,
        open_card=open_card,
        find_guests=find_guests,
        find_libvirt=find_libvirt,
        cached_disk=cached_disk,
        kill=kill,
        is_gone=is_gone,
        was_fenced=lambda: was_fenced(config.state_folder, this_boot),
        set_mark=lambda: set_mark(config.state_folder, this_boot),
        remove_mark=lambda: remove_mark(config.state_folder),
        say=_say,
    )


def _read_config(path: Path) -> FenceConfig:
    """The agent checks the file; here only what is used must be right."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
        return FenceConfig(
            device=Path(content.get("watchdog_device", "/dev/watchdog")),
            watchdog_timeout_s=int(content.get("watchdog_timeout_s", 0)),
            folder=Path(content.get("run_dir", "/run/godwit")),
            state_folder=Path(content.get("state_dir", "/var/lib/godwit")),
            etcd_timeout_s=float(content["etcd"].get("timeout_s", 2.0)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"godwit-fence: {path}: {error}")


def _stay_awake() -> None:
    """Neither swapped out nor starved; say so where the machine does not allow it."""
    if ctypes.CDLL(None, use_errno=True).mlockall(_LOCK_ALL) != 0:
        _say(f"its memory may be swapped out: {os.strerror(ctypes.get_errno())}")
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    except OSError as error:
        _say(f"runs without real-time priority: {error.strerror}")


def _say(line: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} godwit-fence: {line}", file=sys.stderr, flush=True)  # noqa: T201 - its log


if __name__ == "__main__":
    main()
