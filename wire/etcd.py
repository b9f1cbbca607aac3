"""The one connection to etcd; nothing else imports etcd3.

etcd3 0.12 is kept behind this module because its calls have no time-out by default, its watch never
recovers, and it knows one endpoint only. Its generated messages need protobuf's Python
implementation, which must be chosen before protobuf is first imported.
"""

import os

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import etcd3
import grpc
import msgspec
from etcd3 import etcdrpc

from wire.config import ConfigError, EtcdConfig
from wire.errors import ErrorCode, GodwitError
from wire.rescue import EtcdMember
from wire.tls import client_context

_GRPC_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 64 << 20),
)
"""Notice a frozen etcd within 16 s even on an idle watch, and come back within a second."""

ResultT = TypeVar("ResultT")


class EtcdUnreachable(GodwitError):
    """No endpoint answered in time. Whether a write was done is then not known."""

    def __init__(self, endpoints: Sequence[str], reason: str) -> None:
        where = ", ".join(endpoints)
        super().__init__(
            ErrorCode.ETCD_UNREACHABLE,
            f"etcd does not answer at {where} ({reason})",
        )


class KeyValue(msgspec.Struct, frozen=True, kw_only=True):
    """One key as etcd holds it."""

    key: str
    value: bytes
    mod_revision: int
    """Revision of its last change: what a compare-and-swap compares."""
    lease_id: int = 0

    @property
    def text(self) -> str:
        """The value as text, whatever bytes somebody else may have put there."""
        return _text(self.value)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What etcd answered, and in which term of its leader (``raft_term`` of the answer's header).

    A leader that was deposed while its disk hung goes on answering keepalives; it cannot answer a
    linearizable read.
    """

    raft_term: int
    seconds_left: int = 0
    """Of a lease that was refreshed; 0 when etcd no longer knows it."""
    item: KeyValue | None = None
    """Of a key that was read."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """All keys under a prefix at one revision of the store."""

    revision: int
    items: tuple[KeyValue, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A put, or with ``item`` None a deletion (lease expiry included)."""

    key: str
    revision: int
    item: KeyValue | None


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Holds when the key was last changed at this revision; 0 means that it does not exist."""

    key: str
    mod_revision: int


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Put a value, or with None delete the key."""

    key: str
    value: bytes | None
    lease_id: int = 0


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A granted lease; ``ttl_s`` is what the server gave, which may differ from the wish."""

    lease_id: int
    ttl_s: int


class LeaseLife(msgspec.Struct, frozen=True, kw_only=True):
    """How long a lease has left."""

    lease_id: int
    left_s: int
    """Whole seconds, rounded down; -1 when etcd does not know the lease (any more)."""
    granted_s: int = 0
    """The TTL that it was granted with."""

    @property
    def gone(self) -> bool:
        """Whether it has ended: by itself, or revoked."""
        return self.left_s < 0


class Etcd:
    """Blocking calls, each with a time-out; call them from threads. Safe to share among threads.

    Reads try every endpoint in turn. Writes are sent once, since a write whose answer was lost may
    have been done: the error says so, and the caller reads again.
    """

    def __init__(self, config: EtcdConfig) -> None:
        """Prepare the connections; nothing is sent yet.

        Raises:
            ConfigError: a TLS file or an endpoint cannot be used.
        """
        self._config = config
        client_context(config.tls)  # grpc names neither file nor reason of one it cannot use
        self._clients = [self._connect(endpoint) for endpoint in config.endpoints]
        self._preferred = 0
        self._closed = False

    def _connect(self, endpoint: str) -> Any:
        host, _, port = endpoint.rpartition(":")
        if not port.isdecimal():
            raise ConfigError(f"the etcd endpoint {endpoint!r} is not of the form host:port")
        return etcd3.client(
            host=host,
            port=int(port),
            ca_cert=str(self._config.tls.ca_file),
            cert_cert=str(self._config.tls.cert_file),
            cert_key=str(self._config.tls.key_file),
            timeout=self._config.timeout_s,
            grpc_options=_GRPC_OPTIONS,
        )

    def _call(self, operation: Callable[[Any], ResultT], *, tries: int) -> ResultT:
        reason = "not tried"
        for _ in range(tries):
            preferred = self._preferred
            try:
                return operation(self._clients[preferred])
            except (etcd3.Etcd3Exception, grpc.RpcError) as error:
                reason = _reason(error)
                self._preferred = (preferred + 1) % len(self._clients)
            except ValueError:  # so grpc says that the channel is closed
                if not self._closed:
                    raise
                reason = "this connection was closed"
        raise EtcdUnreachable(self._config.endpoints, reason)

    def _read(self, operation: Callable[[Any], ResultT]) -> ResultT:
        return self._call(operation, tries=len(self._clients))

    def _write(self, operation: Callable[[Any], ResultT]) -> ResultT:
        return self._call(operation, tries=1)

    def get(self, key: str) -> KeyValue | None:
        """Read one key, linearizably.

        Raises:
            EtcdUnreachable: no endpoint answered in time; so for every call of this class.
        """
        answer = self._read(lambda client: client.get_response(key))
        return _key_value(answer.kvs[0]) if answer.kvs else None

    def list(self, prefix: str) -> Listing:
        """Read all keys under a prefix, linearizably, ordered by key."""
        answer = self._read(
            lambda client: client.get_prefix_response(prefix, sort_order="ascend"),
        )
        return Listing(
            revision=answer.header.revision,
            items=tuple(_key_value(item) for item in answer.kvs),
        )

    def put(self, key: str, value: bytes, *, lease_id: int = 0) -> None:
        """Set a key, whatever it was."""
        self._write(lambda client: client.put(key, value, lease=lease_id or None))

    def create(self, key: str, value: bytes, *, lease_id: int = 0) -> bool:
        """Set a key that must not exist; False if it does."""
        return self.replace(key, value, mod_revision=0, lease_id=lease_id)

    def replace(self, key: str, value: bytes, *, mod_revision: int, lease_id: int = 0) -> bool:
        """Set a key that was last changed at this revision; False if it was changed since."""
        return bool(
            self.transact(
                when=[Condition(key=key, mod_revision=mod_revision)],
                then=[Write(key=key, value=value, lease_id=lease_id)],
            )
        )

    def delete(self, key: str, *, mod_revision: int | None = None) -> bool:
        """Delete a key; with a revision only if unchanged since. False if nothing was deleted."""
        if mod_revision is None:
            return bool(self._write(lambda client: client.delete(key)))
        return bool(
            self.transact(
                when=[Condition(key=key, mod_revision=mod_revision)],
                then=[Write(key=key, value=None)],
            )
        )

    def transact(self, *, when: Sequence[Condition], then: Sequence[Write]) -> int:
        """Do all writes if every condition holds.

        Returns:
            The store's revision with these writes; 0, with nothing done, if a condition fails.
        """
        request = etcdrpc.TxnRequest(
            compare=[
                etcdrpc.Compare(
                    result=etcdrpc.Compare.EQUAL,
                    target=etcdrpc.Compare.MOD,
                    key=one.key.encode(),
                    mod_revision=one.mod_revision,
                )
                for one in when
            ],
            success=[_operation(one) for one in then],
        )
        answer = self._write(lambda client: client.kvstub.Txn(request, self._config.timeout_s))
        return int(answer.header.revision) if answer.succeeded else 0

    def grant_lease(self, ttl_s: int) -> Lease:
        """Ask for a new lease."""
        lease = self._write(lambda client: client.lease(ttl_s))
        return Lease(lease_id=lease.id, ttl_s=lease.ttl)

    def refresh_in_term(self, lease_id: int) -> Answer:
        """Keep a lease alive, and tell in which term that was answered.

        No seconds are left when etcd no longer knows it.
        """
        answers = self._write(lambda client: list(client.refresh_lease(lease_id)))
        return Answer(
            raft_term=max((int(answer.header.raft_term) for answer in answers), default=0),
            seconds_left=max((int(answer.TTL) for answer in answers), default=0),
        )

    def get_in_term(self, key: str) -> Answer:
        """Read one key, linearizably, and tell in which term that was answered."""
        answer = self._read(lambda client: client.get_response(key))
        item = _key_value(answer.kvs[0]) if answer.kvs else None
        return Answer(raft_term=int(answer.header.raft_term), item=item)

    def next_endpoint(self) -> None:
        """Ask another endpoint from now on: this one answers, and yet cannot be believed."""
        self._preferred = (self._preferred + 1) % len(self._clients)

    def lease_lives(self, lease_ids: Sequence[int]) -> tuple[LeaseLife, ...]:
        """Ask how long leases have left, all at once: give no more than some dozens.

        A member that has just lost its leadership without knowing may tell what was true before.
        """
        return self._read(lambda client: self._lives(client, lease_ids))

    def _lives(self, client: Any, lease_ids: Sequence[int]) -> tuple[LeaseLife, ...]:
        asked = [
            client.leasestub.LeaseTimeToLive.future(
                etcdrpc.LeaseTimeToLiveRequest(ID=one), self._config.timeout_s
            )
            for one in lease_ids
        ]
        return tuple(
            LeaseLife(lease_id=lease_id, left_s=answer.TTL, granted_s=answer.grantedTTL)
            for lease_id, answer in zip(lease_ids, [one.result() for one in asked], strict=True)
        )

    def members(self) -> tuple[EtcdMember, ...]:
        """Ask every endpoint at once how it is; one that does not answer is told as such."""
        asked = [
            client.maintenancestub.Status.future(etcdrpc.StatusRequest(), self._config.timeout_s)
            for client in self._clients
        ]
        return tuple(map(_member, self._config.endpoints, asked))

    def revoke_lease(self, lease_id: int) -> None:
        """Give a lease up; its keys vanish at once."""
        self._write(lambda client: client.revoke_lease(lease_id))

    def changes(self, prefix: str, *, since_revision: int) -> "ChangeStream":
        """Watch a prefix from a revision on. The stream is iterated in one thread."""
        endpoints = self._config.endpoints
        return self._write(lambda client: ChangeStream(client, endpoints, prefix, since_revision))

    def close(self) -> None:
        """Close every connection; calls under way fail, and so do later ones."""
        self._closed = True
        for client in self._clients:
            client.close()


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
                raise EtcdUnreachable(self._endpoints, _reason(error)) from None
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End the stream from any thread."""
        self._cancelled.set()
        self._requests.put(None)
        with contextlib.suppress(grpc.RpcError):
            self._call.cancel()


def _member(endpoint: str, asked: Any) -> EtcdMember:
    try:
        answer = asked.result()
    except grpc.RpcError as error:
        return EtcdMember(endpoint=endpoint, error=_reason(error))
    return EtcdMember(
        endpoint=endpoint,
        version=answer.version,
        leader=answer.leader == answer.header.member_id,
        raft_term=answer.raftTerm,
        database_bytes=answer.dbSize,
    )


def _operation(write: Write) -> Any:
    key = write.key.encode()
    if write.value is None:
        return etcdrpc.RequestOp(request_delete_range=etcdrpc.DeleteRangeRequest(key=key))
    put = etcdrpc.PutRequest(key=key, value=write.value, lease=write.lease_id)
    return etcdrpc.RequestOp(request_put=put)


def _change(event: Any) -> Change:
    return Change(
        key=_text(event.kv.key),
        revision=event.kv.mod_revision,
        item=_key_value(event.kv) if event.type == event.PUT else None,
    )


def _key_value(item: Any) -> KeyValue:
    return KeyValue(
        key=_text(item.key),
        value=item.value,
        mod_revision=item.mod_revision,
        lease_id=item.lease,
    )


def _text(raw: bytes) -> str:
    """Bytes as text; what nobody of ours wrote may be no UTF-8."""
    return raw.decode(errors="backslashreplace")


def _reason(error: Exception) -> str:
    if isinstance(error, etcd3.exceptions.ConnectionTimeoutError):
        return "no answer in time"
    if isinstance(error, etcd3.exceptions.ConnectionFailedError):
        return "connection refused or broken"
    if isinstance(error, grpc.Call):
        return f"{error.code().name.lower()}: {error.details()}"
    return str(error) or type(error).__name__
