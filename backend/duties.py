"""The leading backend's duties side by side: one that fails takes no other along."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

_log = logging.getLogger(__name__)

AGAIN_S = 10.0
"""A duty that has failed begins anew so much later."""


async def do_all(*duties: Callable[[], Awaitable[object]]) -> None:
    """Do duties that never end, until cancelled.

    Args:
        duties: each begins from what is in etcd, and so can begin anew at any time.
    """
    async with asyncio.TaskGroup() as group:
        for duty in duties:
            group.create_task(_for_ever(duty))


async def _for_ever(duty: Callable[[], Awaitable[object]]) -> NoReturn:
    while True:
        try:
            await duty()
        except Exception:  # noqa: BLE001 - a fault in one of them must not stop rescues, or drives
            _log.exception("%s failed: it begins anew in %g s", duty.__qualname__, AGAIN_S)
        await asyncio.sleep(AGAIN_S)
