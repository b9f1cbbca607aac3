"""The host's life in etcd: its key, its fence, and whether it may act."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import msgspec

from hostagent.config import AgentConfig
from hostagent.fence.deadline import refresh_timeout_s
from hostagent.fencing import Fencing
from hostagent.heartbeat import Heartbeat
from hostagent.returning import Returning
from hostagent.shutdown import mark, take_back
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Etcd
from wire.keys import POLICIES
from wire.watch import Changed, Listed, watch

_log = logging.getLogger(__name__)

_RETRY_S = 1.0
_POLICY_S = 5.0
_FENCE_S = 0.5
_SHUTDOWN_S = 1.0


class Life:
    """Begins with the first facts, and again with each lease: not ready, until all is settled."""

    def __init__(
        self,
        config: AgentConfig,
        etcd: Etcd,
        fencing: Fencing,
        returning: Returning,
        *,
        on_epoch: Callable[[int], None],
        on_ready: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            config: the agent's.
            etcd: its connection.
            fencing: who fences this host.
            returning: who ends what this host lost.
            on_epoch: called with each epoch that begins, in the asyncio loop as the next.
            on_ready: called when the host may act.
        """
        self._config = config
        self._etcd = etcd
        self._fencing = fencing
        self._returning = returning
        self._on_epoch = on_epoch
        self._on_ready = on_ready
        self._heartbeat: Heartbeat | None = None
        self._host_id = ""
        self._known = asyncio.Event()
        self._due = asyncio.Event()
        self._ready_epoch = 0

    def begin(self, host_id: str) -> None:
        """It is known which host this is, and stays so: take its key."""
        self._host_id = host_id
        self._known.set()

    @property
    def ready(self) -> bool:
        """Whether orders are taken at this moment."""
        heartbeat = self._heartbeat
        return heartbeat is not None and heartbeat.held and self._ready_epoch == heartbeat.epoch

    def key_revision(self) -> int:
        """Revision of this host's health key, for transactions that need it to be there.

        Raises:
            GodwitError: ``NOT_READY``, it is not.
        """
        revision = 0 if self._heartbeat is None else self._heartbeat.revision
        if revision:
            return revision
        raise GodwitError(
            ErrorCode.NOT_READY,
            "this host holds no lease at etcd: it takes no orders until it has one",
        )

    def require_ready(self) -> None:
        """Refuse orders to a host that may not act.

        Raises:
            GodwitError: ``NOT_READY``.
        """
        if self.ready:
            return
        if self._heartbeat is None or not self._heartbeat.held:
            raise GodwitError(
                ErrorCode.NOT_READY,
                "this host holds no lease at etcd: it takes no orders until it has one",
            )
        raise GodwitError(
            ErrorCode.NOT_READY,
            f"this host has come back with epoch {self._heartbeat.epoch} and still ends what it "
            "does not own any more: try again soon",
        )

    async def run(self) -> NoReturn:
        """Live until cancelled; the key stays until its TTL has passed."""
        await self._known.wait()
        self._heartbeat = heartbeat = self._make_heartbeat()
        heartbeat.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._settle(heartbeat))
                tasks.create_task(self._follow_policy(heartbeat))
                tasks.create_task(self._check_fence(heartbeat))
                tasks.create_task(self._follow_shutdown())
        finally:
            await asyncio.to_thread(heartbeat.stop)
        raise AssertionError  # the tasks above never end

    def _make_heartbeat(self) -> Heartbeat:
        loop = asyncio.get_running_loop()
        ttl_s = self._config.lease_ttl_s
        timeout_s = refresh_timeout_s(ttl_s, self._config.etcd.timeout_s)

        def on_held(epoch: int) -> None:
            loop.call_soon_threadsafe(self._on_epoch, epoch)
            loop.call_soon_threadsafe(self._due.set)

        return Heartbeat(
            Etcd(msgspec.structs.replace(self._config.etcd, timeout_s=timeout_s)),
            self._host_id,
            ttl_s=ttl_s,
            fencing=self._fencing,
            end_lost=partial(self._returning.end_lost, self._host_id),
            on_held=on_held,
        )

    async def _settle(self, heartbeat: Heartbeat) -> NoReturn:
        while True:
            await self._due.wait()
            self._due.clear()
            epoch = heartbeat.epoch
            try:
                await self._returning.settle(self._host_id)
            except GodwitError as error:
                _log.warning("not ready: %s", error.message)
                await asyncio.sleep(_RETRY_S)
                self._due.set()
                continue
            self._ready_epoch = epoch
            _log.info("ready, in epoch %d", epoch)
            self._on_ready()

    async def _follow_policy(self, heartbeat: Heartbeat) -> None:
        key = POLICIES + self._host_id
        known: bytes | None = None
        async for seen in watch(self._etcd, key, poll_s=_POLICY_S):
            match seen:
                case Listed():
                    found = [one.value for one in seen.listing.items if one.key == key]
                    value = found[0] if found else None
                case Changed() if seen.key == key:
                    value = None if seen.item is None else seen.item.value
                case _:
                    continue
            if value != known:
                known = value
                heartbeat.policy_changed()

    async def _check_fence(self, heartbeat: Heartbeat) -> NoReturn:
        while True:
            await asyncio.to_thread(heartbeat.check)
            await asyncio.sleep(_FENCE_S)

    async def _follow_shutdown(self) -> NoReturn:
        """Say that the host shuts down, and take the word back when it does not any more."""
        folder = self._config.run_dir
        said, due = False, True
        while True:
            if mark(folder).exists():
                if not said:
                    _log.warning(
                        "this host shuts down, and starts no server by itself; if it does not, "
                        "remove %s",
                        mark(folder),
                    )
                said = due = True
            elif due:
                try:
                    await asyncio.to_thread(take_back, self._etcd, folder, self._host_id)
                    said = due = False
                except GodwitError as error:
                    _log.warning("the word of the shutdown is not taken back: %s", error.message)
            await asyncio.sleep(_SHUTDOWN_S)
