"""Following a prefix of etcd: list, watch from that revision, list again after any break."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import msgspec

from wire.etcd import Change, ChangeStream, Etcd, EtcdUnreachable, KeyValue, Listing

_RETRY_S = 1.0


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Replaces all that was known under the prefix, and ends a :class:`Lost`."""

    prefix: str
    listing: Listing


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """One key was put, or with ``item`` None deleted."""

    prefix: str
    key: str
    revision: int
    item: KeyValue | None


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """etcd does not answer: what is known may be stale, and nobody may conclude from absence."""

    prefix: str
    reason: str


Observation = Listed | Changed | Lost
_Raw = Listing | Change | EtcdUnreachable


async def watch(
    etcd: Etcd, prefix: str, *, poll_s: float | None = None
) -> AsyncIterator[Observation]:
    """Observe a prefix for ever; close the iterator to end it.

    Args:
        etcd: the connection; its calls are made in threads.
        prefix: the keys to observe.
        poll_s: list this often besides, so that a frozen etcd is noticed although the watch shows
            nothing. Only for small prefixes.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[_Raw] = asyncio.Queue()
    feed = _Feed(etcd, prefix, lambda raw: loop.call_soon_threadsafe(arrived.put_nowait, raw))
    feed.start(poll_s)
    try:
        seen_revision = 0
        lost_reason = ""
        while True:
            raw = await arrived.get()
            match raw:
                case EtcdUnreachable():
                    if raw.message != lost_reason:
                        lost_reason = raw.message
                        yield Lost(prefix=prefix, reason=raw.message)
                case Listing() if raw.revision >= seen_revision or lost_reason:
                    # an older listing can arrive late from the other thread: it must not win,
                    # unless etcd was away and came back from a backup, with lower revisions
                    seen_revision, lost_reason = raw.revision, ""
                    yield Listed(prefix=prefix, listing=raw)
                case Change() if raw.revision >= seen_revision:
                    seen_revision = raw.revision
                    yield Changed(prefix=prefix, key=raw.key, revision=raw.revision, item=raw.item)
    finally:
        feed.stop()


class _Feed:
    """The threads behind one :func:`watch`."""

    def __init__(self, etcd: Etcd, prefix: str, emit: Callable[[_Raw], object]) -> None:
        self._etcd = etcd
        self._prefix = prefix
        self._emit_raw = emit
        self._stopped = threading.Event()
        self._stream: ChangeStream | None = None

    def start(self, poll_s: float | None) -> None:
        threading.Thread(target=self._watch, name=f"watch {self._prefix}", daemon=True).start()
        if poll_s is not None:
            threading.Thread(
                target=self._poll, args=(poll_s,), name=f"poll {self._prefix}", daemon=True
            ).start()

    def stop(self) -> None:
        self._stopped.set()
        if self._stream is not None:
            self._stream.cancel()

    def _emit(self, raw: _Raw) -> None:
        if not self._stopped.is_set():
            self._emit_raw(raw)

    def _watch(self) -> None:
        while not self._stopped.is_set():
            try:
                listing = self._etcd.list(self._prefix)
                self._emit(listing)
                self._stream = self._etcd.changes(self._prefix, since_revision=listing.revision + 1)
                for batch in self._stream:
                    for change in batch:
                        self._emit(change)
            except EtcdUnreachable as error:
                self._emit(error)
            self._stopped.wait(_RETRY_S)

    def _poll(self, poll_s: float) -> None:
        while not self._stopped.wait(poll_s):
            try:
                self._emit(self._etcd.list(self._prefix))
            except EtcdUnreachable as error:
                self._emit(error)
