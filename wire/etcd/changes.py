"""One watch of a prefix of etcd."""

import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from etcd3 import etcdrpc

from wire.etcd.reasons import reason_of
from wire.etcd.stored import Change, EtcdUnreachable, key_value, text_of


class ChangeStream:
    """Iterates over batches of changes until :meth:`cancel`; cannot be used again.

    Raises:
        EtcdUnreachable: the stream broke or the revision was compacted: list again.
    """

    def __init__(
        self, client: Any, endpoints: Sequence[str], prefix: str, since_revision: int
    ) -> None:
        self._endpoints = endpoints
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        start = prefix.encode()
        end = start[:-1] + bytes([start[-1] + 1])
        self._requests.put(
            etcdrpc.WatchRequest(
                create_request=etcdrpc.WatchCreateRequest(
                    key=start, range_end=end, start_revision=since_revision
                )
            )
        )
        self._call = etcdrpc.WatchStub(client.channel).Watch(iter(self._requests.get, None))

    def __iter__(self) -> Iterator[tuple[Change, ...]]:
        try:
            for answer in self._call:
                if answer.canceled:
                    raise EtcdUnreachable(
                        self._endpoints, f"watch cancelled: {answer.cancel_reason or 'compacted'}"
                    )
                if answer.events:
                    yield tuple(_change(event) for event in answer.events)
        except grpc.RpcError as error:
            if not self._cancelled.is_set():
                raise EtcdUnreachable(self._endpoints, reason_of(error)) from None
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End the stream from any thread."""
        self._cancelled.set()
        self._requests.put(None)
        with contextlib.suppress(grpc.RpcError):
            self._call.cancel()


def _change(event: Any) -> Change:
    return Change(
        key=text_of(event.kv.key),
        revision=event.kv.mod_revision,
        item=key_value(event.kv) if event.type == event.PUT else None,
    )
