"""The leading backend's duties side by side: one that fails takes no other along."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

from backend.moments import now_ms
from wire.console import FailingDuty

_log = logging.getLogger(__name__)

AGAIN_S = 10.0
"""A duty that has failed begins anew so much later."""
WELL_S = 300.0
"""One that has gone on for so long since counts as mended."""


class Faults:
    """Which duties fail, for those who do not read logs."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._failing: dict[str, FailingDuty] = {}

    @property
    def failing(self) -> tuple[FailingDuty, ...]:
        """Those that failed and did not go on well since, by name."""
        return tuple(self._failing[name] for name in sorted(self._failing))

    def add(self, name: str, error: Exception) -> None:
        """Count a failure."""
        known = self._failing.get(name)
        words = " ".join(str(error).split())
        self._failing[name] = FailingDuty(
            name=name,
            failures=known.failures + 1 if known else 1,
            since_ms=known.since_ms if known else now_ms(),
            reason=f"{type(error).__name__}: {words}" if words else type(error).__name__,
        )
        self._on_change()

    def forget(self, name: str) -> None:
        """Let go of what failed before."""
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
        mended = asyncio.get_running_loop().call_later(WELL_S, faults.forget, name)
        try:
            await duty()
        except Exception as error:  # noqa: BLE001 - a fault in one of them must not stop rescues, or drives
            _log.exception("the duty %s failed: it begins anew in %g s", name, AGAIN_S)
            faults.add(name, error)
        finally:
            mended.cancel()
        await asyncio.sleep(AGAIN_S)
