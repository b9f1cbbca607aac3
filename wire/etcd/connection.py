"""Calls of etcd, each with a time-out."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import etcd3
import grpc
from etcd3 import etcdrpc

from wire.config import ConfigError, EtcdConfig
from wire.etcd.changes import ChangeStream
from wire.etcd.reasons import reason_of
from wire.etcd.stored import (
    Answer,
    Condition,
    EtcdUnreachable,
    KeyValue,
    Lease,
    LeaseLife,
    Listing,
    Write,
    key_value,
)
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
                reason = reason_of(error)
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
        return key_value(answer.kvs[0]) if answer.kvs else None

    def list(self, prefix: str) -> Listing:
        """Read all keys under a prefix, linearizably, ordered by key."""
        answer = self._read(
            lambda client: client.get_prefix_response(prefix, sort_order="ascend"),
        )
        return Listing(
            revision=answer.header.revision,
            items=tuple(key_value(item) for item in answer.kvs),
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
        item = key_value(answer.kvs[0]) if answer.kvs else None
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

    def changes(self, prefix: str, *, since_revision: int) -> ChangeStream:
        """Watch a prefix from a revision on. The stream is iterated in one thread."""
        endpoints = self._config.endpoints
        return self._write(lambda client: ChangeStream(client, endpoints, prefix, since_revision))

    def close(self) -> None:
        """Close every connection; calls under way fail, and so do later ones."""
        self._closed = True
        for client in self._clients:
            client.close()


def _member(endpoint: str, asked: Any) -> EtcdMember:
    try:
        answer = asked.result()
    except grpc.RpcError as error:
        return EtcdMember(endpoint=endpoint, error=reason_of(error))
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
