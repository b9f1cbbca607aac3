"""The leading backend's duties side by side: one that fails takes no other along."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Container, Mapping
from enum import StrEnum
from typing import NoReturn

from backend.leader_writes import NOTHING_IS_WRITTEN
from backend.moments import now_ms
from wire.console import FailingDuty
from wire.errors import GodwitError

_log = logging.getLogger(__name__)

AGAIN_S = 10.0
"""A duty that has failed begins anew so much later."""
WELL_S = 300.0
"""One that has gone on for so long since counts as mended."""


class Duty(StrEnum):
    """What the leading backend does all the time."""

    MIGRATIONS = "migrations"
    RESCUES = "rescues"
    DEPARTURES = "departures"
    EVACUATIONS = "evacuations"
    LEFTOVERS = "leftovers"
    AUDIT = "audit"


class Faults:
    """Which duties fail, for those who do not read logs."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._failing: dict[str, FailingDuty] = {}
        self._parts: dict[str, dict[str, float]] = {}
        """Name → each part of it that fails, and when that counts again, monotonic."""

    @property
    def failing(self) -> tuple[FailingDuty, ...]:
        """Those that failed and did not go on well since, by name."""
        return tuple(self._failing[name] for name in sorted(self._failing))

    def add(self, name: str, error: BaseException, *, of: str = "") -> None:
        """Count a failure, of what the duty does for ``of`` if that is given."""
        known = self._failing.get(name)
        self._failing[name] = FailingDuty(
            name=name,
            failures=known.failures + 1 if known else 1,
            since_ms=known.since_ms if known else now_ms(),
            reason=f"{of}: {_words(error)}" if of else _words(error),
        )
        self._on_change()

    def add_part(self, name: str, part: str, error: BaseException, *, of: str = "") -> None:
        """Note that a part of a duty fails, which goes on: counted once in :data:`AGAIN_S`.

        Where nothing can be written at all, no duty is to blame: the status says that by itself.
        """
        if isinstance(error, GodwitError) and error.code in NOTHING_IS_WRITTEN:
            return
        parts, now_s = self._parts.setdefault(name, {}), time.monotonic()
        if now_s >= parts.get(part, 0.0):
            parts[part] = now_s + AGAIN_S
            self.add(name, error, of=of)

    def keep_parts(self, name: str, failing: Container[str]) -> None:
        """Let go of all parts of a duty but those that still fail, and of itself without any."""
        parts = self._parts.get(name, {})
        over = [part for part in parts if part not in failing]
        for part in over:
            del parts[part]
        if over and not parts:
            self.forget(name)

    def mended(self, name: str) -> None:
        """Let go of a duty that went on well, unless a part of it fails."""
        if not self._parts.get(name):
            self.forget(name)

    def forget(self, name: str) -> None:
        """Let go of what failed before."""
        self._parts.pop(name, None)
        if self._failing.pop(name, None) is not None:
            self._on_change()


async def do_all(duties: Mapping[str, Callable[[], Awaitable[object]]], faults: Faults) -> None:
    """Do duties that never end, until cancelled.

    Args:
        duties: by name; each begins from what is in etcd, and so can begin anew at any time.
        faults: where failures are told. Who is cancelled leads no more, and has none.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for name, duty in duties.items():
                group.create_task(_for_ever(name, duty, faults))
    finally:
        for name in duties:
            faults.forget(name)


async def _for_ever(name: str, duty: Callable[[], Awaitable[object]], faults: Faults) -> NoReturn:
    while True:
        mended = asyncio.get_running_loop().call_later(WELL_S, faults.mended, name)
        try:
            await duty()
        except Exception as error:  # noqa: BLE001 - a fault in one of them must not stop rescues, or drives
            _log.exception("the duty %s failed: it begins anew in %g s", name, AGAIN_S)
            faults.add(name, error)
        finally:
            mended.cancel()
        await asyncio.sleep(AGAIN_S)


def _words(error: BaseException) -> str:
    """An error in one line; ours are sentences, and others say little without their type."""
    words = " ".join(str(error).split())
    if isinstance(error, GodwitError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
