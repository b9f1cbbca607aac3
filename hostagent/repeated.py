"""What is asked of libvirt again and again, until it has answered."""

import asyncio
import logging
from collections.abc import Callable

from hostagent.driver import LibvirtDriver, NoSuchServer
from wire.errors import GodwitError
from wire.fleet import PowerState

_log = logging.getLogger(__name__)

_ABORT_RETRY_S = 0.05
_TRUTH_RETRY_S = 0.25


async def abort(driver: LibvirtDriver, server_id: str, *, over: Callable[[], bool]) -> None:
    """Abort a server's migration; right after the start libvirt does not have it yet.

    Args:
        driver: this host's libvirt.
        server_id: whose migration it is.
        over: whether there is nothing left to be aborted.
    """
    while not over():
        try:
            if await driver.abort_job(server_id):
                return
        except NoSuchServer:
            return
        except GodwitError as error:
            _log.warning("migration of %s not aborted: %s", server_id, error.message)
        await asyncio.sleep(_ABORT_RETRY_S)


async def still_here(driver: LibvirtDriver, server_id: str) -> bool:
    """Whether a guest is on this host although its migration is over."""
    while True:
        try:
            truth = await driver.truth(server_id)
        except GodwitError:
            await asyncio.sleep(_TRUTH_RETRY_S)
            continue
        return truth.state in {PowerState.RUNNING, PowerState.PAUSED}
